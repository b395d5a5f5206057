"""What the data of our own templates may hold; a wrong field is named, with its place."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tandem.shared.errors import FinalError


class TemplateError(FinalError):
    """A template is wrong, or what it was given is."""

    type = "template_error"


class TemplateData(BaseModel):
    """Base of the shapes: unknown fields are refused, so that a misspelt one does not vanish."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Check a template's data.

        Raises:
            TemplateError: names every wrong or missing field.

        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            problems = "; ".join(f"{_place(item['loc'])}: {_message(item)}" for item in error.errors())
            raise TemplateError(f"{cls.__name__.lower()} data: {problems}") from None


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "data"


def _message(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "there is no such field"
    text = str(item["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
