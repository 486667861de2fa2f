"""A crash after the side effect and before the answer of each activity of the payout path."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from sqlmodel import col, select

from cli.client import ApiProblem
from devnet.bootstrap import BTC, BTC_UNIT, CHAIN, ETHER, ETHER_UNIT, TOKEN, TOKEN_UNIT
from devnet.people import ScriptedUser
from devnet.rich_uncle import RichUncle
from devnet.stack import Stack
from domain.errors import PayoutStateError
from domain.payouts import PayoutStatus
from infra.database import Database
from models.chain_transactions import ChainAttempt, ChainTransaction, ChainTransactionStatus
from models.payouts import Payout
from models.wallets import Chain
from payouts.policy import current_policy, store_policy
from tests.faults.bank import Bank
from tests.faults.unit_scenarios import unit_scenarios
from tests.faults.units import Units

SMALL = ETHER_UNIT // 1000
ASKS_ONE_APPROVER = ETHER_UNIT // 2
RUN_LINES = 20
RUN_ASKS_ONE_APPROVER = ETHER_UNIT // 100
"""So much on each line of a run."""

PATIENCE_S = 90.0
POLL_S = 0.2

Scenario = Callable[[Bank], Coroutine[None, None, None]]


async def small_payouts(bank: Bank) -> None:
    """One of Ether and one of the token, both by themselves."""
    await bank.ask(asset=ETHER, amount_minor=SMALL)
    await bank.ask(asset=TOKEN, amount_minor=3 * TOKEN_UNIT)


async def approved(bank: Bank) -> None:
    """One that an approver sets free."""
    asked = await bank.ask(asset=ETHER, amount_minor=ASKS_ONE_APPROVER)
    approver = max(bank.approvers, key=lambda u: u.authenticator.codes_at_hand)
    await asyncio.to_thread(approver.approve, asked.payout_id)


async def cancelled(bank: Bank) -> None:
    """One that its user takes back while it waits for approval."""
    asked = await bank.ask(
        asset=ETHER, amount_minor=ASKS_ONE_APPROVER, must_be=PayoutStatus.CANCELLED
    )
    owner = await _owner(bank, asked.payout_id)
    await _act(owner.act, asked.payout_id, "cancellation")


async def expired(bank: Bank) -> None:
    """One whose approval never comes; the policy's shortest time is a minute."""
    database = Database(bank.stack.site.database_url())
    async with database.transaction() as session:
        policy = (await current_policy(session)).document
        hasty = policy.model_copy(update={"approval_expires_s": 60})
        await store_policy(session, hasty, by="crash suite")
    await bank.ask(asset=ETHER, amount_minor=ASKS_ONE_APPROVER, must_be=PayoutStatus.EXPIRED)
    async with database.transaction() as session:
        await store_policy(session, policy, by="crash suite")
    await database.close()


async def stuck(bank: Bank) -> None:
    """Blocks stop until the transaction is replaced by one with a higher fee."""
    uncle = RichUncle(bank.stack.site.evm_url)
    await uncle.call("evm_setIntervalMining", 0)
    try:
        await bank.ask(asset=ETHER, amount_minor=SMALL)
        await _until_attempts(bank, at_least=2)
    finally:
        await uncle.call("evm_setIntervalMining", 1)


async def refused_and_refunded(bank: Bank) -> None:
    """The signer refuses (the fee's ceiling sinks under its nose); the operator refunds."""
    asked = await _refused(bank, PayoutStatus.REFUNDED)
    await _act(bank.operator.act, asked, "refunds")


async def refused_and_retried(bank: Bank) -> None:
    """The signer refuses; when the reason is gone the operator tries again."""
    asked = await _refused(bank, PayoutStatus.SETTLED)
    await _act(bank.operator.act, asked, "retries")


async def deposits(bank: Bank) -> None:
    """A stranger pays one user in Ether and one in bitcoin."""
    await bank.deposit(ETHER, ETHER_UNIT)
    await bank.deposit(BTC, BTC_UNIT // 20)


async def token_deposit(bank: Bank) -> None:
    """Tokens, whose sweep needs a gas top-up first."""
    await bank.deposit(TOKEN, 500 * TOKEN_UNIT)


async def deposits_while_all_is_down(bank: Bank) -> None:
    """Payments arrive while no process of ours runs, nor the database nor Temporal."""
    addresses = [
        (user, asset, await bank.depositors.address(user, asset, key=f"down-{asset}"))
        for user, asset in zip(bank.users, (ETHER, TOKEN, BTC), strict=False)
    ]
    ours = [bank.stack.process(name) for name in ("api", "worker", "signer", "temporal")]
    for process in ours:
        await process.stop()
    for user, asset, address in addresses:
        await bank.depositors.pay_to(user.user_id, asset, AMOUNTS[asset], address)
    await bank.stack.process("postgres").stop()
    await bank.stack.process("postgres").start()
    for process in reversed(ours):
        await process.start()


async def run_paid(bank: Bank) -> None:
    """A run of each kind of asset; the one of Ether asks an approver."""
    user, run_id = await bank.upload(ETHER, RUN_LINES, least_minor=RUN_ASKS_ONE_APPROVER)
    await bank.start(user, run_id)
    await bank.pay_run(BTC, RUN_LINES)


async def run_cancelled(bank: Bank) -> None:
    """A run that its user takes back while it waits for approval."""
    user, run_id = await bank.upload(
        ETHER, RUN_LINES, least_minor=RUN_ASKS_ONE_APPROVER, must_be=PayoutStatus.CANCELLED
    )
    await asyncio.to_thread(user.start_run, run_id, idempotency_key=run_id)
    await asyncio.to_thread(user.cancel_run, run_id)


AMOUNTS = {ETHER: ETHER_UNIT, TOKEN: 70 * TOKEN_UNIT, BTC: BTC_UNIT // 50}

SCENARIOS: tuple[tuple[str, str, Scenario], ...] = (
    ("payout.freeze", "worker", small_payouts),
    ("payout.decide", "worker", approved),
    ("payout.cancel", "worker", cancelled),
    ("payout.expire", "worker", expired),
    ("outgoing.await_batch", "worker", small_payouts),
    ("chain.prepare", "worker", small_payouts),
    ("outgoing.allocate", "worker", small_payouts),
    ("signing.sign_batch", "signer", small_payouts),
    ("chain.broadcast", "worker", small_payouts),
    ("chain.watch", "worker", small_payouts),
    ("chain.plan_bumps", "worker", stuck),
    ("outgoing.settle", "worker", small_payouts),
    ("outgoing.notify", "worker", small_payouts),
    ("outgoing.give_up_refused", "worker", refused_and_refunded),
    ("payout.refund_unsigned", "worker", refused_and_refunded),
    ("payout.retry_abandoned", "worker", refused_and_retried),
    ("chain.watch", "worker", deposits),
    ("deposit.advance", "worker", deposits),
    ("chain.plan_sweeps", "worker", token_deposit),
    ("chain.prepare", "worker", token_deposit),
    ("outgoing.allocate", "worker", token_deposit),
    ("signing.sign_batch", "signer", token_deposit),
    ("chain.broadcast", "worker", deposits),
    ("outgoing.settle", "worker", token_deposit),
    ("run.start", "worker", run_paid),
    ("run.decide", "worker", run_paid),
    ("run.advance", "worker", run_paid),
    ("run.cancel", "worker", run_cancelled),
    ("outgoing.await_batch", "worker", run_paid),
    ("outgoing.allocate", "worker", run_paid),
    ("signing.sign_batch", "signer", run_paid),
    ("outgoing.settle", "worker", run_paid),
    ("outgoing.notify", "worker", run_paid),
)
"""An activity, the process that runs it, and what makes it run; ``payout.outcome`` only reads."""


async def crash_after(
    bank: Bank, activity: str, victim: str, scenario: Scenario, *, marker: Path
) -> bool:
    """Run one scenario with a process that dies after the activity; tell whether it did die."""
    process = bank.stack.process(victim)
    usual = process.argv
    options = ["--crash-after", activity, "--marker", str(marker)]
    if victim == "signer":
        options += ["--task-queue", "signing"]
    process.argv = (sys.executable, "-m", "tests.faults.crashing_worker", *options)
    await process.restart_until_ready()
    playing: asyncio.Task[None] = asyncio.create_task(scenario(bank))
    dying = asyncio.create_task(process.wait())
    await asyncio.wait([dying], timeout=PATIENCE_S)
    has_died = dying.done()
    process.argv = usual
    await process.restart_until_ready()
    await playing
    await bank.settle()
    return has_died


async def run_scenarios(
    stack: Stack, folder: Path, *, only: str | None, say: Callable[[str], None]
) -> tuple[Units, int, list[str]]:
    """Run them all on one stack; return who took part, crashes, and activities without one."""
    bank = Bank(stack, name="scenarios")
    await bank.open(users=14)
    units = Units(bank)
    await units.open(late=0, holders=2, listening=bank.users[:2])
    kills, unharmed = 0, list[str]()
    for activity, victim, scenario in (*SCENARIOS, *unit_scenarios(units)):
        if only is not None and activity not in only.split(","):
            continue
        name = f"{activity} ({scenario.__name__})"
        marker = folder / f"{activity}.{scenario.__name__}.crashed"
        has_died = await crash_after(bank, activity, victim, scenario, marker=marker)
        say(f"  {name}: {'crashed, recovered' if has_died else 'DID NOT CRASH'}")
        kills += has_died
        if not has_died:
            unharmed.append(name)
    if only is None:
        await deposits_while_all_is_down(bank)
        await bank.settle()
        say("  deposits while everything was down: waited for")
    await units.settle(patience_s=PATIENCE_S)
    return units, kills, unharmed


async def _refused(bank: Bank, must_be: PayoutStatus) -> str:
    url = bank.stack.site.database_url()
    await bank.stack.process("signer").stop()
    asked = await bank.ask(asset=TOKEN, amount_minor=TOKEN_UNIT, must_be=must_be)
    await _until_status(bank, asked.payout_id, ChainTransactionStatus.ALLOCATED)
    usual_minor = await _set_ceiling(url, await _offered_minor(url, asked.payout_id) - 1)
    await bank.stack.process("signer").start()
    await _until_status(bank, asked.payout_id, ChainTransactionStatus.ABANDONED)
    await _set_ceiling(url, usual_minor)
    return asked.payout_id


async def _offered_minor(url: str, payout_id: str) -> int:
    """Return what a payout's transaction offers the network at most, per unit of gas."""
    database = Database(url)
    async with database.transaction() as session:
        found = await session.exec(
            select(ChainAttempt.max_fee_minor)
            .join(
                Payout, col(Payout.chain_transaction_id) == col(ChainAttempt.chain_transaction_id)
            )
            .where(Payout.id == payout_id)
        )
        offered_minor = found.one()
    await database.close()
    return offered_minor


async def _set_ceiling(url: str, minor: int) -> int:
    """Change what a transaction may offer at most, and return what it was before."""
    database = Database(url)
    async with database.transaction() as session:
        chain = await session.get_one(Chain, CHAIN)
        before_minor, chain.max_fee_ceiling_minor = chain.max_fee_ceiling_minor, minor
    await database.close()
    return before_minor


async def _until_status(bank: Bank, payout_id: str, status: ChainTransactionStatus) -> None:
    database = Database(bank.stack.site.database_url())
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.transaction() as session:
                found = await session.exec(
                    select(ChainTransaction.status)
                    .join(Payout, col(Payout.chain_transaction_id) == col(ChainTransaction.id))
                    .where(Payout.id == payout_id)
                )
                if found.first() == status:
                    break
            await asyncio.sleep(POLL_S)
    await database.close()


async def _until_attempts(bank: Bank, *, at_least: int) -> None:
    database = Database(bank.stack.site.database_url())
    latest = bank.asked[-1]
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.transaction() as session:
                found = await session.exec(
                    select(ChainAttempt.id)
                    .join(
                        ChainTransaction,
                        col(ChainAttempt.chain_transaction_id) == col(ChainTransaction.id),
                    )
                    .where(
                        ChainTransaction.destination == latest.recipient,
                        col(ChainAttempt.raw).is_not(None),
                    )
                )
                if len(found.all()) >= at_least:
                    break
            await asyncio.sleep(POLL_S)
    await database.close()


async def _owner(bank: Bank, payout_id: str) -> ScriptedUser:
    database = Database(bank.stack.site.database_url())
    async with database.transaction() as session:
        user_id = (await session.get_one(Payout, payout_id)).user_id
    await database.close()
    return next(u for u in bank.users if u.user_id == user_id)


async def _act(act: Callable[[str, str], object], payout_id: str, action: str) -> None:
    """Do it once more when the answer was lost: the database says whether it was done."""
    try:
        await asyncio.to_thread(act, payout_id, action)
    except ApiProblem as problem:
        if problem.code != PayoutStateError.code:
            raise
