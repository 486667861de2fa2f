"""
Which coins pay for these outputs, and what is left as change. Amounts are satoshi.

Everything here is a function of its arguments: asked again after a crash, it selects the same
coins. Of the selections that are found, the one that wastes least is taken, by Bitcoin Core's
metric (``Selection.waste_minor``).
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from domain.coins import Coin
from domain.errors import InsufficientGasFundsError
from domain.utxo import selection_search as search
from domain.utxo.networks import Network
from domain.utxo.selection_payment import MILLI, Algorithm, Payment, ScriptOutput, Selection
from domain.utxo.sizes import MAX_STANDARD_WEIGHT

__all__ = ["Algorithm", "ScriptOutput", "Selection", "select"]

CONSOLIDATED_COINS_MAX = 20
"""
Coins spent beyond those needed while fees are low. Each makes later payments cheaper; all of them
wait for this transaction's confirmation, and each makes replacing it dearer.
"""


def select(
    coins: Sequence[Coin],
    outputs: Sequence[ScriptOutput],
    *,
    change_script: bytes,
    fee_rate_per_kvb: int,
    long_term_fee_rate_per_kvb: int,
    network: Network,
    weight_max: int = MAX_STANDARD_WEIGHT,
    seed: bytes,
) -> Selection:
    """
    Return the coins to pay these outputs with, the change and the fee.

    Coins that cost more to spend at this rate than they are worth are left alone. Change that
    would be dust, or worth no more than spending it costs at the long-term rate, goes to the fee.
    ``change_script`` is P2WPKH, as all that we spend is. The order of ``coins`` does not matter;
    ``seed`` decides the random draw.

    Raises:
        InsufficientGasFundsError: The coins, or as many as fit, do not cover outputs and fee.
        InvariantError: No output, a coin given twice, or outputs too heavy for one transaction.
    """
    payment = Payment(
        outputs=tuple(outputs),
        change_script=change_script,
        fee_rate=fee_rate_per_kvb,
        long_term_fee_rate=long_term_fee_rate_per_kvb,
        network=network,
        weight_max=weight_max,
    )
    payment.verify(coins)
    pool = sorted(
        filter(payment.is_worth_spending, coins),
        key=lambda coin: (-coin.amount_minor, coin.outpoint),
    )
    goal = payment.goal(pool)
    found = [
        payment.settled([pool[position] for position in positions], algorithm)
        for algorithm, positions in _candidates(goal, _draw_order(pool, seed))
    ]
    if not found:
        raise InsufficientGasFundsError(_shortfall(goal, len(coins)))
    # Candidates come in a fixed order and the first of equals wins, so there is one answer.
    return min(found, key=lambda selection: (selection.waste_minor, len(selection.coins)))


def _candidates(
    goal: search.Goal, draw_order: Sequence[int]
) -> Iterator[tuple[Algorithm, tuple[int, ...]]]:
    changeless = search.branch_and_bound(goal)
    if changeless is not None:
        yield Algorithm.BRANCH_AND_BOUND, changeless
    fewest = search.fewest(goal)
    if fewest is None:
        return
    yield Algorithm.FEWEST, fewest
    if goal.input_waste < 0:
        yield (
            Algorithm.CONSOLIDATION,
            search.with_smallest(goal, fewest, extra=CONSOLIDATED_COINS_MAX),
        )
    drawn = search.random_draw(goal, draw_order)
    if drawn is not None:
        yield Algorithm.RANDOM_DRAW, drawn


def _draw_order(pool: Sequence[Coin], seed: bytes) -> list[int]:
    """Return all positions in an order that only the seed and the outpoints decide."""

    def rank(position: int) -> bytes:
        outpoint = pool[position].outpoint
        return sha256(seed + f"|{outpoint.txid}:{outpoint.index}".encode()).digest()

    return sorted(range(len(pool)), key=rank)


def _shortfall(goal: search.Goal, coin_count: int) -> str:
    usable = goal.values[: goal.inputs_max]
    missing_minor = -(goal.spare(len(usable), sum(usable)) // MILLI)
    return (
        f"{missing_minor} satoshi are missing: outputs and fee are not covered by the"
        f" {len(usable)} of {coin_count} coins that are worth spending and fit in a transaction."
    )
