"""
Verifying the hash chain: every link, and every row that a link covers, from the first.

It finds a changed, deleted or slipped-in row of the ledger, of the decisions, of the policy and of
the limits,
and balances that do not follow from the entries.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

PAGE = 2_000

# The stored hash of a covered row is recomputed from the row itself by the same SQL that sealed it.
_LINKS = text("""
    SELECT l.sequence, l.kind, l.reference, l.content_hash, l.hash,
        CASE l.kind
            WHEN 'ledger' THEN (
                SELECT c.content_hash FROM ledger_transaction t,
                    LATERAL ledger_content(t.id, t.id) c WHERE t.key = l.reference)
            WHEN 'decision' THEN (
                SELECT decision_content(d) FROM approval_decision d WHERE d.id = l.reference)
            WHEN 'run_decision' THEN (
                SELECT run_decision_content(d) FROM run_decision d WHERE d.id = l.reference)
            WHEN 'policy' THEN (
                SELECT policy_content(p) FROM policy p WHERE p.version::text = l.reference)
            WHEN 'kyc_decision' THEN (
                SELECT kyc_decision_content(d) FROM kyc_decision d WHERE d.id = l.reference)
            WHEN 'kyc_level' THEN (
                SELECT kyc_level_content(c) FROM kyc_level_change c
                WHERE c.id::text = l.reference)
            WHEN 'limits' THEN (
                SELECT limits_content(v) FROM limits_version v WHERE v.version::text = l.reference)
        END AS present_hash
    FROM audit_chain l WHERE l.sequence > :after ORDER BY l.sequence LIMIT :page
""")

_UNSEALED = text("""
    SELECT 'ledger transaction ' || t.key FROM ledger_transaction t
    WHERE NOT EXISTS (SELECT 1 FROM audit_chain l WHERE l.kind = 'ledger' AND l.reference = t.key)
    UNION ALL
    SELECT 'decision ' || d.id FROM approval_decision d
    WHERE NOT EXISTS (SELECT 1 FROM audit_chain l WHERE l.kind = 'decision' AND l.reference = d.id)
    UNION ALL
    SELECT 'run decision ' || d.id FROM run_decision d
    WHERE NOT EXISTS (
        SELECT 1 FROM audit_chain l WHERE l.kind = 'run_decision' AND l.reference = d.id)
    UNION ALL
    SELECT 'policy ' || p.version FROM policy p
    WHERE NOT EXISTS (
        SELECT 1 FROM audit_chain l WHERE l.kind = 'policy' AND l.reference = p.version::text)
    UNION ALL
    SELECT 'KYC decision ' || d.id FROM kyc_decision d
    WHERE NOT EXISTS (
        SELECT 1 FROM audit_chain l WHERE l.kind = 'kyc_decision' AND l.reference = d.id)
    UNION ALL
    SELECT 'KYC level ' || c.id FROM kyc_level_change c
    WHERE NOT EXISTS (
        SELECT 1 FROM audit_chain l WHERE l.kind = 'kyc_level' AND l.reference = c.id::text)
    UNION ALL
    SELECT 'limits ' || v.version FROM limits_version v
    WHERE NOT EXISTS (
        SELECT 1 FROM audit_chain l WHERE l.kind = 'limits' AND l.reference = v.version::text)
    UNION ALL
    SELECT 'ledger entry ' || e.id FROM ledger_entry e
    WHERE NOT EXISTS (SELECT 1 FROM ledger_transaction t WHERE t.id = e.transaction_id)
    LIMIT 1
""")

_UNFOUNDED = text("""
    SELECT a.code || ' in ' || a.asset FROM ledger_account a
    LEFT JOIN (SELECT account_id, sum(amount_minor) AS total, count(*) AS lines
               FROM ledger_entry GROUP BY account_id) e ON e.account_id = a.id
    WHERE a.balance_minor <> coalesce(e.total, 0) OR a.version <> coalesce(e.lines, 0)
    ORDER BY a.id LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Verification:
    """How far the books verify; ``broken`` names the first row that does not."""

    links: int
    broken: str | None


async def verify(session: AsyncSession) -> AsyncIterator[Verification]:
    """
    Yield progress after each page of links; the last one carries the verdict.

    Give it a snapshot (``Database.snapshot``), or what is posted meanwhile looks like tampering.
    """
    previous_hash, sequence = "0" * 64, 0
    while True:
        rows = (await session.execute(_LINKS, {"after": sequence, "page": PAGE})).all()
        for row in rows:
            if broken := _broken_link(row, expected=sequence + 1, previous_hash=previous_hash):
                yield Verification(sequence, broken)
                return
            previous_hash, sequence = row.hash, row.sequence
        if len(rows) < PAGE:
            yield Verification(sequence, await _loose_end(session))
            return
        yield Verification(sequence, None)


def _broken_link(row: object, *, expected: int, previous_hash: str) -> str | None:
    sequence, kind, reference, content, link_hash, present = tuple(row)  # type: ignore[arg-type,var-annotated]
    if sequence != expected:
        return f"link {expected} of the hash chain is missing"
    if present is None:
        return f"{kind} {reference} is missing (link {sequence})"
    if present != content:
        return f"{kind} {reference} was changed (link {sequence})"
    if hashlib.sha256((previous_hash + content).encode()).hexdigest() != link_hash:
        return f"link {sequence} of the hash chain was changed ({kind} {reference})"
    return None


async def _loose_end(session: AsyncSession) -> str | None:
    unsealed = (await session.execute(_UNSEALED)).scalar()
    if unsealed:
        return f"{unsealed} is not in the hash chain"
    unfounded = (await session.execute(_UNFOUNDED)).scalar()
    return f"the balance of {unfounded} does not follow from its entries" if unfounded else None
