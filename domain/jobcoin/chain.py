"""
The rules of a Jobcoin network besides its transactions: blocks, and where coins come from.

Coins come into being in two ways, both only up to a cap that was fixed with the network: each block
gives a reward to whoever the node mines for, and the owner of the node may mint to any address.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from domain.jobcoin.transactions import Output

ASSET, DECIMALS = "JOB", 8
UNIT_MINOR = 100_000_000

CAP_MINOR = 21_000_000 * UNIT_MINOR
"""No more coins than these ever exist."""

REWARD_MINOR = UNIT_MINOR
"""What a block gives to whoever it is mined for."""

TRANSACTIONS_MAX = 1_000
"""Of one block, with the reward."""

NONCES_AHEAD_MAX = 1_000
"""A pool takes transactions this far ahead of the sender's next one, and no farther."""

NO_PARENT = "00" * 32
GENESIS_AT = datetime(2026, 1, 1, tzinfo=UTC)

REFERENCE = re.compile(r"[!-~]{1,128}")
"""What a mint is called by whoever asks for it: printable ASCII without spaces."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block without its transactions."""

    height: int
    hash: str
    parent_hash: str
    mined_at: datetime


def next_header(
    chain_id: str, parent: Header | None, txids: Sequence[str], *, mined_at: datetime
) -> Header:
    """Return the header of a block on top of another; None begins the chain."""
    height = 0 if parent is None else parent.height + 1
    parent_hash = NO_PARENT if parent is None else parent.hash
    moment = mined_at.isoformat()
    parts = (chain_id, str(height), parent_hash, moment, *txids)
    return Header(height, _digest("block", *parts), parent_hash, mined_at)


def genesis(chain_id: str) -> Header:
    """Return the first block of a network, which every node of it has."""
    return next_header(chain_id, None, (), mined_at=GENESIS_AT)


def reward_minor(minted_minor: int) -> int:
    """Return what the next block gives, when this much was minted before."""
    return max(0, min(REWARD_MINOR, CAP_MINOR - minted_minor))


def reward_txid(chain_id: str, parent: Header, output: Output) -> str:
    """Return the id of the transaction by which a block on top of ``parent`` gives its reward."""
    return _digest("reward", chain_id, parent.hash, *_parts(output))


def mint_txid(chain_id: str, reference: str, output: Output) -> str:
    """Return the id of a mint: the same reference, address and amount are the same mint."""
    return _digest("mint", chain_id, reference, *_parts(output))


def _parts(output: Output) -> tuple[str, str]:
    return output.account.hex(), str(output.amount_minor)


def _digest(*parts: str) -> str:
    # The separator occurs in none of the parts, so no two lists of parts have one digest.
    return sha256(sha256("\n".join(parts).encode()).digest()).hexdigest()
