"""The sent-marker: who a job's mail was accepted for, kept in Redis so that no later attempt sends it again."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import RECORDS, Call, script

SENT = Key.SENT


def mark(job_id: str, accepted: Sequence[str], *, ttl: timedelta) -> Call[bool]:
    """Note all addresses that the server has taken the mail for so far; `ttl` counts once the job has ended."""
    return _mark_sent(job_id, addresses=json.dumps(accepted), ttl=ttl)


@script("jobs/mark_sent", library=RECORDS)
def _mark_sent(job_id: str, *, addresses: str, ttl: timedelta) -> bool: ...


def find(job_id: str) -> Call[list[str]]:
    """Read who has got the mail, in this attempt or an earlier one."""
    return Call("GET", [SENT + job_id], _addresses, command=True)


def _addresses(answer: Any) -> list[str]:
    return [str(address) for address in json.loads(answer)] if answer else []
