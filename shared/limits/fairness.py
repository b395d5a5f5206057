"""The weights and concurrencies of the config file, as the scripts read them."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tandem.shared.config.file import Config
from tandem.shared.tasks.spec import AnySpec

WEIGHT, TASK = "weight:", "task:"


@dataclass(frozen=True)
class Fairness:
    """Numbers by name: a weight as `weight:<tenant>`, how many may run at once as `<queue>:<tenant>`, `task:<task>`."""

    rows: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, config: Config, specs: Iterable[AnySpec] = ()) -> "Fairness":
        """Take what the file says of tenants and tasks, and what tasks declare of themselves."""
        tasks = {spec.name: spec.concurrency for spec in specs}
        tasks |= {name: part.concurrency for name, part in config.tasks.items() if part.concurrency}
        return cls((*_rows(config), *((TASK + name, most) for name, most in tasks.items() if most is not None)))

    @property
    def digest(self) -> str:
        """What tells this from others."""
        return hashlib.sha256(repr(sorted(self.rows)).encode()).hexdigest()[:16]


def _rows(config: Config) -> Iterator[tuple[str, float]]:
    for name, tenant in config.tenants.items():
        if tenant.weight != 1:
            yield WEIGHT + name, tenant.weight
        for queue, most in tenant.concurrency:
            if most is not None:
                yield f"{queue}:{name}", most
