"""What the API opens once and hands to every request."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import Client
from temporalio.converter import PayloadCodec
from temporalio.service import RPCError

from api.deposit_stream import StreamSlots
from api.event_hub import EventHub
from api.kyc_workflows import KycWorkflows
from api.mix_requests import MixRequests
from api.mix_workflows import MixWorkflows
from api.payout_requests import PayoutRequests
from api.payout_workflows import PayoutWorkflows
from api.pocket_requests import PocketRequests
from api.pocket_workflows import PocketWorkflows
from api.purchase_requests import PurchaseRequests
from api.purchase_workflows import PurchaseWorkflows
from api.run_requests import RunRequests
from api.run_workflows import RunWorkflows
from api.sweep_workflows import SweepWorkflows
from api.transfer_requests import TransferRequests
from api.upload_bodies import UploadSlots
from domain.clock import Clock, SystemClock
from domain.errors import (
    DatabaseUnavailableError,
    InvariantError,
    PermitRefusedError,
    WorkflowEngineUnavailableError,
)
from identity.services import Identity, open_identity
from infra import temporal
from infra.database import Database
from infra.keyring import Keyring
from infra.settings import ApiSettings
from kyc.applications import KycApplications
from runs.drafts import discard_old
from runs.uploads import RunUploads
from transfers.desk import TransferDesk
from webhooks.deliveries import WebhookDeliveries
from webhooks.endpoints import WebhookEndpoints

HEALTH_TIMEOUT = timedelta(seconds=3)
PURGE_INTERVAL = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class AppState:
    """The API's collaborators."""

    settings: ApiSettings
    database: Database
    identity: Identity
    temporal: Client
    clock: Clock = field(default_factory=SystemClock)
    stream_slots: StreamSlots = field(default_factory=StreamSlots)
    upload_slots: UploadSlots = field(default_factory=UploadSlots)
    event_hub: EventHub = field(init=False)
    webhook_keys: Keyring = field(init=False)

    def __post_init__(self) -> None:
        """Make what follows from the others."""
        hub = EventHub(self.database, self.settings.stream_interval)
        object.__setattr__(self, "event_hub", hub)
        keys = Keyring.parse(self.settings.webhook_keys.get_secret_value())
        object.__setattr__(self, "webhook_keys", keys)

    @property
    def payout_workflows(self) -> PayoutWorkflows:
        """The way to payout workflows."""
        return PayoutWorkflows(self.temporal, timeout=self.settings.accept_timeout)

    @property
    def run_workflows(self) -> RunWorkflows:
        """The way to the workflows of bulk payouts."""
        return RunWorkflows(self.temporal, timeout=self.settings.accept_timeout)

    @property
    def run_requests(self) -> RunRequests:
        """The way in for bulk payouts that are to start."""
        return RunRequests(self.database, self.run_workflows)

    @property
    def run_uploads(self) -> RunUploads:
        """What makes drafts of uploads."""
        return RunUploads(self.database, self.clock, drafts_max=self.settings.run_drafts_max)

    @property
    def kyc_workflows(self) -> KycWorkflows:
        """The way to the workflows of KYC applications."""
        return KycWorkflows(self.temporal, timeout=self.settings.accept_timeout)

    @property
    def kyc_applications(self) -> KycApplications:
        """What stores applications, and opens what is sealed in them."""
        keyring = Keyring.parse(self.settings.data_keys.get_secret_value())
        return KycApplications(self.database, keyring, self.clock)

    @property
    def sweep_workflows(self) -> SweepWorkflows:
        """The way to sweep workflows."""
        return SweepWorkflows(self.temporal)

    @property
    def payout_requests(self) -> PayoutRequests:
        """The way in for payouts."""
        return PayoutRequests(self.database, self.payout_workflows)

    @property
    def transfer_requests(self) -> TransferRequests:
        """The way in for transfers between users."""
        return TransferRequests(TransferDesk(self.database, self.clock, self.identity.permits))

    @property
    def purchase_workflows(self) -> PurchaseWorkflows:
        """The way to purchase workflows."""
        return PurchaseWorkflows(self.temporal, timeout=self.settings.accept_timeout)

    @property
    def purchase_requests(self) -> PurchaseRequests:
        """The way in for purchases."""
        return PurchaseRequests(self.database, self.purchase_workflows)

    @property
    def webhook_endpoints(self) -> WebhookEndpoints:
        """Where users have events sent to."""
        return WebhookEndpoints(
            self.database,
            self.clock,
            self.webhook_keys,
            allows_loopback=self.settings.webhook_loopback,
            endpoints_max=self.settings.webhook_endpoints_max,
        )

    @property
    def webhook_deliveries(self) -> WebhookDeliveries:
        """What was sent there."""
        return WebhookDeliveries(self.database, self.clock)

    @property
    def pocket_requests(self) -> PocketRequests:
        """The way in for transfers to and from pockets."""
        workflows = PocketWorkflows(self.temporal, timeout=self.settings.accept_timeout)
        return PocketRequests(self.database, workflows)

    @property
    def mix_workflows(self) -> MixWorkflows:
        """The way to mix workflows."""
        return MixWorkflows(self.temporal, timeout=self.settings.accept_timeout)

    @property
    def mix_requests(self) -> MixRequests:
        """The way in for mixes."""
        return MixRequests(
            self.database,
            self.mix_workflows,
            self.clock,
            addresses_max=self.settings.deposit_addresses_max,
        )

    @property
    def mixer_keys(self) -> Keyring:
        """What opens the audit trail of mixes."""
        assert self.settings.mixer_keys is not None, "the settings see to it"
        return Keyring.parse(self.settings.mixer_keys.get_secret_value())

    @property
    def codec(self) -> PayloadCodec:
        """What opens payloads of workflow histories."""
        codec = self.temporal.data_converter.payload_codec
        if codec is None:
            msg = "The Temporal client encrypts nothing."
            raise InvariantError(msg)
        return codec

    def workflow_url(self, workflow_id: str) -> str | None:
        """Return the Temporal UI's page of a workflow, if a UI is configured."""
        base = self.settings.temporal_ui_url.rstrip("/")
        if not base:
            return None
        namespace = self.settings.temporal_namespace
        return f"{base}/namespaces/{namespace}/workflows/{workflow_id.replace('/', '%2F')}"

    async def check_workflow_engine(self) -> None:
        """
        Ask Temporal whether it serves.

        Raises:
            WorkflowEngineUnavailableError: It does not answer.
        """
        try:
            await self.temporal.service_client.check_health(timeout=HEALTH_TIMEOUT)
        except (RPCError, RuntimeError) as error:
            raise WorkflowEngineUnavailableError from error


StateOpener = Callable[[ApiSettings], AbstractAsyncContextManager[AppState]]


@asynccontextmanager
async def open_state(settings: ApiSettings) -> AsyncIterator[AppState]:
    """Yield the collaborators that the settings describe; close them afterwards."""
    database = Database(
        settings.database_url.get_secret_value(), pool_size=settings.database_pool_size
    )
    client = await temporal.connect(
        address=settings.temporal_address,
        namespace=settings.temporal_namespace,
        codec_keys=settings.codec_keys.get_secret_value(),
        lazy=True,
    )
    identity = open_identity(
        database,
        Keyring.parse(settings.data_keys.get_secret_value()),
        issuer=settings.totp_issuer,
        session_lifetime=settings.session_lifetime,
        step_up_lifetime=settings.step_up_lifetime,
    )
    state = AppState(settings=settings, database=database, identity=identity, temporal=client)
    housekeeping = asyncio.create_task(_keep_house(state))
    try:
        yield state
    finally:
        housekeeping.cancel()
        await database.close()


async def _keep_house(state: AppState) -> None:
    """
    Forget stale tokens and old drafts now and then.

    That the database is down is somebody else's news.
    """
    while True:
        # A permit key that the database refuses is logged there, and each transfer says so.
        with contextlib.suppress(DatabaseUnavailableError, PermitRefusedError):
            await state.identity.permits.register()
        with contextlib.suppress(DatabaseUnavailableError):
            await state.identity.purge()
            await discard_old(
                state.database, state.clock, kept_for=state.settings.run_draft_lifetime
            )
        await asyncio.sleep(PURGE_INTERVAL.total_seconds())
