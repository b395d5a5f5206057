"""A long list is encoded in slices, to the same JSON."""

from typing import Annotated, Any

import pytest
from pydantic import Field, PlainSerializer, computed_field
from pydantic_core import PydanticSerializationError

from tandem.shared.errors import FinalError
from tandem.shared.jobs.attempt import check_output
from tandem.shared.jobs.encoding import LONG, encode
from tandem.shared.tasks.catalog.llm import EMBED, EmbedOutput
from tandem.shared.tasks.spec import Output


def dump(output: Any) -> str:
    text: str = output.model_dump_json(by_alias=True, warnings="error")
    return text


class Plain(Output):
    before: str = ""
    items: list[Any] = Field(alias="the items")
    more: list[int] = []
    after: Any = None


class Counting(Output):
    items: list[int]

    @computed_field
    def count(self) -> int:
        return len(self.items)


class Sorting(Output):
    items: Annotated[list[int], PlainSerializer(sorted)]


MANY = list(range(10 * LONG + 1, 0, -1))


@pytest.mark.parametrize(
    ("output", "times"),
    [
        (Plain(items=MANY[:LONG]), 1),
        (Plain(items=MANY[: LONG + 1]), 66),
        (Plain(items=MANY, before="ü", after={"x": [1, "]"]}), 118),
        (Plain(items=[[], {"the items": []}, "é", None] * LONG, before='"the items":[]'), 129),
        (Plain(items=MANY, after={"the items": []}), 2),
        (Plain(items=MANY, more=MANY * 10), 2),
        (Counting(items=MANY), 1),
        (Sorting(items=MANY), 1),
    ],
)
def test_slices_are_the_same_json(output: Output, times: int) -> None:
    encoded: list[object] = []

    def encode_one(part: Any) -> str:
        encoded.append(part)
        return dump(part)

    assert encode(output, encode_one) == dump(output)
    assert len(encoded) == times


def test_what_is_wrong_in_any_slice_is_refused() -> None:
    vectors = [[0.5]] * (2 * LONG)
    no_numbers: list[Any] = [float("nan"), "x"]
    for wrong in no_numbers:
        output = EmbedOutput.model_construct(embeddings=[*vectors, [wrong]], dimensions=1)
        with pytest.raises(FinalError):
            check_output(EMBED, output)
    with pytest.raises(PydanticSerializationError):
        encode(output, dump)
