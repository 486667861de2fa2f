"""Which errors a step may answer with, and which are tried again for ever."""

import pytest

from activities.failures import application_error
from domain.errors import (
    InvariantError,
    KeyUnavailableError,
    PayoutStateError,
    StrongroomError,
    TransientError,
    WrongChainError,
)


class TestApplicationError:
    @pytest.mark.parametrize("error", [PayoutStateError(), InvariantError()])
    def test_is_final_where_a_step_answers_somebody(self, error: StrongroomError) -> None:
        assert application_error(error, may_refuse=True).non_retryable

    @pytest.mark.parametrize("error", [KeyUnavailableError(), WrongChainError(), InvariantError()])
    def test_is_tried_again_where_nobody_else_would_go_on(self, error: StrongroomError) -> None:
        assert not application_error(error, may_refuse=False).non_retryable

    def test_is_tried_again_after_a_transient_error_whoever_asks(self) -> None:
        assert not application_error(TransientError(), may_refuse=True).non_retryable
