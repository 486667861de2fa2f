"""The one statement that moves money between users: the SQL function ``transfer_make``."""

import json
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import InvariantError, error_by_code
from identity.permits import Permit
from ledger import rules
from ledger.service import ledger_refusal
from models.transfers import Transfer

_MAKE = "SELECT transfer_make(%(asked)s::jsonb, %(posting)s::jsonb, %(key_id)s, %(permit)s)"
_REFUSED = "SR010"


def permit_content(transfer: Transfer) -> tuple[str, ...]:
    """Return what the permit of a transfer says; the SQL function ``transfer_content`` agrees."""
    return (
        "transfer",
        transfer.id,
        transfer.user_id,
        transfer.recipient_id,
        transfer.asset,
        str(transfer.amount_minor),
        transfer.money_request_id or "",
        transfer.request_hash,
        transfer.second_factor,
    )


async def make(session: AsyncSession, transfer: Transfer, permit: Permit) -> None:
    """
    Write the transfer, its history and its ledger transaction, and end its money request.

    Call it last: the end of the ledger's hash chain stays locked until the commit.

    Raises:
        InsufficientAvailableBalanceError, WalletFrozenError, UnknownAssetError: As named.
        MoneyRequestStateError, MoneyRequestMismatchError, MoneyRequestNotFoundError: As named.
        OwnTransferError, RecipientNotFoundError: As named.
        PermitRefusedError: The database does not believe that a second factor was given.
    """
    posting = rules.user_transfer(
        transfer_id=transfer.id,
        sender_id=transfer.user_id,
        recipient_id=transfer.recipient_id,
        asset=transfer.asset,
        amount_minor=transfer.amount_minor,
        at=transfer.created_at,
    )
    asked = {
        "asked": transfer.model_dump_json(),
        "posting": json.dumps(posting.as_json()),
        "key_id": permit.key_id,
        "permit": permit.mac,
    }
    try:
        await (await session.connection()).exec_driver_sql(_MAKE, asked)
    except DBAPIError as error:
        if refusal := _refusal(error):
            raise refusal from error
        raise


def _refusal(error: DBAPIError) -> Exception | None:
    cause: Any = error.orig
    if getattr(cause, "sqlstate", None) != _REFUSED:
        return ledger_refusal(error)
    known = error_by_code(cause.diag.message_detail or "")
    return known() if known else InvariantError()
