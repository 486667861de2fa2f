"""What a line of a statement is called."""

from typing import Final

from domain.purchases import PaymentMethod
from domain.transactions import TransactionKind
from transactions.statements import Section, StatementEntry

_BY_RULE: Final = {
    "payout_dispatch": "Payout",
    "run_dispatch": "Bulk payout",
    "payout_return": "Payout returned",
    "deposit": "Deposit",
    "deposit_credit": "Deposit",
    "deposit_reversal": "Deposit taken back by the chain",
    "transfer": "Transfer",
    "user_transfer": "Transfer",
    "pocket_gas_settle": "Network fee, what was not needed of it",
    "pocket_network_fee": "Network fee of a transfer of your own wallet",
    "pocket_fix": "Correction after a reorganization of the chain",
    "purchase_credit": "Purchase",
    "purchase_clawback": "Purchase taken back",
    "purchase_refund": "Purchase refunded",
}
"""By posting rule; see ``ledger.rules``."""

_OWN_WALLET: Final = {"pocket_dispatch": "", "pocket_settle": "", "pocket_return": ", returned"}
"""What moves between a customer's own places, seen from each; and how that ends."""


def described(entry: StatementEntry) -> str:
    """Return what a line is, in a few words."""
    if (end := _OWN_WALLET.get(entry.rule)) is not None:
        return _moved(entry) + end
    return _BY_RULE.get(entry.rule) or entry.rule.replace("_", " ").capitalize()


def told(entry: StatementEntry) -> str:
    """Return what a line is, and with whom."""
    words, known = described(entry), entry.transaction
    if known is None or not known.counterparty:
        return words
    if known.counterparty == PaymentMethod.CARD:
        return f"{words} by card"
    if known.kind in (TransactionKind.DEPOSIT, TransactionKind.PURCHASE):
        # An address of ours, that the money came to.
        return f"{words} at {known.counterparty}"
    return f"{words} {'from' if entry.amount_minor > 0 else 'to'} {known.counterparty}"


def _moved(entry: StatementEntry) -> str:
    """Name the place where it came from or went to."""
    is_off_chain = entry.section.chain_id is None
    if entry.transaction_key.endswith("_gas"):
        return "Network fee, the most that it may be"
    if entry.transaction is not None and entry.transaction.kind == TransactionKind.ONCHAIN_SEND:
        return "Sent"
    other = "your own wallet" if is_off_chain else "your off-chain balance"
    # What comes back comes from where it was going to.
    return f"{'From' if entry.amount_minor > 0 else 'To'} {other}"


def placed(section: Section) -> str:
    """Return where a section's money is."""
    return "off-chain" if section.chain_id is None else f"on {section.chain_id}"
