"""Taking a request to send money: from a body, or from a money request that is to be paid."""

from api.schemas.transfers import PaymentBody, TransferBody
from api.second_factor import SecondFactorCheck
from domain.errors import ValidationError
from domain.ids import TRANSFER, derived_id
from domain.money import parse_minor
from domain.payment_links import PaymentLink, parse_target
from domain.payouts import request_hash
from domain.transfers import TransferRequest
from identity.principals import Principal
from models.transfers import Transfer
from transfers.desk import TransferDesk


class TransferRequests:
    """Turns HTTP requests into transfers, once per Idempotency-Key."""

    def __init__(self, desk: TransferDesk) -> None:
        """Take what makes transfers."""
        self._desk = desk

    async def send(
        self,
        body: TransferBody,
        *,
        idempotency_key: str,
        principal: Principal,
        second_factor: SecondFactorCheck,
    ) -> Transfer:
        """
        Return the transfer that this body asks for; errors are those of ``TransferDesk.send``.

        Raises:
            InvalidPaymentLinkError: The link says nothing that can be paid.
            ValidationError: The body says otherwise than the link.
        """
        link = parse_target(body.to)
        amount_minor = None if body.amount is None else parse_minor(body.amount)
        request = TransferRequest(
            transfer_id=derived_id(TRANSFER, principal.principal_id, idempotency_key),
            user_id=principal.user_id,
            principal=principal.principal_id,
            idempotency_key=idempotency_key,
            request_hash=request_hash(body.model_dump(mode="json")),
            recipient=link.recipient,
            asset=_agreed("asset", link, body.asset, link.asset),
            amount_minor=_agreed("amount", link, amount_minor, link.amount_minor),
            note=body.note,
            money_request_id=link.money_request_id,
        )
        return await self._desk.send(request, spend=second_factor.spend)

    async def pay(
        self,
        money_request_id: str,
        body: PaymentBody,
        *,
        idempotency_key: str,
        principal: Principal,
        second_factor: SecondFactorCheck,
    ) -> Transfer:
        """Return the transfer that pays a money request; errors as for ``TransferDesk.send``."""
        said = body.model_dump(mode="json") | {"money_request_id": money_request_id}
        request = TransferRequest(
            transfer_id=derived_id(TRANSFER, principal.principal_id, idempotency_key),
            user_id=principal.user_id,
            principal=principal.principal_id,
            idempotency_key=idempotency_key,
            request_hash=request_hash(said),
            recipient=None,
            asset=body.asset,
            amount_minor=None if body.amount is None else parse_minor(body.amount),
            note=body.note,
            money_request_id=money_request_id,
        )
        return await self._desk.send(request, spend=second_factor.spend)


def _agreed[Said: (str, int)](
    field: str, link: PaymentLink, said: Said | None, linked: Said | None
) -> Said | None:
    if said is not None and linked is not None and said != linked:
        message = f"The link says otherwise: {link}"
        raise ValidationError(errors=[{"field": field, "message": message}])
    return linked if said is None else said
