"""What is shown of errors: fields, kinds and frames; never what an input holds."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, EmailStr, Field, HttpUrl, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from tandem.shared.jobs.errors import explain, trace
from tandem.shared.tasks.spec import Input

SECRET = "canary"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]


class Everything(Input):
    number: int = 1
    letter: str = Field(default="a", max_length=3, pattern="^[a-z]+$")
    colour: Literal["red", "green"] = "red"
    by_name: dict[str, int] = {}
    address: EmailStr = "ann@example.com"
    page: HttpUrl | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    either: int | list[int] = 1
    renamed: int = Field(default=1, alias="newName")
    checked: str = ""
    custom: str = ""

    @field_validator("checked")
    @classmethod
    def _check(cls, text: str) -> str:
        if text:
            raise ValueError(f"not {text}")
        return text

    @field_validator("custom")
    @classmethod
    def _check_it_too(cls, text: str) -> str:
        if text:
            raise PydanticCustomError("odd", "not {it}", {"it": text})
        return text


def explained(value: Mapping[str, Any] | str) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(ValidationError) as raised:
        Everything.model_validate_json(text)
    return explain(raised.value, Everything)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"number": SECRET}, "number: Input should be a valid integer, unable to parse string as an integer"),
        ({"letter": SECRET}, "letter: String should have at most 3 characters"),
        ({"letter": "Ca"}, "letter: String should match pattern '^[a-z]+$'"),
        ({"colour": SECRET}, "colour: Input should be 'red' or 'green'"),
        ({"shade": SECRET}, "shade: Extra inputs are not permitted"),
        ({f"{SECRET} of Ann": 1}, "*: Extra inputs are not permitted"),
        ({"by_name": {SECRET: 1.5}}, "by_name.*: Input should be a valid integer, got a number with a fractional part"),
        ({"address": SECRET}, "address: it is not valid (value_error)"),
        ({"address": f"{SECRET}@{SECRET}"}, "address: it is not valid"),
        ({"page": SECRET}, "page: it is not valid (url_parsing)"),
        ({"pet": {"kind": SECRET}}, "pet: it is not valid (union_tag_invalid)"),
        ({"pet": {"kind": "cat", "lives": SECRET}}, "pet.*.lives: Input should be a valid integer, unable to parse"),
        ({"newName": SECRET}, "newName: Input should be a valid integer"),
        ({"checked": SECRET}, "checked: it is not valid (value_error)"),
        ({"custom": SECRET}, "custom: it is not valid"),
        (f'{{"number": {SECRET}', "the input: it is not valid (json_invalid)"),
        (f'["{SECRET}"]', "the input: Input should be an object"),
    ],
)
def test_a_fault_is_shown_by_field_and_kind(value: Mapping[str, Any] | str, shown: str) -> None:
    text = explained(value)
    assert text.startswith(shown)
    assert SECRET not in text


def test_all_faults_are_shown() -> None:
    assert explained({"number": [], "either": [1, SECRET]}).count("; ") >= 1


def fail(text: str) -> None:
    raise KeyError(text)


def test_a_trace_has_frames_and_types_of_all_that_led_to_an_error() -> None:
    try:
        try:
            fail(SECRET)
        except KeyError as error:
            raise ExceptionGroup(SECRET, [ValueError(SECRET)]) from error
    except ExceptionGroup as group:
        text = trace(group)
    assert "raise KeyError(text)" in text
    assert "in fail" in text
    assert [line for line in text.splitlines() if not line.startswith(" ")] == [
        "ExceptionGroup",
        "ValueError",
        "KeyError",
    ]
    assert SECRET not in text


def test_a_circle_of_errors_has_an_end() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert trace(one) == "ValueError\nKeyError"
