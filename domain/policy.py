"""
Approval policy: how many approvers a payout needs, and the limits it counts against. Pure.

A policy is a versioned document. Rules are read from the top; the first whose asset and ceiling
fit the payout decides. An amount that no rule covers needs ``fallback_approvals``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from domain.errors import InvalidPolicyError

ANY_ASSET = "*"
APPROVALS_MAX = 20


class ApprovalMode(StrEnum):
    """The seed's three ways to approve."""

    AUTOMATIC = "automatic"
    """No person is asked."""
    SEMI_AUTOMATIC = "semi_automatic"
    """One approver."""
    MANUAL = "manual"
    """Two approvers or more (m of n)."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ApprovalRule(_Document):
    """How many approvals a payout of this asset needs, up to this amount."""

    asset: str = Field(examples=["ETH"], description="Asset code, or * for every asset.")
    up_to_minor: str | None = Field(
        default=None,
        pattern=r"^[0-9]{1,78}$",
        description="Largest amount this rule covers, in minor units; null covers any.",
    )
    approvals: int = Field(ge=0, le=APPROVALS_MAX, description="Distinct approvers required.")
    approvers: tuple[str, ...] = Field(
        default=(), description="User ids who may approve (the n of m-of-n); empty: every approver."
    )

    @model_validator(mode="after")
    def _enough_approvers(self) -> "ApprovalRule":
        if self.approvers and len(set(self.approvers)) < self.approvals:
            msg = "A rule names fewer approvers than the approvals it requires."
            raise ValueError(msg)
        return self

    def covers(self, *, asset: str, amount_minor: int) -> bool:
        """Tell whether this rule decides a payout of this amount."""
        fits = self.up_to_minor is None or amount_minor <= int(self.up_to_minor)
        return fits and self.asset in (ANY_ASSET, asset)


class PayoutLimit(_Document):
    """A cap on what one user may pay out in a window of fixed length."""

    asset: str = Field(examples=["ETH"])
    window_s: int = Field(ge=60, le=31 * 86_400, examples=[86_400])
    amount_minor: str | None = Field(default=None, pattern=r"^[0-9]{1,78}$")
    count: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _limits_something(self) -> "PayoutLimit":
        if self.asset == ANY_ASSET:
            msg = "A limit counts one asset: amounts of different assets do not add up."
            raise ValueError(msg)
        if self.amount_minor is None and self.count is None:
            msg = "A limit needs amount_minor or count."
            raise ValueError(msg)
        return self


class PolicyDocument(_Document):
    """The whole policy, as stored with its version."""

    rules: tuple[ApprovalRule, ...] = Field(max_length=200)
    fallback_approvals: int = Field(default=2, ge=1, le=APPROVALS_MAX)
    approval_expires_s: int = Field(default=86_400, ge=60, le=30 * 86_400)
    limits: tuple[PayoutLimit, ...] = Field(default=(), max_length=200)

    @field_validator("rules")
    @classmethod
    def _reachable(cls, rules: tuple[ApprovalRule, ...]) -> tuple[ApprovalRule, ...]:
        widest: dict[str, int | None] = {}
        for rule in rules:
            for asset in {rule.asset, ANY_ASSET}:
                limit = widest.get(asset, 0)
                if limit is None or (rule.up_to_minor and int(rule.up_to_minor) <= limit):
                    msg = f"The rule for {rule.asset} up to {rule.up_to_minor} is never reached."
                    raise ValueError(msg)
            widest[rule.asset] = int(rule.up_to_minor) if rule.up_to_minor else None
        return rules

    @field_validator("limits")
    @classmethod
    def _counted_once(cls, limits: tuple[PayoutLimit, ...]) -> tuple[PayoutLimit, ...]:
        if len({(limit.asset, limit.window_s) for limit in limits}) < len(limits):
            msg = "Two limits of an asset have the same window; write them as one."
            raise ValueError(msg)
        return limits


@dataclass(frozen=True, slots=True)
class ApprovalRequirement:
    """What one payout needs before it may be signed."""

    approvals: int
    approvers: tuple[str, ...]
    expires_after: timedelta

    @property
    def mode(self) -> ApprovalMode:
        """Name the requirement as the seed does."""
        if self.approvals == 0:
            return ApprovalMode.AUTOMATIC
        return ApprovalMode.SEMI_AUTOMATIC if self.approvals == 1 else ApprovalMode.MANUAL


@dataclass(frozen=True, slots=True)
class LimitReservation:
    """One counter to raise together with the hold, and the caps it must stay within."""

    name: str
    window_start: datetime
    amount_minor: int
    amount_cap_minor: int | None
    count_cap: int | None
    times: int = 1
    """How many payouts it counts as."""


def requirement(document: PolicyDocument, *, asset: str, amount_minor: int) -> ApprovalRequirement:
    """Return what a payout of this amount needs under this policy."""
    expires_after = timedelta(seconds=document.approval_expires_s)
    for rule in document.rules:
        if rule.covers(asset=asset, amount_minor=amount_minor):
            return ApprovalRequirement(rule.approvals, rule.approvers, expires_after)
    return ApprovalRequirement(document.fallback_approvals, (), expires_after)


def is_satisfied(needed: ApprovalRequirement, *, requester: str, approvers: Iterable[str]) -> bool:
    """Tell whether these approvals, without the requester's own, are enough (four eyes)."""
    counted = {a for a in approvers if a != requester}
    if needed.approvers:
        counted &= set(needed.approvers)
    return len(counted) >= needed.approvals


def limit_reservations(
    document: PolicyDocument, *, asset: str, amount_minor: int, at: datetime, times: int = 1
) -> tuple[LimitReservation, ...]:
    """Return the counters that payouts of this total raise, with the window that holds ``at``."""
    return tuple(
        LimitReservation(
            name=f"payout:{limit.asset}:{limit.window_s}s",
            window_start=_window_start(at, limit.window_s),
            amount_minor=amount_minor,
            amount_cap_minor=int(limit.amount_minor) if limit.amount_minor else None,
            count_cap=limit.count,
            times=times,
        )
        for limit in document.limits
        if limit.asset == asset
    )


def _window_start(at: datetime, window_s: int) -> datetime:
    elapsed_s = int(at.timestamp()) % window_s
    return at.replace(microsecond=0) - timedelta(seconds=elapsed_s)


def parse_policy(raw: object) -> PolicyDocument:
    """
    Return the policy that this JSON value describes.

    Raises:
        InvalidPolicyError: Malformed, or a rule can never be reached.
    """
    try:
        return PolicyDocument.model_validate(raw)
    except ValueError as error:
        raise InvalidPolicyError(str(error)) from error
