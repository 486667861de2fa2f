from typing import Any

import pytest
from fastapi import FastAPI


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


class TestOpenApi:
    def test_names_operations_after_their_function(self, document: dict[str, Any]) -> None:
        names = [operation["operationId"] for operation in operations(document)]

        assert len(names) == len(set(names))
        assert {"log_in", "set_roles", "step_up"} <= set(names)

    def test_describes_every_tag_that_is_used(self, document: dict[str, Any]) -> None:
        used = {tag for operation in operations(document) for tag in operation["tags"]}

        assert used == {tag["name"] for tag in document["tags"]}

    def test_documents_errors_as_problems_only(self, document: dict[str, Any]) -> None:
        for operation in operations(document):
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]
        assert "Problem" in document["components"]["schemas"]
        assert "HTTPValidationError" not in document["components"]["schemas"]

    def test_never_offers_null_for_a_parameter(self, document: dict[str, Any]) -> None:
        parameters = [
            parameter
            for operation in operations(document)
            for parameter in operation.get("parameters", [])
        ]

        assert {"TOTP-Code", "cursor"} <= {parameter["name"] for parameter in parameters}
        assert all("anyOf" not in parameter["schema"] for parameter in parameters)

    def test_resolves_every_reference(self, document: dict[str, Any]) -> None:
        schemas = set(document["components"]["schemas"])

        def references(node: object) -> set[str]:
            if isinstance(node, dict):
                own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
                return own.union(*map(references, node.values()))
            if isinstance(node, list):
                return set().union(*map(references, node))
            return set()

        assert {ref.rpartition("/")[2] for ref in references(document)} <= schemas

    def test_refuses_unknown_fields_in_every_request(self, document: dict[str, Any]) -> None:
        contents = [
            operation["requestBody"]["content"]
            for operation in operations(document)
            if "requestBody" in operation
        ]
        bodies = [c["application/json"]["schema"]["$ref"] for c in contents if "text/csv" not in c]

        assert bodies
        for reference in bodies:
            schema = document["components"]["schemas"][reference.rpartition("/")[2]]
            assert schema["additionalProperties"] is False
