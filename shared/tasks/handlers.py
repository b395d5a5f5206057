"""Binding of handlers to specs, checked when a worker starts."""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar, cast

from tandem.shared.tasks.registry import Catalog
from tandem.shared.tasks.spec import AnySpec, Queue

F = TypeVar("F", bound=Callable[..., object])
G = TypeVar("G", bound=Callable[..., object])


class BindingError(Exception):
    """A spec without a handler, a handler without a spec, or two handlers for one spec."""


class Handlers(Generic[F]):
    """The handlers of one pool, by task name."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._handlers: dict[str, F] = {}
        self._specs: dict[str, AnySpec] = {}

    def handles(self, spec: AnySpec) -> Callable[[G], G]:
        """Bind the decorated function to `spec`.

        Raises:
            BindingError: `spec` has a handler already or belongs to another pool.

        """

        def bind(function: G) -> G:
            if spec.queue is not self._queue:
                raise BindingError(f"task {spec.name!r} belongs to the {spec.queue} pool, not to {self._queue}")
            if spec.name in self._handlers:
                raise BindingError(f"task {spec.name!r} has two handlers")
            self._handlers[spec.name] = cast("F", function)  # G keeps the handler's own, narrower type
            self._specs[spec.name] = spec
            return function

        return bind

    def __getitem__(self, task: str) -> F:
        return self._handlers[task]

    def load(self, package: str, catalog: Catalog) -> None:
        """Import every module of `package` and check that specs and handlers match one to one.

        Raises:
            BindingError: they don't.

        """
        for info in iter_modules(import_module(package).__path__):
            import_module(f"{package}.{info.name}")
        wanted = {spec.name for spec in catalog.of(self._queue)}
        if missing := wanted - self._handlers.keys():
            raise BindingError(f"no handler in {package} for: {', '.join(sorted(missing))}")
        if extra := self._handlers.keys() - wanted:
            raise BindingError(f"no spec in the {self._queue} catalogue for: {', '.join(sorted(extra))}")
