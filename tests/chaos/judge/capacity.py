"""When no process of a kind could do anything: all were dead or stopped, or at long jobs."""

from collections import defaultdict

from tests.chaos.judge.evidence import LOSING, Facts
from tests.chaos.judge.spans import Spans, all_at_once

STARTS = 2.0  # seconds in which a successor is ready, where the chronicle does not say when
LONGEST = 12.0  # seconds of a journal run whose end is not known
FULL = 0.8  # of the places of a worker: jobs between two requests, or at a limit, hold the others
PARTS = {"sync worker": {"sync worker", "sync supervisor"}}  # who takes the worker with it
Busy = dict[str, list[tuple[float, float]]]  # by slot


def all_down(facts: Facts, role: str) -> Spans:
    """Give the times in which all processes of a role were dead or stopped."""
    return _everybody(facts, role, _down(facts, role))


def llm_busy(facts: Facts) -> Spans:
    """Give the times in which no LLM worker was free: dead, stopped, or with requests open for 4 of 5 places."""
    busy = _down(facts, "llm worker")
    edges: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for request in facts.requests:
        edges[request.asker] += [(request.came, 1), (request.ended or request.came + LONGEST, -1)]
    for asker, steps in edges.items():
        open_now, since = 0, 0.0
        for at, step in sorted(steps):
            if open_now >= FULL * facts.places:
                busy[slot(asker)].append((since, at))
            open_now, since = open_now + step, at
    return _everybody(facts, "llm worker", busy)


def sync_busy(facts: Facts) -> Spans:
    """Give the times in which all sync workers were dead, stopped, or at a journal task, which may take long."""
    busy = _down(facts, "sync worker")
    hits = defaultdict[str, list[float]](list)
    for deed in facts.deeds:
        if deed.kind in LOSING:
            hits[deed.target].append(deed.began)
    for run in [*(run for case in facts.cases for run in case.runs), *facts.scheduled]:
        ended = run.ended or min((at for at in hits[run.worker] if at >= run.began), default=run.began + LONGEST)
        busy[slot(run.worker)].append((run.began, ended))
    return _everybody(facts, "sync worker", busy)


def _down(facts: Facts, role: str) -> Busy:
    found: Busy = defaultdict(list)
    for deed in facts.deeds:
        if deed.kind in LOSING and deed.role in PARTS.get(role, {role}) and deed.target:
            found[slot(deed.target)].append((deed.began, deed.ended or deed.began + STARTS))
    return found


def _everybody(facts: Facts, role: str, busy: Busy) -> Spans:
    if len(busy) < facts.slots.get(role, 1):
        return Spans()
    return all_at_once(Spans(spans) for spans in busy.values())


def slot(target: str) -> str:
    """Give the slot of an incarnation: `llm-worker-2` of `llm-worker-2-0014`."""
    return target.rpartition("-")[0]
