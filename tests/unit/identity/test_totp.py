from datetime import UTC, datetime

import pytest

from identity.totp import matching_steps, step_at

RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""The ASCII string 12345678901234567890 of RFC 6238, appendix B, in base32."""


class TestMatchingSteps:
    @pytest.mark.parametrize(
        ("second", "code"),
        [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ],
    )
    def test_agrees_with_the_vectors_of_the_rfc(self, second: int, code: str) -> None:
        now = datetime.fromtimestamp(second, UTC)

        assert matching_steps(RFC_SECRET, code, now=now) == [second // 30]

    @pytest.mark.parametrize("code", ["", "28708", "2870822", "\uff1287082", "abcdef"])
    def test_finds_nothing_for_what_is_no_code(self, code: str) -> None:
        assert matching_steps(RFC_SECRET, code, now=datetime.fromtimestamp(59, UTC)) == []


class TestStepAt:
    def test_changes_every_thirty_seconds(self) -> None:
        assert [step_at(datetime.fromtimestamp(s, UTC)) for s in (0, 29, 30, 59, 60)] == [
            0, 0, 1, 1, 2,
        ]  # fmt: skip
