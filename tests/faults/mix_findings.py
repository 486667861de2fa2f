"""Judging mixes afterwards: what was asked for, the books, and what every address has on a node."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from devnet.bulk import arrived_minor
from devnet.reconcile import reconcile
from devnet.site import Site
from domain.mixing.messages import DoleStatus, LotStatus, MixerBooks
from domain.payouts import PayoutStatus
from infra.database import Database
from ledger import chart
from ledger.queries import account_balance
from mixers.check import all_books
from models.deposits import ChainDeposit
from models.mixing import Mix, MixDole, MixLot
from models.payouts import Payout
from models.wallets import Asset
from tests.faults.findings import Findings
from tests.faults.limits import miscounted
from tests.faults.mixers import AskedMix, Mixers


@dataclass(frozen=True)
class Found:
    """All that the database says of mixes, and the node of their withdrawal addresses."""

    mixes: Mapping[str, Mix]
    deposits: Sequence[tuple[str, ChainDeposit]]
    """With the id of the mix."""
    lots: Sequence[MixLot]
    doles: Sequence[tuple[MixDole, PayoutStatus | None]]
    arrived_minor: Mapping[str, int]

    @cached_property
    def deposits_of(self) -> Mapping[str, Sequence[ChainDeposit]]:
        """Return what is booked for each mix."""
        return _grouped((mix_id, each) for mix_id, each in self.deposits if each.is_booked)

    @cached_property
    def lots_of(self) -> Mapping[str, Sequence[MixLot]]:
        """Return the lots of each mix."""
        return _grouped((lot.mix_id, lot) for lot in self.lots)

    @cached_property
    def doles_of(self) -> Mapping[str, Sequence[tuple[MixDole, PayoutStatus | None]]]:
        """Return the dole-outs of each mix."""
        return _grouped((each[0].mix_id, each) for each in self.doles)


async def judge(mixers: Mixers, site: Site) -> tuple[Findings, int]:
    """Compare it all; return what is wrong, and how many dole-outs were paid."""
    findings, database = Findings(), Database(site.database_url())
    async with database.snapshot() as session:
        found = await _found(session, site, mixers.asked)
        for mix in mixers.asked:
            findings.add_all(judged(mix, found))
        findings.add(unbalanced=await _wrong_balances(session, mixers.asked, found))
        findings.add(unbalanced=await miscounted(session))
    findings.add(unbalanced=wrong_mixers(await all_books(database)))
    await database.close()
    vanished = [s for s in mixers.bank.depositors.sent if s.txid not in _txids(found)]
    findings.add(lost=[f"{sent} is not credited" for sent in vanished])
    books = await reconcile(site)
    findings.add(unbalanced=[str(check) for check in books.assets if not check.is_right])
    findings.add(unbalanced=[books.verification.broken] if books.verification.broken else [])
    return findings, sum(status == PayoutStatus.SETTLED for _, status in found.doles)


async def _found(session: AsyncSession, site: Site, asked: Sequence[AskedMix]) -> Found:
    mixes = await session.exec(select(Mix))
    deposits = await session.exec(
        select(Mix.id, ChainDeposit).join(
            ChainDeposit,
            (col(ChainDeposit.address_id) == col(Mix.address_id))
            & (col(ChainDeposit.asset) == col(Mix.asset)),
        )
    )
    lots = await session.exec(select(MixLot))
    doles = await session.exec(
        select(MixDole, Payout.status).outerjoin(Payout, col(Payout.id) == col(MixDole.payout_id))
    )
    arrived: dict[str, int] = {}
    for code in sorted({mix.asset for mix in asked}):
        addresses = [a for mix in asked if mix.asset == code for a in mix.addresses]
        arrived |= await arrived_minor(site, await session.get_one(Asset, code), addresses)
    return Found(
        mixes={mix.id: mix for mix in mixes},
        deposits=deposits.all(),
        lots=lots.all(),
        doles=[(dole, PayoutStatus(s) if s else None) for dole, s in doles],
        arrived_minor=arrived,
    )


def judged(mix: AskedMix, found: Found) -> Findings:
    """Judge one mix by its rows, and by what its withdrawal addresses have."""
    findings = Findings()
    row = found.mixes.get(mix.mix_id)
    if row is None or row.status != mix.way.end:
        status = row.status if row else "not there"
        findings.add(lost=[f"{_name(mix)} is {status}"])
    if row is not None:
        findings.add_all(_judged_deposits(mix, found))
        findings.add(unbalanced=_uneven_lots(mix, found))
        findings.add_all(_judged_doles(mix, found))
    return findings


def _judged_deposits(mix: AskedMix, found: Found) -> Findings:
    """Every payment is booked once as it was sent, and decided on once."""
    booked = found.deposits_of.get(mix.mix_id, ())
    times = Counter((deposit.txid, deposit.position) for deposit in booked)
    paid = {deposit.txid: deposit.amount_minor for deposit in booked}
    decided = {lot.deposit_id: lot.amount_minor for lot in found.lots_of.get(mix.mix_id, ())}
    due = {deposit.id: deposit.amount_minor for deposit in booked}
    unknown = paid.keys() - mix.minted.keys() if mix.minted else ()
    findings = Findings()
    findings.add(
        duplicates=[
            *(f"{_name(mix)}: {place} is booked {n} times" for place, n in times.items() if n > 1),
            *(f"{_name(mix)}: {txid} was not sent" for txid in sorted(unknown)),
        ],
        lost=[
            f"{_name(mix)}: {txid} of {amount_minor} is not booked"
            for txid, amount_minor in mix.minted.items()
            if paid.get(txid) != amount_minor
        ],
        unbalanced=[f"{_name(mix)}: {due} came, {decided} decided on"] if due != decided else [],
    )
    return findings


def _uneven_lots(mix: AskedMix, found: Found) -> list[str]:
    """Return notes on deposits that are not the fee and the dole-outs, to the unit."""
    notes = []
    for lot in found.lots_of.get(mix.mix_id, ()):
        parts = [dole for dole, _ in found.doles_of.get(mix.mix_id, ())]
        left_minor = sum(
            dole.amount_minor
            for dole in parts
            if dole.deposit_id == lot.deposit_id and dole.status != DoleStatus.CANCELLED
        )
        is_taken = lot.status == LotStatus.TAKEN
        if left_minor != (lot.amount_minor - lot.fee_minor if is_taken else 0):
            notes.append(f"{_name(mix)}: {left_minor} of {lot} leaves")
    return notes


def _judged_doles(mix: AskedMix, found: Found) -> Findings:
    """Every withdrawal address has on the node what the dole-outs say, and no other is paid."""
    planned: Counter[str] = Counter()
    findings = Findings()
    for dole, status in found.doles_of.get(mix.mix_id, ()):
        if dole.status == DoleStatus.CANCELLED:
            continue
        planned[str(dole.address)] += dole.amount_minor
        if status != PayoutStatus.SETTLED:
            findings.add(lost=[f"{_name(mix)}: {dole.id} is {dole.status}, its payout {status}"])
    for address in mix.addresses:
        difference = found.arrived_minor[address] - planned[address]
        note = [f"{_name(mix)}: {address} has {difference:+} beside what was planned"]
        findings.add(duplicates=note if difference > 0 else (), lost=note if difference < 0 else ())
    strange = planned.keys() - set(mix.addresses)
    findings.add(lost=[f"{_name(mix)}: pays {address}" for address in sorted(strange)])
    return findings


def wrong_mixers(books: Sequence[MixerBooks]) -> list[str]:
    """Return notes on mixers whose house, with nothing pending, is anything but fees."""
    return [
        f"nothing is pending, and {each}"
        for each in books
        if each.imbalance_minor or each.owed_minor or each.house_minor != each.fees_minor
    ]


async def _wrong_balances(
    session: AsyncSession, asked: Sequence[AskedMix], found: Found
) -> list[str]:
    """Return notes on users who have anything but what was given back to them."""
    assets = {(mix.user.user_id, mix.asset) for mix in asked}
    returned: Counter[tuple[str, str]] = Counter()
    for lot in found.lots:
        mix = found.mixes[lot.mix_id]
        if lot.status == LotStatus.REFUNDED:
            returned[mix.user_id, mix.asset] += lot.amount_minor
    notes = []
    for user_id, asset in sorted(assets):
        has_minor = await account_balance(session, chart.available(user_id), asset)
        held_minor = await account_balance(session, chart.held(user_id), asset)
        if (has_minor, held_minor) != (returned[user_id, asset], 0):
            given_minor = returned[user_id, asset]
            notes.append(f"{user_id} got {given_minor} {asset}, has {has_minor} + {held_minor}")
    return notes


def _txids(found: Found) -> set[str]:
    return {deposit.txid for _, deposit in found.deposits if deposit.is_booked}


def _grouped[T](pairs: Iterable[tuple[str, T]]) -> Mapping[str, Sequence[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for key, each in pairs:
        groups[key].append(each)
    return groups


def _name(mix: AskedMix) -> str:
    return f"{mix.mix_id} ({mix.asset}, {mix.way})"
