"""JSON Schema from users: compiled without following remote references or backtracking in patterns."""

from typing import Any

import jsonschema_rs


def _no_remote(uri: str) -> Any:
    raise ValueError(f"remote references are not followed: {uri}")


def _compile(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        schema,
        retriever=_no_remote,
        # The linear-time engine: a hostile pattern must not stop the event loop.
        pattern_options=jsonschema_rs.RegexOptions(),
    )


def check_schema(schema: dict[str, Any]) -> None:
    """Raise ValueError if `schema` is not a usable JSON Schema."""
    try:
        _compile(schema)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise ValueError(f"not a usable JSON Schema: {str(error).splitlines()[0]}") from None


def errors(schema: dict[str, Any], value: Any) -> list[str]:
    """Say why `value` is not valid against `schema`, one line an error, empty if it is valid."""
    return [
        f"{'/'.join(map(str, error.instance_path)) or 'the value'}: {error.message}"
        for error in _compile(schema).iter_errors(value)
    ]
