"""The HTTP API: ``uvicorn --factory api.app:create_app``. Composition root; no rule lives here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from api.metrics import RequestMetrics
from api.middleware import BodyLimit, LastResort, ResponseHeaders
from api.openapi import DESCRIPTION, TAGS, install_openapi
from api.problems import install_problem_handlers
from api.routers import (
    address_book,
    admins,
    api_keys,
    chains,
    deposit_addresses,
    deposits,
    events,
    fees,
    freezes,
    handles,
    kyc,
    kyc_reviews,
    limits,
    mixers,
    mixes,
    money_requests,
    operations,
    payout_run_actions,
    payout_run_retries,
    payout_runs,
    payouts,
    pockets,
    policy,
    purchases,
    quotes,
    rates,
    rescans,
    screening,
    sessions,
    statements,
    stripe_webhook,
    sweeps,
    transactions,
    transfers,
    two_factor,
    users,
    wallets,
    webhooks,
)
from api.state import StateOpener, open_state
from infra.settings import ApiSettings

ROUTERS = (
    users.router,
    sessions.router,
    two_factor.router,
    api_keys.router,
    admins.router,
    wallets.router,
    transactions.router,
    statements.router,
    payouts.router,
    pockets.router,
    payout_runs.router,
    payout_run_actions.router,
    payout_run_retries.router,
    transfers.router,
    money_requests.router,
    handles.router,
    fees.router,
    address_book.router,
    screening.router,
    policy.router,
    rates.router,
    quotes.router,
    purchases.router,
    stripe_webhook.router,
    kyc.router,
    kyc_reviews.router,
    limits.router,
    deposit_addresses.router,
    deposits.router,
    chains.router,
    rescans.router,
    sweeps.router,
    freezes.router,
    events.router,
    webhooks.router,
    operations.router,
)

MIXING = (mixers.router, mixes.router)
"""Only where mixing is on; elsewhere they answer like any path that there is not."""


def create_app(
    settings: ApiSettings | None = None, *, state_opener: StateOpener = open_state
) -> FastAPI:
    """Return the application; without settings it reads the environment."""
    chosen = settings or ApiSettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with state_opener(chosen) as state:
            app.state.strongroom = state
            yield

    app = FastAPI(
        title="Strongroom",
        version=version("strongroom"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        redoc_url=None,
        # A redirect would repeat the bearer token to whatever host the request named.
        redirect_slashes=False,
    )
    for router in (*ROUTERS, *(MIXING if chosen.mixer_enabled else ())):
        app.include_router(router)
    install_problem_handlers(app)
    install_openapi(app)
    # The last one added is the outermost: even the answer of last resort carries the headers.
    app.add_middleware(
        BodyLimit,
        upload_path=payout_runs.router.prefix,
        upload_bytes_max=chosen.upload_bytes_max,
    )
    for middleware in (RequestMetrics, LastResort, ResponseHeaders):
        app.add_middleware(middleware)
    if chosen.codec_anonymous:
        app.dependency_overrides[operations.codec_reader] = operations.anybody
    if chosen.temporal_ui_url:
        # Only the Temporal UI's pages may call across origins, and only what they need.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[chosen.temporal_ui_url.rstrip("/")],
            allow_methods=["POST"],
            allow_headers=["content-type", "x-namespace", "authorization"],
        )
    return app
