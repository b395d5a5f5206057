"""What a config file says of tenants, given to Redis as a process does that begins now."""

from typing import Any

from tandem.shared.config.file import Config
from tandem.shared.limits.fairness import Fairness
from tandem.shared.store.limits.fairness import Row, set_fairness
from tandem.shared.store.scripts import Call


def told(tenants: dict[str, Any], tasks: dict[str, Any] | None = None) -> Call[Any]:
    """Give the call that says so of tenants and tasks, and nothing of others."""
    said = Fairness.of(Config.model_validate({"tenants": tenants, "tasks": tasks or {}}))
    return set_fairness(digest=said.digest, process_began=None, rows=[Row(*row) for row in said.rows])


def told_of_tasks(**concurrency: int) -> Call[Any]:
    """Limit how many jobs of these tasks may run at once."""
    return told({}, {task: {"concurrency": count} for task, count in concurrency.items()})


def most(**llm: int) -> Call[Any]:
    """Limit how many jobs of these tenants may run at once in the LLM pool."""
    return told({owner: {"concurrency": {"llm": count}} for owner, count in llm.items()})


def most_sync(**sync: int) -> Call[Any]:
    """The same in the sync pool."""
    return told({owner: {"concurrency": {"sync": count}} for owner, count in sync.items()})


def weights(**weight: float) -> Call[Any]:
    return told({owner: {"weight": number} for owner, number in weight.items()})
