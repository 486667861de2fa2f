"""What a statement's lines say."""

from datetime import UTC, datetime

import pytest

from domain.transactions import TransactionKind
from transactions.queries import WalletTransaction
from transactions.statements import Section, StatementEntry
from transactions.wording import described, told

AT = datetime(2026, 3, 1, tzinfo=UTC)
CHAIN = "eip155:1"


def entry(
    rule: str,
    amount_minor: int,
    *,
    kind: TransactionKind | None = TransactionKind.POCKET_TRANSFER,
    chain_id: str | None = None,
    counterparty: str | None = None,
    key: str = "ptr_1:dispatch",
) -> StatementEntry:
    known = None
    if kind is not None:
        known = WalletTransaction(
            id="ptr_1",
            user_id="usr_1",
            kind=kind,
            direction="own",
            status="settled",
            state="done",
            asset="ETH",
            amount_minor=abs(amount_minor),
            fee_minor=0,
            counterparty=counterparty,
            chain_id=None,
            group_id=None,
            note=None,
            chain_transaction_id=None,
            txid=None,
            to_asset=None,
            to_amount_minor=None,
            created_at=AT,
            updated_at=AT,
        )
    section = Section("ETH", chain_id, 18, 0)
    return StatementEntry(section, AT, rule, key, known, "ptr_1", amount_minor, 0)


class TestLine:
    @pytest.mark.parametrize(
        ("rule", "amount_minor", "chain_id", "words"),
        [
            ("pocket_dispatch", -5, None, "To your own wallet"),
            ("pocket_settle", 5, CHAIN, "From your off-chain balance"),
            ("pocket_dispatch", -5, CHAIN, "To your off-chain balance"),
            ("pocket_settle", 5, None, "From your own wallet"),
            ("pocket_return", 5, None, "From your own wallet, returned"),
            ("something_new", 5, None, "Something new"),
        ],
    )
    def test_names_the_other_place(
        self, rule: str, amount_minor: int, chain_id: str | None, words: str
    ) -> None:
        assert described(entry(rule, amount_minor, chain_id=chain_id)) == words

    def test_tells_the_networks_fee_from_what_is_moved(self) -> None:
        fee = entry("pocket_dispatch", -1, chain_id=CHAIN, key="ptr_1:dispatch_gas")
        assert described(fee) == "Network fee, the most that it may be"
        rest = entry("pocket_gas_settle", 1, chain_id=CHAIN, key="ptr_1:settle_gas")
        assert described(rest) == "Network fee, what was not needed of it"

    @pytest.mark.parametrize(
        ("rule", "kind", "party", "words"),
        [
            ("deposit_credit", TransactionKind.DEPOSIT, "0xours", "Deposit at 0xours"),
            ("purchase_credit", TransactionKind.PURCHASE, "card", "Purchase by card"),
            ("purchase_credit", TransactionKind.PURCHASE, "bc1ours", "Purchase at bc1ours"),
            ("user_transfer", TransactionKind.TRANSFER, "@ada", "Transfer from @ada"),
            ("deposit", None, None, "Deposit"),
        ],
    )
    def test_says_where_it_came_from(
        self, rule: str, kind: TransactionKind | None, party: str | None, words: str
    ) -> None:
        assert told(entry(rule, 5, kind=kind, counterparty=party)) == words

    @pytest.mark.parametrize(
        ("rule", "kind", "words"),
        [
            ("user_transfer", TransactionKind.TRANSFER, "Transfer to @ada"),
            ("payout_dispatch", TransactionKind.PAYOUT, "Payout to @ada"),
            ("pocket_dispatch", TransactionKind.ONCHAIN_SEND, "Sent to @ada"),
        ],
    )
    def test_says_where_it_went(self, rule: str, kind: TransactionKind, words: str) -> None:
        assert told(entry(rule, -5, kind=kind, counterparty="@ada", chain_id=CHAIN)) == words
