"""The key-space check of concurrencies: what counts as running runs, and who stands aside comes back."""

from collections.abc import Iterator
from typing import Any

ASIDE = 2**49  # tags beyond that are of tenants that stand aside


def compare(key: str, named: set[str], true: set[str]) -> Iterator[str]:
    yield from (f"{key}: names {id_}, which should not be there" for id_ in sorted(named - true))
    yield from (f"{key}: does not name {id_}" for id_ in sorted(true - named))


def problems(space: Any) -> Iterator[str]:
    """What a limit counts runs; who stands aside is named by the limit for which it does."""
    counted = [(name, id_) for id_, job in space.records.items() for name in job.get("counted", "").split("\n") if name]
    for name in sorted({name for name, _ in counted} | {_after(key, 2) for key in space.named("tandem:running:")}):
        own = {id_ for limit, id_ in counted if limit == name}
        yield from compare(f"tandem:running:{name}", set(space.scores(f"tandem:running:{name}")), own)
    yield from (f"{id_}: is counted and does not run" for _, id_ in counted if space.status(id_) != "running")
    waiting = {_after(key, 2): space.members(key) for key in space.named("tandem:aside:")}
    yield from compare("tandem:aside", set(space.scores("tandem:aside")), set(waiting))
    named = {who for members in waiting.values() for who in members if not who.startswith(("\n", "task:"))}
    aside = {
        f"{tenant}\n{_after(key, 3)}"
        for key in space.named("tandem:lane:tenants:")
        for tenant, tag in space.scores(key).items()
        if tag >= ASIDE
    }
    yield from compare("tandem:aside:", named, aside)


def _after(key: str, colons: int) -> str:
    return key.split(":", colons)[colons]


def lanes_of_tasks(space: Any) -> Iterator[str]:
    """Those that a claim looks at beside another lane, or when one of their task's jobs has ended."""
    for shown in space.scores("tandem:lane:tasks"):
        lane, _, task = shown.partition("\n")
        yield f"~task {task} {lane}"
    for key in space.named("tandem:aside:task:"):
        for who in space.members(key):
            _, _, lane = who.partition("\n")
            yield f"~task {_after(key, 3)} {lane}"
