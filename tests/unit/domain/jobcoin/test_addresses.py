import pytest

from domain.addresses import parse_address
from domain.coins import KeyPosition
from domain.errors import InvalidAddressError, WrongChainError
from domain.hd import account_path, derive_address
from domain.jobcoin.addresses import account_of, address_of, prefix_of
from signing.hd import account_xpub, private_key
from signing.jobcoin import jobcoin_identity

LOCAL, MAIN = "jobcoin:local", "jobcoin:main"
ACCOUNT = bytes(range(20))
ADDRESS = "tjob1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnfrq5wy"
SEED = bytes(32)


class TestAddress:
    def test_stands_for_an_account_and_back(self) -> None:
        for chain_id in (LOCAL, MAIN):
            assert account_of(address_of(ACCOUNT, chain_id), chain_id) == ACCOUNT
        assert address_of(ACCOUNT, LOCAL) == ADDRESS

    def test_says_of_which_network_it_is(self) -> None:
        assert address_of(ACCOUNT, MAIN).startswith("job1")
        assert address_of(ACCOUNT, LOCAL).startswith("tjob1")
        with pytest.raises(InvalidAddressError, match="prefix"):
            account_of(address_of(ACCOUNT, MAIN), LOCAL)

    def test_is_always_written_in_lower_case(self) -> None:
        address = address_of(ACCOUNT, LOCAL)
        assert parse_address(address.upper(), family="jobcoin", chain_id=LOCAL) == address

    def test_is_refused_with_any_character_changed(self) -> None:
        address = address_of(ACCOUNT, LOCAL)
        for place in range(5, len(address)):
            other = "q" if address[place] != "q" else "p"
            with pytest.raises(InvalidAddressError):
                account_of(address[:place] + other + address[place + 1 :], LOCAL)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "tjob1",
            "TJOB1qqqsyqcyq5rqwzqfpg9scrgwpugpzys",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            address_of(bytes(19), LOCAL),
            address_of(bytes(21), LOCAL),
        ],
        ids=["empty", "bare", "mixed", "bitcoin", "evm", "short", "long"],
    )
    def test_is_refused_where_it_is_none(self, text: str) -> None:
        with pytest.raises(InvalidAddressError):
            account_of(text, LOCAL)

    def test_is_of_no_other_chain(self) -> None:
        with pytest.raises(WrongChainError):
            prefix_of("eip155:1")


class TestDerivation:
    def test_finds_the_address_of_the_key_at_the_same_place(self) -> None:
        for index in range(3):
            position = KeyPosition(0, index)
            derived = derive_address(LOCAL, account_xpub(SEED, LOCAL), position)
            identity = jobcoin_identity(private_key(SEED, LOCAL, position), LOCAL)

            assert derived.address == identity.address
            assert derived.lookup_key == account_of(identity.address, LOCAL)
        assert account_path(LOCAL) == "m/44h/1h/0h"
