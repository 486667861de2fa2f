import pytest

from domain.errors import ValidationError
from identity.emails import normalize_email


class TestNormalizeEmail:
    @pytest.mark.parametrize(
        ("text", "normal"),
        [("Ada@Example.ORG", "ada@example.org"), ("a+b.c@x-y.example.io", "a+b.c@x-y.example.io")],
    )
    def test_lower_cases(self, text: str, normal: str) -> None:
        assert normalize_email(text) == normal

    @pytest.mark.parametrize(
        "text",
        [
            "", "ada", "@example.org", "ada@", "ada@example", "a b@example.org", "ada@exa mple.org",
            "ada@example.org\n", "ada\x00@example.org", "ada@\u212a.example", "a@@example.org",
            "a" * 65 + "@example.org", "a@" + "b." * 130 + "org",
        ],
    )  # fmt: skip
    def test_refuses_what_is_no_address(self, text: str) -> None:
        with pytest.raises(ValidationError) as refusal:
            normalize_email(text)

        assert refusal.value.errors[0]["field"] == "email"
