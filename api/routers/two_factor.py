"""Two-factor authentication: without it no money moves."""

from typing import Annotated

from fastapi import APIRouter, Header

from api.dependencies import SecondFactor, SessionPrincipal, State
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.two_factor import (
    ConfirmationRequest,
    EnrolmentRequest,
    EnrolmentView,
    RecoveryCodesView,
    StepUpRequest,
    StepUpView,
    TwoFactorView,
)
from domain.errors import (
    EnrolmentMissingError,
    InvalidCredentialsError,
    LoginThrottledError,
    SecondFactorAlreadyEnabledError,
    SecondFactorInvalidError,
    SecondFactorLockedError,
    SecondFactorNotEnabledError,
    ValidationError,
)
from identity.fingerprints import operation_fingerprint
from identity.recovery_codes import RECOVERY_CODE_PATTERN

router = APIRouter(prefix="/v1/2fa", tags=["two-factor"])


@router.get("", responses=problem_responses(*SESSION_PROBLEMS))
async def get_two_factor(principal: SessionPrincipal, state: State) -> TwoFactorView:
    """Tell whether the second factor is on, locked, and how many recovery codes are left."""
    status = await state.identity.second_factors.status(principal.user_id)
    return TwoFactorView(
        is_enabled=status.is_enabled,
        locked_for_s=status.locked_for_s,
        recovery_codes_left=status.recovery_codes_left,
    )


@router.post(
    "/enrolment",
    status_code=201,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        InvalidCredentialsError,
        LoginThrottledError,
        SecondFactorAlreadyEnabledError,
    ),
)
async def enrol_two_factor(
    request: EnrolmentRequest, principal: SessionPrincipal, state: State
) -> EnrolmentView:
    """Draw a new secret for an authenticator app. It counts once a code confirms it."""
    user = await state.identity.accounts.user(principal.user_id)
    await state.identity.accounts.prove_password(user.email, request.password)
    enrolment = await state.identity.second_factors.enrol(user.id, email=user.email)
    return EnrolmentView(
        secret=enrolment.secret,
        otpauth_uri=enrolment.otpauth_uri,
        qr_data_uri=enrolment.qr_data_uri,
    )


@router.post(
    "/confirmation",
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        EnrolmentMissingError,
        SecondFactorAlreadyEnabledError,
        SecondFactorInvalidError,
        SecondFactorLockedError,
    ),
)
async def confirm_two_factor(
    request: ConfirmationRequest, principal: SessionPrincipal, state: State
) -> RecoveryCodesView:
    """Switch the second factor on with the authenticator's first code."""
    codes = await state.identity.second_factors.confirm(principal.user_id, request.code)
    return RecoveryCodesView(recovery_codes=codes)


@router.post(
    "/step-up",
    status_code=201,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        SecondFactorNotEnabledError,
        SecondFactorInvalidError,
        SecondFactorLockedError,
    ),
)
async def step_up(request: StepUpRequest, principal: SessionPrincipal, state: State) -> StepUpView:
    """
    Give the second factor ahead, for one operation.

    The token is bound to method, path, body and Idempotency-Key. It may be sent again with that
    same operation while it lives, so that an answer that was lost can be asked for again.
    """
    fingerprint = operation_fingerprint(
        request.method, request.path, request.body, idempotency_key=request.idempotency_key
    )
    issued = await state.identity.step_ups.issue(
        principal.user_id, request.code, fingerprint=fingerprint
    )
    return StepUpView(token=issued.token, expires_at=issued.expires_at)


@router.post(
    "/recovery-codes",
    status_code=201,
    responses=problem_responses(*SESSION_PROBLEMS, *SECOND_FACTOR_PROBLEMS, ValidationError),
)
async def renew_recovery_codes(
    principal: SessionPrincipal, second_factor: SecondFactor, state: State
) -> RecoveryCodesView:
    """Replace the recovery codes."""
    await second_factor.require()
    codes = await state.identity.second_factors.renew_recovery_codes(principal.user_id)
    return RecoveryCodesView(recovery_codes=codes)


@router.delete(
    "",
    status_code=204,
    responses=problem_responses(*SESSION_PROBLEMS, *SECOND_FACTOR_PROBLEMS, ValidationError),
)
async def disable_two_factor(
    principal: SessionPrincipal,
    second_factor: SecondFactor,
    state: State,
    recovery_code: Annotated[
        str | None,
        Header(
            alias="Recovery-Code",
            pattern=RECOVERY_CODE_PATTERN,
            description="Instead of a one-time code, when the authenticator is lost.",
        ),
    ] = None,
) -> None:
    """Switch the second factor off: with a one-time code, a step-up token or a recovery code."""
    if recovery_code is not None:
        await state.identity.second_factors.spend_recovery_code(principal.user_id, recovery_code)
    else:
        await second_factor.require()
    await state.identity.second_factors.disable(principal.user_id)
