"""Connecting to Temporal, always with encrypted payloads and encrypted failure messages."""

import dataclasses

from temporalio.client import Client
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
)
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from infra.codec import EncryptionCodec
from infra.keyring import Keyring


def data_converter(codec_keys: str, *, namespace: str) -> DataConverter:
    """Return JSON payloads, sealed with these keys."""
    return dataclasses.replace(
        DataConverter.default,
        payload_codec=EncryptionCodec(Keyring.parse(codec_keys), namespace=namespace),
        # Without this, messages and stack traces of failures are stored in clear.
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


async def connect(
    *,
    address: str,
    namespace: str,
    codec_keys: str,
    metrics_address: str | None = None,
    lazy: bool = False,
) -> Client:
    """
    Return a client of the namespace.

    With ``lazy`` the connection is made by the first call, so that a process can start, and
    answer "unavailable", while Temporal is down.
    """
    metrics = PrometheusConfig(bind_address=metrics_address) if metrics_address else None
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics)) if metrics else None
    return await Client.connect(
        address,
        namespace=namespace,
        data_converter=data_converter(codec_keys, namespace=namespace),
        runtime=runtime,
        lazy=lazy,
    )
