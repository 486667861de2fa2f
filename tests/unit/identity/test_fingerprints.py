import hashlib

import pytest

from domain.errors import ValidationError
from identity.fingerprints import canonical_json, operation_fingerprint


class TestCanonicalJson:
    def test_sorts_keys_drops_spaces_and_writes_utf8(self) -> None:
        assert (
            canonical_json({"b": [1, None, True], "a": "é"})
            == b'{"a":"\xc3\xa9","b":[1,null,true]}'
        )

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"\udfff": 1}])
    def test_refuses_what_is_not_json(self, value: object) -> None:
        with pytest.raises(ValidationError):
            canonical_json(value)

    def test_refuses_bottomless_nesting(self) -> None:
        value: list[object] = []
        for _ in range(100_000):
            value = [value]

        with pytest.raises(ValidationError):
            canonical_json(value)


class TestOperationFingerprint:
    def test_is_the_digest_that_clients_can_compute(self) -> None:
        spelled = b'["POST","/v1/payouts","k1",{"amount":"5"}]'

        assert (
            operation_fingerprint("post", "/v1/payouts", {"amount": "5"}, idempotency_key="k1")
            == hashlib.sha256(spelled).hexdigest()
        )

    def test_does_not_depend_on_the_order_of_keys(self) -> None:
        assert operation_fingerprint("POST", "/x", {"a": 1, "b": 2}) == operation_fingerprint(
            "POST", "/x", {"b": 2, "a": 1}
        )

    @pytest.mark.parametrize(
        ("method", "path", "body", "key"),
        [
            ("PUT", "/x", {"a": 1}, None),
            ("POST", "/y", {"a": 1}, None),
            ("POST", "/x", {"a": 2}, None),
            ("POST", "/x", {"a": "1"}, None),
            ("POST", "/x", None, None),
            ("POST", "/x", {"a": 1}, "k"),
        ],
    )
    def test_differs_when_anything_of_the_operation_differs(
        self, method: str, path: str, body: object, key: str | None
    ) -> None:
        one = operation_fingerprint("POST", "/x", {"a": 1})

        assert operation_fingerprint(method, path, body, idempotency_key=key) != one
