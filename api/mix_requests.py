"""Taking a request to mix: its deposit address, its mixer, and what must hold before it starts."""

from sqlmodel import col, select

from api.mix_workflows import MixWorkflows
from api.schemas.mixes import MixBody
from api.second_factor import SecondFactorCheck
from deposits.addresses import AddressRequest, issue
from domain.clock import Clock
from domain.errors import (
    ConflictError,
    IdempotencyKeyReusedError,
    RequestError,
    StrongroomError,
    error_by_code,
)
from domain.ids import MIX, derived_id
from domain.mixing.messages import MixRequest, MixStatus
from domain.payouts import request_hash
from identity.principals import Principal
from infra.database import Database
from mixers.opening import check_allowed_user, withdrawal_addresses
from mixers.registry import mixer_for
from models.mixing import Mix, MixEvent


class MixRequests:
    """Turns an HTTP request into a mix, once per Idempotency-Key."""

    def __init__(
        self, database: Database, workflows: MixWorkflows, clock: Clock, *, addresses_max: int
    ) -> None:
        """Take the database, the workflows, and how many deposit addresses a user may have."""
        self._database = database
        self._workflows = workflows
        self._clock = clock
        self._addresses_max = addresses_max

    async def submit(
        self,
        body: MixBody,
        *,
        idempotency_key: str,
        principal: Principal,
        second_factor: SecondFactorCheck,
    ) -> Mix:
        """
        Return the mix that this request made, now or when it was sent before.

        Raises:
            RequestError, ConflictError: Refused; nothing of it is kept but a deposit address.
            WorkflowEngineUnavailableError, DatabaseUnavailableError: Repeat the same request.
        """
        mix_id = derived_id(MIX, principal.principal_id, idempotency_key)
        hashed = request_hash(body.model_dump(mode="json"))
        if known := await self._find(mix_id, hashed):
            return known
        try:
            return await self._submit(
                body,
                mix_id=mix_id,
                hashed=hashed,
                idempotency_key=idempotency_key,
                principal=principal,
                second_factor=second_factor,
            )
        except (RequestError, ConflictError):
            # An earlier try of this request may have opened the mix since: then it is its own
            # addresses that were given before.
            if known := await self._find(mix_id, hashed):
                return known
            raise

    async def _submit(
        self,
        body: MixBody,
        *,
        mix_id: str,
        hashed: str,
        idempotency_key: str,
        principal: Principal,
        second_factor: SecondFactorCheck,
    ) -> Mix:
        async with self._database.transaction() as session:
            await check_allowed_user(session, principal.user_id)
        address_id, mixer_id = await self._shard(body.asset, principal, idempotency_key)

        def request(proof: str) -> MixRequest:
            return MixRequest(
                mix_id=mix_id,
                user_id=principal.user_id,
                principal=principal.principal_id,
                idempotency_key=idempotency_key,
                request_hash=hashed,
                mixer_id=mixer_id,
                address_id=address_id,
                addresses=tuple(body.addresses),
                parts_asked=body.parts,
                second_factor=proof,
            )

        async with self._database.transaction() as session:
            await withdrawal_addresses(session, request(""), locks=False)
        # Last, so that a request which is refused anyway does not use the code up.
        proof = await second_factor.require()
        acceptance = await self._workflows.request(request(proof))
        if acceptance.request_hash != hashed:
            raise IdempotencyKeyReusedError
        if found := await self._find(mix_id, hashed):
            return found
        raise _refusal(acceptance.reason_code, acceptance.reason)

    async def _shard(
        self, asset: str, principal: Principal, idempotency_key: str
    ) -> tuple[str, str]:
        """Return a deposit address and the mixer that follows from it; refused, it stays unused."""
        asked = AddressRequest(
            user_id=principal.user_id,
            asset=asset,
            label=None,
            principal=principal.principal_id,
            # Whoever asks for a deposit address under the same key means another one.
            idempotency_key=f"mix:{idempotency_key}",
        )
        async with self._database.transaction() as session:
            # Before an address is made for nothing.
            await mixer_for(session, asset=asset, address="")
            address = await issue(
                session, asked, clock=self._clock, addresses_max=self._addresses_max
            )
            mixer = await mixer_for(session, asset=asset, address=address.row.address)
            return address.row.id, mixer.id

    async def _find(self, mix_id: str, hashed: str) -> Mix | None:
        async with self._database.transaction() as session:
            mix = await session.get(Mix, mix_id)
            if mix is None:
                return None
            if mix.request_hash != hashed:
                raise IdempotencyKeyReusedError
            if mix.status == MixStatus.REFUSED:
                events = await session.exec(
                    select(MixEvent.detail)
                    .where(MixEvent.mix_id == mix.id, MixEvent.status == MixStatus.REFUSED)
                    .order_by(col(MixEvent.id))
                )
                raise _refusal(mix.reason_code, events.first())
            return mix


def _refusal(code: str | None, detail: str | None) -> Exception:
    known = error_by_code(code or "")
    return known(detail) if known else StrongroomError(detail)
