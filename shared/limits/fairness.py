"""The weights and concurrencies of the config file, as the scripts read them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from tandem.shared.config.file import Config

WEIGHT = "weight:"


@dataclass(frozen=True)
class Fairness:
    """Numbers by name: a weight as `weight:<tenant>`, how many jobs may run at once as `<queue>:<tenant>`."""

    rows: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, config: Config) -> "Fairness":
        """Take what the file says of tenants."""
        return cls(tuple(_rows(config)))

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
