"""All that is judged when a run is over, in the order of the table."""

from collections.abc import Iterator

from tests.chaos.judge import (
    attempts,
    costs,
    ends,
    failures,
    health,
    lateness,
    limits,
    mails,
    order,
    outputs,
    pauses,
    recovery,
    results,
    rush,
    streams,
    told,
    views,
    wishes,
    work,
)
from tests.chaos.judge.evidence import Facts
from tests.chaos.row import Row


def judge(facts: Facts) -> list[Row]:
    """Judge a run: each row is one goal."""
    parts = (_lives, _attempts, _results, _wishes, _turns, _effects, _machine)
    return [row for part in parts for row in part(facts)]


def _lives(facts: Facts) -> Iterator[Row]:
    yield ends.finished(facts)
    yield ends.outcomes(facts)
    yield ends.ended_once(facts)
    yield work.requests(facts)
    yield work.runs(facts)
    yield work.grace(facts)


def _attempts(facts: Facts) -> Iterator[Row]:
    yield attempts.caused(facts)
    yield attempts.counted(facts)
    yield failures.told(facts)
    yield pauses.retried(facts)
    yield pauses.parked(facts)
    yield costs.usage(facts)


def _results(facts: Facts) -> Iterator[Row]:
    yield results.llm_results(facts)
    yield results.sync_results(facts)
    yield results.stays(facts)
    yield streams.streams(facts)
    yield told.told(facts)


def _wishes(facts: Facts) -> Iterator[Row]:
    yield wishes.one_per_key(facts)
    yield views.own(facts)
    yield wishes.delays(facts)
    yield lateness.begins(facts)
    yield wishes.expiry(facts)
    yield wishes.cancels(facts)
    yield wishes.retries(facts)
    yield ends.exhausted(facts)


def _turns(facts: Facts) -> Iterator[Row]:
    yield from order.first_in(facts)
    yield order.handed_back(facts)
    if not facts.short:  # so few jobs wait in the workers, for the limit, and not in the queue, which has priorities
        yield limits.priorities(facts)


def _effects(facts: Facts) -> Iterator[Row]:
    yield outputs.mails(facts)
    yield mails.remembered(facts)
    yield outputs.files(facts)
    yield outputs.webhooks(facts)
    yield lateness.webhooks(facts)
    yield outputs.schedules(facts)


def _machine(facts: Facts) -> Iterator[Row]:
    yield ends.poisons(facts)
    yield from recovery.recovery(facts)
    yield from rush.urgent(facts)
    yield from limits.within(facts)
    yield from limits.used(facts)
    yield from health.woken(facts)
    yield health.orderly(facts)
    yield health.kept(facts)
    yield health.done(facts)
    yield health.shared(facts)
