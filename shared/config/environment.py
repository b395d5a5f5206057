"""What is set in the environment and in `.env`, as people and their tools write it, and names that are misspelt."""

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from dotenv import dotenv_values

from tandem.shared.types.spelling import is_misspelt, nearest

DOTENV = ".env"
ENCODING = "utf-8-sig"  # some editors begin a file with a byte order mark, which is no part of the first name
PREFIX = "TANDEM_"
QUOTES = ('"', "'")


def clean(value: str) -> str:
    """Take off blanks, a carriage return and the quotes that some tools hand on; what is left may be empty."""
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES
    return value[1:-1].strip() if quoted else value


def cleaned(values: Mapping[str, str | None]) -> dict[str, str | None]:
    """Clean all values; those that are blank are left out, as unset."""
    return {name: text for name, value in values.items() if (text := clean(value or ""))}


def dotenv() -> dict[str, str | None]:
    """Read `.env` in the working directory, if it is there. Raises ValueError if it can't be read."""
    try:
        return dotenv_values(DOTENV, encoding=ENCODING) if Path(DOTENV).is_file() else {}
    except OSError as error:
        raise ValueError(f"{DOTENV}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{DOTENV}: must be text in UTF-8") from None


def environment(name: str) -> str | None:
    """Look a variable up as the settings do: in the environment, else in `.env`."""
    return clean(os.environ.get(name, "")) or clean(dotenv().get(name) or "") or None


def check_names(known: Collection[str]) -> None:
    """Let no misspelt name pass as a default without a word. Its value is not shown: it may be a key.

    Raises:
        ValueError: a name with our prefix is close to one of ours. Others are only warned of.

    """
    given = {name.upper() for name in (*os.environ, *dotenv())}
    words = {name.removeprefix(PREFIX): name for name in known}
    for name in sorted(given - set(known)):
        if not name.startswith(PREFIX):
            _warn_if_close(name, set(known) - given)
        elif close := nearest(name.removeprefix(PREFIX), words):
            raise ValueError(f"{name}: no such setting; did you mean {words[close]}?")
        else:
            sys.stderr.write(f"{name} is not a setting of this version and is ignored\n")


def _warn_if_close(name: str, unset: Collection[str]) -> None:
    """The name may be somebody else's: no reason to refuse it, and none to ask where ours is set as well."""
    for meant in sorted(unset):
        if is_misspelt(name, meant):
            sys.stderr.write(f"{name} is no setting and is ignored; did you mean {meant}?\n")
            return
