"""Read as `tandem.shared.tasks.catalog.bench_tasks` by a process that `bench.jobs.extended` started."""

from bench.jobs.tasks.specs import LLM_NOOP, SYNC_HURT, SYNC_NOOP

__all__ = ["LLM_NOOP", "SYNC_HURT", "SYNC_NOOP"]
