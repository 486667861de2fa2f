"""
Coin selection: what batches weigh beside the least they could, and what a wallet wastes.

The other wallet has its coins chosen by the library ``bitcoin-coin-selection``. Nothing is timed:
the figures do not depend on the machine.
"""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bitcoin_coin_selection.selection_algorithms.select_coins import select_coins
from bitcoin_coin_selection.selection_types.coin_selection import CoinSelection
from bitcoin_coin_selection.selection_types.coin_selection_params import CoinSelectionParams
from bitcoin_coin_selection.selection_types.input_coin import InputCoin
from bitcoin_coin_selection.selection_types.output_group import OutputGroup

from domain.coins import Coin, KeyPosition
from domain.scanning import Outpoint
from domain.utxo.networks import BITCOIN
from domain.utxo.selection import Algorithm, ScriptOutput, Selection, select
from domain.utxo.selection_payment import Payment
from domain.utxo.sizes import INPUT_VBYTES, MAX_STANDARD_WEIGHT, fee_minor, transaction_vbytes

WALLETS = 6
STEPS = 250
REFILL_MINOR = 500_000_000
"""What comes from the cold wallet when the hot one runs low: 5 BTC."""
RESERVE_MINOR = 50_000_000
"""It runs low below this; fees never use it up, so both wallets can pay every step."""

_CHANGE = bytes([0, 20, *[0xCC] * 20])


@dataclass(frozen=True, slots=True)
class CoinFigures:
    """Ratios; below 1 is better than what is compared with."""

    vbytes_vs_theory_100: float
    """
    Virtual bytes of a transaction with 100 payouts against the least that any could have: the
    same outputs, one input, no change.

    Paid from wallets with a life behind them (``_Life``) and the refills that so large a sum
    takes. Without those it would need a deposit or two for each payout, whoever selects. The fee
    rate is twice the long-term rate; at low rates more is spent on purpose, to consolidate.
    """
    vbytes_vs_theory_1000: float
    """The same with 1,000 payouts."""
    waste_vs_library: float
    """
    Bitcoin Core's waste metric, summed over all payments of all wallets, against theirs. Its zero
    is spending every coin at the long-term rate, and never making change.
    """
    fees_vs_library: float
    """All fees paid, and what spending the coins that are left will cost at the long-term rate."""


@dataclass(frozen=True, slots=True)
class _Step:
    """Coins that come in, then a payment of one or several outputs, at a fee rate."""

    incoming: tuple[int, ...]
    outputs: tuple[ScriptOutput, ...]
    fee_rate: int


@dataclass(slots=True)
class _Wallet:
    coins: dict[Outpoint, Coin] = field(default_factory=dict)
    received: int = 0
    fees_minor: int = 0
    waste_minor: int = 0

    def receive(self, amounts: Iterable[int]) -> None:
        for amount in amounts:
            outpoint = Outpoint(f"{self.received:064x}", 0)
            self.coins[outpoint] = Coin(outpoint, amount, KeyPosition(0, self.received))
            self.received += 1

    def spend(self, selection: Selection) -> None:
        for coin in selection.coins:
            del self.coins[coin.outpoint]
        self.receive([selection.change_minor] * (selection.change_minor > 0))
        self.fees_minor += selection.fee_minor
        self.waste_minor += selection.waste_minor

    def cost_minor(self, long_term_fee_rate: int) -> int:
        return self.fees_minor + len(self.coins) * fee_minor(INPUT_VBYTES, long_term_fee_rate)


type _Select = Callable[[Sequence[Coin], Payment], Selection]


def measure() -> CoinFigures:
    """Live the same lives with both, then pay batches from the wallets that ours left."""
    ours, theirs, lives = [], [], [_Life(seed) for seed in range(WALLETS)]
    for life in lives:
        # The library draws from the module's generator.
        random.seed(life.seed)
        ours.append(life.lived(_ours))
        theirs.append(life.lived(_theirs))
    costs = [
        sum(
            wallet.cost_minor(life.long_term_fee_rate)
            for wallet, life in zip(each, lives, strict=True)
        )
        for each in (ours, theirs)
    ]
    return CoinFigures(
        vbytes_vs_theory_100=_batches_vs_theory(lives, ours, 100),
        vbytes_vs_theory_1000=_batches_vs_theory(lives, ours, 1_000),
        waste_vs_library=sum(w.waste_minor for w in ours) / sum(w.waste_minor for w in theirs),
        fees_vs_library=costs[0] / costs[1],
    )


class _Life:
    """
    What happens to a hot wallet, whoever selects its coins: deposits, payments, refills, fees.

    Amounts are log-normal: deposits around 0.012 BTC, payouts around 0.02, a tenth of each beyond
    five times that. The fee rate wanders around 12 sat/vB and returns to it within some twenty
    steps; the long-term rate is the median of the series.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(seed)  # noqa: S311 - a reproducible workload
        rates = self._fee_rates()
        self.long_term_fee_rate = int(median(rates))
        self.balance_minor = 0
        self.steps = [self._step(rate) for rate in rates]

    def lived(self, choose: _Select) -> _Wallet:
        """Return the wallet at the end of it."""
        wallet = _Wallet()
        for step in self.steps:
            wallet.receive(step.incoming)
            payment = self.payment(step.outputs, step.fee_rate)
            wallet.spend(choose(list(wallet.coins.values()), payment))
        return wallet

    def payment(self, outputs: tuple[ScriptOutput, ...], fee_rate: int) -> Payment:
        return Payment(
            outputs=outputs,
            change_script=_CHANGE,
            fee_rate=fee_rate,
            long_term_fee_rate=self.long_term_fee_rate,
            network=BITCOIN,
            weight_max=MAX_STANDARD_WEIGHT,
        )

    def payouts(self, count: int) -> tuple[ScriptOutput, ...]:
        return tuple(
            ScriptOutput(bytes([0, 20]) + self._random.randbytes(20), self._amount(14.5))
            for _ in range(count)
        )

    def _step(self, fee_rate: int) -> _Step:
        deposits = [self._amount(14.0) for _ in range(self._random.randrange(8))]
        outputs = self.payouts(self._random.choice((1, 1, 1, 2, 3, 8)))
        self.balance_minor += sum(deposits) - sum(output.amount_minor for output in outputs)
        refills = max(0, -((self.balance_minor - RESERVE_MINOR) // REFILL_MINOR))
        self.balance_minor += refills * REFILL_MINOR
        return _Step((*deposits, *[REFILL_MINOR] * refills), outputs, fee_rate)

    def _amount(self, log_median: float) -> int:
        return max(1_000, round(self._random.lognormvariate(log_median, 1.3)))

    def _fee_rates(self) -> list[int]:
        rates, distance = [], 0.0
        for _ in range(STEPS):
            distance = 0.95 * distance + self._random.gauss(0, 0.35)
            rates.append(max(1_000, round(12_000 * math.exp(distance))))
        return rates


def _ours(coins: Sequence[Coin], payment: Payment) -> Selection:
    return select(
        coins,
        payment.outputs,
        change_script=payment.change_script,
        fee_rate_per_kvb=payment.fee_rate,
        long_term_fee_rate_per_kvb=payment.long_term_fee_rate,
        network=payment.network,
        seed=payment.paid_minor.to_bytes(8),
    )


def _theirs(coins: Sequence[Coin], payment: Payment) -> Selection:
    """
    Let the library choose the coins; change and fee are then settled by our arithmetic.

    That is in its favor: its own change leaves out the fee of the transaction itself.
    """
    groups = [
        OutputGroup("", [InputCoin(coin.outpoint.txid, 0, coin.amount_minor, INPUT_VBYTES)])
        for coin in coins
    ]
    without_change = payment.vbytes(1, has_change=False)
    chosen = select_coins(
        CoinSelectionParams(
            groups,
            payment.paid_minor,
            payment.fee_rate / 1_000,
            payment.long_term_fee_rate / 1_000,
            payment.vbytes(1, has_change=True) - without_change,
            INPUT_VBYTES,
            without_change - INPUT_VBYTES,
        )
    )
    assert chosen.outcome == CoinSelection.Outcome.SUCCESS, chosen.outcome
    txid_to_coin = {coin.outpoint.txid: coin for coin in coins}
    return payment.settled([txid_to_coin[c.tx_hash] for c in chosen.outputs], Algorithm.RANDOM_DRAW)


def _batches_vs_theory(lives: Sequence[_Life], wallets: Sequence[_Wallet], count: int) -> float:
    """Return the ratio of the sums over all wallets; each is refilled if it must be."""
    actual = least = 0
    for life, wallet in zip(lives, wallets, strict=True):
        outputs = life.payouts(count)
        scripts = [output.script for output in outputs]
        held = _Wallet(dict(wallet.coins), wallet.received)
        short = sum(output.amount_minor for output in outputs) + RESERVE_MINOR - life.balance_minor
        held.receive([REFILL_MINOR] * max(0, -(-short // REFILL_MINOR)))
        payment = life.payment(outputs, 2 * life.long_term_fee_rate)
        selection = _ours(list(held.coins.values()), payment)
        actual += payment.vbytes(len(selection.coins), has_change=selection.change_minor > 0)
        least += transaction_vbytes(1, scripts)
    return actual / least
