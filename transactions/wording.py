"""What a line of a statement is called."""

from typing import Final

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
    "pocket_dispatch": "Transfer of your own wallet",
    "pocket_return": "Transfer of your own wallet, returned",
    "pocket_settle": "Transfer of your own wallet, arrived",
    "pocket_gas_settle": "Network fee of a transfer of your own wallet",
    "pocket_network_fee": "Network fee of a transfer of your own wallet",
    "pocket_fix": "Correction after a reorganization of the chain",
    "purchase_credit": "Purchase",
    "purchase_clawback": "Purchase taken back",
    "purchase_refund": "Purchase refunded",
}
"""By posting rule; see ``ledger.rules``."""


def described(entry: StatementEntry) -> str:
    """Return what a line is, in a few words."""
    return _BY_RULE.get(entry.rule) or entry.rule.replace("_", " ").capitalize()


def placed(section: Section) -> str:
    """Return where a section's money is."""
    return "off-chain" if section.chain_id is None else f"on {section.chain_id}"
