"""How errors look: RFC 9457, with a stable code and the offending fields."""

from pydantic import Field

from api.schemas.base import Answer


class FieldProblem(Answer):
    """What is wrong with one field. The value itself is never repeated."""

    field: str = Field(examples=["email"])
    message: str = Field(examples=["Not a valid email address."])


class LineProblem(Answer):
    """What is wrong with one line of an upload. Its content is never repeated."""

    line: int = Field(description="The file's first line is 1.")
    code: str = Field(examples=["invalid_amount"])
    detail: str


class Problem(Answer):
    """Why a request was not done."""

    type: str = Field(description="Where the code is explained; stable.")
    title: str = Field(description="Short name of the problem; the same for every occurrence.")
    status: int = Field(description="The HTTP status again.")
    detail: str = Field(description="What happened this time.")
    instance: str = Field(description="Path of the request.")
    code: str = Field(description="Stable, machine-readable.")
    errors: list[FieldProblem] = Field(default=[], description="Offending fields, if any.")
    lines: list[LineProblem] | None = Field(
        default=None, description="The first faulty lines, where an upload cannot be read."
    )
    lines_total: int | None = Field(
        default=None, description="How many lines are faulty; comes with `lines`."
    )
