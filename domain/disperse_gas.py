"""
How much gas the disperse contract may take, by the gas schedule of Cancun to Osaka.

Upper bounds, whatever the recipients do. A dry run tells what a batch takes if none of them changes
its mind until it is mined.
"""

from enum import StrEnum

PAYMENTS_MAX = 500
"""Most payments that the contract takes in one call."""

NATIVE_GAS_EACH = 50_000
"""
Gas for a recipient's code: several times what contract wallets need to log a payment.

A recipient that never stops burns this much of ours and is reported as failed.
"""

TOKEN_GAS_EACH = 100_000
"""
Gas for one transfer of a token: about twice what widely held ones take to a new holder.

Tokens that compute balances, or that call their receivers, may need more.
"""

TRANSACTION_GAS_MAX = 2**24
"""Most gas that a transaction may ask for on Ethereum since Osaka (EIP-7825)."""

_FIXED_GAS = 21_000 + 30_000
"""A transaction, and beside its payments a call: lock, memory, summary and refund, some 15,000."""

_COLD_CALL_GAS = 2_600
"""The first call to an address in a transaction (EIP-2929)."""

_VALUE_GAS = 9_000
"""A call that moves value (Yellow Paper, G_callvalue)."""

_NEW_ACCOUNT_GAS = 25_000
"""A call that moves value to an account that was empty (EIP-161)."""

_WORD_GAS = 32 * 16
"""Calldata of one payment without a zero byte (EIP-2028)."""

_LOOP_GAS = 1_000
"""What the contract does for one payment itself: 300 for a native one, 700 for a token's."""

_FAILURE_GAS = 3_000
"""Reporting a failed payment: a log with three topics and three words takes 2,300."""


class Kind(StrEnum):
    """What a batch moves."""

    NATIVE = "native"
    TOKEN = "token"  # noqa: S105 - of the fungible sort


def gas_limit_for(count: int, kind: Kind, *, gas_each: int | None = None) -> int:
    """
    Return a gas limit that is enough for this many payments, even if every one of them fails.

    With less than one recipient's share left when it fails, the contract reverts as a whole and
    nothing is paid.
    """
    gas_each = _gas_each(kind) if gas_each is None else gas_each
    # What is left after the last payment must prove that it had its share of 63/64 (EIP-150).
    return _FIXED_GAS + count * _payment_gas(kind, gas_each) + _proof_gas(gas_each)


def payments_max(
    kind: Kind, *, gas_each: int | None = None, gas_limit: int = TRANSACTION_GAS_MAX
) -> int:
    """Return how many payments are sure to fit below a gas limit, whatever recipients do."""
    gas_each = _gas_each(kind) if gas_each is None else gas_each
    left = gas_limit - _FIXED_GAS - _proof_gas(gas_each)
    return max(0, min(PAYMENTS_MAX, left // _payment_gas(kind, gas_each)))


def _gas_each(kind: Kind) -> int:
    return NATIVE_GAS_EACH if kind is Kind.NATIVE else TOKEN_GAS_EACH


def _payment_gas(kind: Kind, gas_each: int) -> int:
    own = _WORD_GAS + _LOOP_GAS + _FAILURE_GAS + _COLD_CALL_GAS
    if kind is Kind.TOKEN:
        return own + gas_each
    # A new account has no code to run; one with a delegation runs another's (EIP-7702).
    return own + _VALUE_GAS + max(_NEW_ACCOUNT_GAS, _COLD_CALL_GAS + gas_each)


def _proof_gas(gas_each: int) -> int:
    return gas_each * 64 // 63 + 1
