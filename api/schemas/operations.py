"""Health, readiness, and the codec's wire form."""

from typing import Any

from pydantic import Field

from api.schemas.base import Answer, StrictModel


class HealthView(Answer):
    """The process runs."""

    status: str = Field(examples=["ok"])


class ReadinessView(Answer):
    """What the API depends on, each ``ok`` or why not."""

    status: str = Field(examples=["ready"])
    database: str
    workflow_engine: str
    processes: dict[str, str] = Field(description="Worker and signer, by when they were last seen.")


class CodecPayload(StrictModel):
    """A Temporal payload as JSON: base64 metadata and data (proto3 JSON mapping)."""

    metadata: dict[str, str] = Field(default_factory=dict)
    data: str = ""


class CodecBody(StrictModel):
    """Payloads to decode, as the Temporal UI and CLI send them."""

    payloads: list[CodecPayload] = Field(max_length=1_000)


class CodecAnswer(Answer):
    """Decoded payloads, in order."""

    payloads: list[dict[str, Any]]
