"""The sent-marker: who a job's mail was accepted for, kept in Redis so that no later attempt sends it again."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import Call
from tandem.shared.store.signature import ms

SENT = Key.SENT


def mark(job_id: str, accepted: Sequence[str], *, ttl: timedelta) -> Call[bool]:
    """Note all addresses that the server has taken the mail for so far."""
    return Call("SET", [SENT + job_id, json.dumps(accepted), "PX", ms(ttl)], bool, command=True)


def find(job_id: str) -> Call[list[str]]:
    """Read who has got the mail, in this attempt or an earlier one."""
    return Call("GET", [SENT + job_id], _addresses, command=True)


def _addresses(answer: Any) -> list[str]:
    return [str(address) for address in json.loads(answer)] if answer else []
