"""What the contract test of chain outlets needs of the chain behind one: a hand that moves it."""

from enum import StrEnum
from typing import Protocol

from domain.ports import AccountOutlet, FeeQuote, SignedAttempt, Transfer, UnsignedAttempt
from signing.evm import sign_evm

DESTINATION = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
MINTED_MINOR = 1_000_000_000
FUNDED_MINOR = 10**19


class TokenKind(StrEnum):
    """The tokens of ``contracts/``, well-behaved and not."""

    PLAIN = "Token"
    NO_RETURN = "NoReturnToken"
    FEE = "FeeToken"
    SURCHARGE = "SurchargeToken"
    REVERTING = "RevertingToken"
    FALSE = "FalseToken"


class ChainWorld(Protocol):
    """One chain in the hands of a test."""

    wallet: str
    """Has ``FUNDED_MINOR`` wei and no transaction yet."""
    private_key: bytes

    @property
    def outlet(self) -> AccountOutlet:
        """The chain as the product sees it."""
        ...

    async def mine(self, count: int = 1) -> None:
        """Append blocks; the first takes what the pool holds."""
        ...

    async def reorg(self, depth: int) -> None:
        """Replace the last blocks by empty ones; their transactions are forgotten."""
        ...

    async def token(self, kind: TokenKind) -> str:
        """Deploy a token, mint ``MINTED_MINOR`` to the wallet; a reverting one is paused."""
        ...


async def attempt(
    world: ChainWorld,
    transfer: Transfer,
    *,
    account_nonce: int = 0,
    gas_limit: int = 200_000,
    fee: FeeQuote | None = None,
) -> SignedAttempt:
    """Sign a transfer of the world's wallet at the present fee, or at this one."""
    offer = fee or await world.outlet.quote_fee()
    unsigned = UnsignedAttempt(
        transfer=transfer,
        chain_id=world.outlet.chain_id,
        account_nonce=account_nonce,
        gas_limit=gas_limit,
        max_fee_minor=offer.max_fee_minor,
        priority_fee_minor=offer.priority_fee_minor,
    )
    return sign_evm(unsigned, world.private_key)


def pay(world: ChainWorld, amount_minor: int = 1_000, contract: str | None = None) -> Transfer:
    """Return a transfer from the world's wallet."""
    return Transfer(world.wallet, DESTINATION, amount_minor, contract)
