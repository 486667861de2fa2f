"""Taking a request for a transfer to or from a pocket: what must hold before it starts."""

from sqlmodel import col, select

from api.pocket_workflows import PocketWorkflows
from api.schemas.pockets import PocketTransferBody
from api.second_factor import SecondFactorCheck
from domain.errors import (
    ConversionUnavailableError,
    IdempotencyKeyReusedError,
    StrongroomError,
    UnknownAssetError,
    error_by_code,
)
from domain.ids import POCKET_TRANSFER, derived_id
from domain.money import parse_minor
from domain.payouts import PayoutStatus, request_hash
from domain.pockets import ALL, PocketTransferRequest, Route
from identity.principals import Principal
from infra.database import Database
from models.payouts import Payout, PayoutEvent
from models.wallets import Asset
from pockets.desk import check_request


class PocketRequests:
    """Turns an HTTP request into a transfer, once per Idempotency-Key."""

    def __init__(self, database: Database, workflows: PocketWorkflows) -> None:
        """Take the database, to look, and the workflows, which alone change anything."""
        self._database = database
        self._workflows = workflows

    async def submit(
        self,
        body: PocketTransferBody,
        *,
        idempotency_key: str,
        principal: Principal,
        second_factor: SecondFactorCheck,
    ) -> Payout:
        """
        Return the transfer that this request made, now or when it was sent before.

        Raises:
            RequestError, ConflictError: Refused; nothing is frozen.
            WorkflowEngineUnavailableError, DatabaseUnavailableError: Repeat the same request.
        """
        transfer_id = derived_id(POCKET_TRANSFER, principal.principal_id, idempotency_key)
        # What converts nothing is hashed as it was before there were quotes.
        unset = {"quote_id"} if body.quote_id is None else set()
        hashed = request_hash(body.model_dump(mode="json", exclude=unset))
        if known := await self._find(transfer_id, hashed):
            return known
        chain_id = await self._chain_of(body)

        def request(second_factor: str) -> PocketTransferRequest:
            return PocketTransferRequest(
                payout_id=transfer_id,
                user_id=principal.user_id,
                principal=principal.principal_id,
                idempotency_key=idempotency_key,
                request_hash=hashed,
                route=body.route,
                asset=body.asset,
                chain_id=chain_id,
                amount=ALL if body.amount == ALL else str(parse_minor(body.amount)),
                second_factor=second_factor,
                destination=body.destination,
                note=body.note,
                priority=body.priority,
                to_asset=body.to_asset,
                quote_id=body.quote_id,
            )

        async with self._database.transaction() as session:
            await check_request(session, request(""))
        # Last, so that a request which is refused anyway does not use the code up.
        proof = await second_factor.require()
        acceptance = await self._workflows.request(request(proof))
        if acceptance.request_hash != hashed:
            raise IdempotencyKeyReusedError
        if found := await self._find(transfer_id, hashed):
            return found
        raise _refusal(acceptance.reason_code, acceptance.reason)

    async def _chain_of(self, body: PocketTransferBody) -> str:
        """Return the chain of the asset that lies on the pocket."""
        if body.quote_id is None and body.to_asset not in (None, body.asset):
            msg = f"Ask for a quote from {body.asset} to {body.to_asset} first."
            raise ConversionUnavailableError(msg)
        is_fund = body.route == Route.FUND
        code = body.to_asset or body.asset if is_fund else body.asset
        async with self._database.transaction() as session:
            asset = await session.get(Asset, code)
        if asset is None or not asset.enabled:
            msg = f"There is no asset {code!r}."
            raise UnknownAssetError(msg)
        return asset.home_chain_id

    async def _find(self, transfer_id: str, hashed: str) -> Payout | None:
        async with self._database.transaction() as session:
            payout = await session.get(Payout, transfer_id)
            if payout is None:
                return None
            if payout.request_hash != hashed:
                raise IdempotencyKeyReusedError
            if payout.status == PayoutStatus.REFUSED:
                events = await session.exec(
                    select(PayoutEvent.detail)
                    .where(PayoutEvent.payout_id == payout.id)
                    .order_by(col(PayoutEvent.id).desc())
                )
                raise _refusal(payout.reason_code, events.first())
            return payout


def _refusal(code: str | None, detail: str | None) -> Exception:
    known = error_by_code(code or "")
    return known(detail) if known else StrongroomError(detail)
