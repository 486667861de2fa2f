"""What mixers and mixes refuse."""

from domain.errors.base import (
    ConflictError,
    NotAllowedError,
    NotFoundError,
    RequestError,
)


class InvalidMixerPolicyError(RequestError):
    """The policy of a mixer contradicts itself."""

    code, http_status, title = "invalid_mixer_policy", 422, "Invalid mixer policy"


class MixerNotFoundError(NotFoundError):
    """There is no such mixer."""

    code, title = "mixer_not_found", "Mixer not found"


class NoMixerError(ConflictError):
    """No mixer takes new mixes of this asset."""

    code, title = "no_mixer", "No mixer for this asset"


class MixerStateError(ConflictError):
    """The mixer is not in a state that allows this."""

    code, title = "mixer_state", "Mixer state refuses"


class MixNotFoundError(NotFoundError):
    """There is no such mix, or it is somebody else's."""

    code, title = "mix_not_found", "Mix not found"


class MixStateError(ConflictError):
    """The mix is not in a state that allows this."""

    code, title = "mix_state", "Mix state refuses"


class MixingNotAllowedError(NotAllowedError):
    """Only users with KYC level 2 and a second factor may mix."""

    code, title = "mixing_not_allowed", "Mixing is not open to this user"


class AddressReusedError(ConflictError):
    """A withdrawal address was seen or given before; only new ones hide whose they are."""

    code, title = "address_reused", "Withdrawal address was used before"


class BelowMinimumError(RequestError):
    """The amount is below what the mixer takes."""

    code, http_status, title = "below_minimum", 422, "Below the mixer's minimum"
