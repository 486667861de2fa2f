"""Health, readiness, metrics, and the codec that lets the Temporal UI show payloads."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from google.protobuf import json_format
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from temporalio.api.common.v1 import Payload

from api.dependencies import State, require_role
from api.metrics import business_metrics
from api.problems import BODY_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.schemas.operations import CodecAnswer, CodecBody, HealthView, ReadinessView
from domain.errors import (
    InvariantError,
    RoleMissingError,
    ValidationError,
    WorkflowEngineUnavailableError,
)
from identity.principals import Principal
from models.identity import Role
from payouts.liveness import last_seen

router = APIRouter(tags=["operations"])

CODEC_ROLES = (Role.OPERATOR, Role.AUDITOR, Role.OWNER)
"""Who may read the payloads of workflow histories."""


codec_reader = require_role(*CODEC_ROLES)


async def anybody() -> None:
    """Stand in for ``codec_reader`` where the whole stack is on one machine."""


CodecReader = Annotated[Principal | None, Depends(codec_reader)]


@router.get("/health")
async def get_health() -> HealthView:
    """Tell that the process runs; asks nothing of anybody else."""
    return HealthView(status="ok")


@router.get("/ready", responses=problem_responses(WorkflowEngineUnavailableError))
async def get_readiness(state: State) -> ReadinessView:
    """Tell whether requests can be served: the database and the workflow engine answer."""
    async with state.database.transaction() as session:
        seen = await last_seen(session)
    await state.check_workflow_engine()
    return ReadinessView(
        status="ready",
        database="ok",
        workflow_engine="ok",
        processes={role: seen_at.isoformat() for role, seen_at in seen.items()},
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problem_responses(),
    },
)
async def get_metrics(state: State) -> Response:
    """Return metrics of requests and of the business for Prometheus."""
    async with state.database.transaction() as session:
        business = await business_metrics(session, state.clock)
    body = generate_latest(REGISTRY) + generate_latest(business)
    return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.post(
    "/v1/codec/decode",
    responses=problem_responses(*BODY_PROBLEMS, *SESSION_PROBLEMS, RoleMissingError),
)
async def decode_payloads(body: CodecBody, state: State, reader: CodecReader) -> CodecAnswer:
    """
    Decrypt payloads of workflow histories for the Temporal UI and CLI.

    A stack on one machine may open it to the UI beside it (`codec_anonymous`); anywhere else the
    caller needs the role operator, auditor or owner.
    """
    del reader
    try:
        sealed = [json_format.ParseDict(p.model_dump(), Payload()) for p in body.payloads]
    except json_format.ParseError:
        msg = "A payload is not in the proto3 JSON form: base64 metadata and data."
        raise ValidationError(msg, errors=[{"field": "payloads", "message": msg}]) from None
    try:
        opened = await state.codec.decode(sealed)
    except (InvariantError, ValueError):
        msg = "A payload was not sealed by this installation, or its key is gone."
        raise ValidationError(msg, errors=[{"field": "payloads", "message": msg}]) from None
    return CodecAnswer(payloads=[_as_json(payload) for payload in opened])


def _as_json(payload: Payload) -> dict[str, Any]:
    return json_format.MessageToDict(payload)
