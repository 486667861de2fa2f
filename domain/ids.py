"""
Prefixed, sortable identifiers: ``pay_01J9…`` (ULID, https://github.com/ulid/spec).

An id that must be the same on every retry is *derived* from the caller and their
Idempotency-Key instead of drawn; it has the same shape.
"""

import hashlib
from typing import NewType

from ulid import ULID

UserId = NewType("UserId", str)
PayoutId = NewType("PayoutId", str)
AssetCode = NewType("AssetCode", str)
ChainId = NewType("ChainId", str)
"""A CAIP-2 chain id, such as ``eip155:1``."""

PAYOUT, USER, SESSION, API_KEY, STEP_UP = "pay", "usr", "ses", "key", "stp"
CHAIN_TRANSACTION, CHAIN_BATCH, ATTEMPT = "ctx", "cbt", "att"
HOLD, LEDGER_TRANSACTION, DECISION = "hld", "ltx", "dec"
ADDRESS, DEPOSIT, FREEZE, RESCAN = "adr", "dep", "frz", "rsc"
PAYOUT_RUN, BOOK_ENTRY, ACTION = "run", "bok", "act"
TRANSFER, MONEY_REQUEST = "tfr", "mrq"
EVENT, WEBHOOK_ENDPOINT, WEBHOOK_DELIVERY = "evt", "whe", "whd"
QUOTE, PURCHASE, PURCHASE_REFUND = "quo", "pur", "prf"
POCKET, POCKET_TRANSFER = "pkt", "ptr"
KYC_APPLICATION = "kya"
MIXER, MIX, DOLE, MIX_AUDIT = "mxr", "mix", "dol", "mau"
EVENT, WEBHOOK_ENDPOINT, WEBHOOK_DELIVERY = "evt", "whe", "whd"


def new_id(prefix: str) -> str:
    """Return a fresh id with this prefix; later ids sort after earlier ones."""
    return f"{prefix}_{ULID()}"


def derived_id(prefix: str, *parts: str) -> str:
    """Return the id that these parts always give: 128 bits of SHA-256 in ULID's alphabet."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    # ULID's text holds 130 bits, so the first character is limited to 0-7; 16 bytes always fit.
    return f"{prefix}_{ULID.from_bytes(digest[:16])}"
