"""The task catalogue: every `TaskSpec` declared in a module of `catalog/`."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules

from tandem.shared.tasks import catalog
from tandem.shared.tasks.spec import AnySpec, Queue, TaskSpec

# Paths of the API that a task's endpoint must not shadow.
RESERVED = frozenset({"jobs", "parks", "tasks", "queues"})


class Catalog:
    """Specs by name.

    Raises:
        ValueError: two specs share a name, or a name is reserved by the API.

    """

    def __init__(self, specs: Iterable[AnySpec]) -> None:
        self._specs: dict[str, AnySpec] = {}
        for spec in specs:
            if spec.name in self._specs or spec.name in RESERVED:
                raise ValueError(f"task name {spec.name!r} is declared twice or reserved")
            self._specs[spec.name] = spec

    def __iter__(self) -> Iterator[AnySpec]:
        return iter(self._specs.values())

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __getitem__(self, name: str) -> AnySpec:
        return self._specs[name]

    def of(self, queue: Queue) -> list[AnySpec]:
        return [spec for spec in self if spec.queue is queue]


def load() -> Catalog:
    """Import each module of `catalog/` and collect its specs in the order they are written."""
    modules = [import_module(f"{catalog.__name__}.{info.name}") for info in iter_modules(catalog.__path__)]
    return Catalog(value for module in modules for value in vars(module).values() if isinstance(value, TaskSpec))
