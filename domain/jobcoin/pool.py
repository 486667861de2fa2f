"""Which waiting transactions a block takes, and what they make of balances. Plain values."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from domain.jobcoin.chain import TRANSACTIONS_MAX


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction that is in no block yet."""

    txid: str
    sender: str | None
    """None for coins that come into being."""
    account_nonce: int
    outputs: tuple[tuple[str, int], ...]
    """Address and amount in minor units."""

    @property
    def total_minor(self) -> int:
        """The sum of its outputs."""
        return sum(amount_minor for _, amount_minor in self.outputs)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the chain has of one address."""

    balance_minor: int = 0
    next_nonce: int = 0


@dataclass(frozen=True, slots=True)
class Filled:
    """A block to be, and the standings after it, of every address that it concerns."""

    chosen: tuple[Waiting, ...]
    standings: Mapping[str, Standing]

    @property
    def minted_minor(self) -> int:
        """How many coins come into being by it."""
        return sum(each.total_minor for each in self.chosen if each.sender is None)


def fill_block(
    pool: Sequence[Waiting],
    standings: Mapping[str, Standing],
    *,
    transactions_max: int = TRANSACTIONS_MAX,
) -> Filled:
    """
    Return what a block takes of the pool, in an order in which each can be paid.

    Who comes first is taken first. What waits for an earlier account nonce, or for coins that
    another transaction brings, is looked at again after that one; what cannot be paid stays.
    """
    after = dict(standings)
    chosen: list[Waiting] = []
    left = list(pool)
    while left and len(chosen) < transactions_max:
        waiting = left
        left = []
        for each in waiting:
            if len(chosen) < transactions_max and _is_payable(each, after):
                _apply(each, after)
                chosen.append(each)
            else:
                left.append(each)
        if len(left) == len(waiting):
            break
    touched = concerned(chosen)
    return Filled(tuple(chosen), {a: s for a, s in after.items() if a in touched})


def concerned(transactions: Sequence[Waiting]) -> set[str]:
    """Return every address that these take from, or give to."""
    receivers = {address for each in transactions for address, _ in each.outputs}
    return receivers | {each.sender for each in transactions if each.sender is not None}


def _is_payable(waiting: Waiting, standings: Mapping[str, Standing]) -> bool:
    if waiting.sender is None:
        return True
    standing = standings.get(waiting.sender, Standing())
    is_next = waiting.account_nonce == standing.next_nonce
    return is_next and waiting.total_minor <= standing.balance_minor


def _apply(waiting: Waiting, standings: MutableMapping[str, Standing]) -> None:
    if waiting.sender is not None:
        before = standings.get(waiting.sender, Standing())
        standings[waiting.sender] = Standing(
            before.balance_minor - waiting.total_minor, before.next_nonce + 1
        )
    for address, amount_minor in waiting.outputs:
        before = standings.get(address, Standing())
        standings[address] = Standing(before.balance_minor + amount_minor, before.next_nonce)
