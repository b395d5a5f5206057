"""A submission on its way in: what was asked is checked, then stored, or found stored by an earlier request."""

import logging
from functools import partial

from tandem.api.submission.idempotency import once
from tandem.api.submission.options import options_of
from tandem.api.submission.parser import Asked
from tandem.api.submission.webhook_target import WebhookTargets
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.dispatch import Dispatcher, Receipt
from tandem.shared.jobs.model import Job
from tandem.shared.store.batching import end_of_turn
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.spec import AnySpec

log = logging.getLogger("tandem.api")


class Submitter:
    """Takes submissions."""

    def __init__(self, dispatcher: Dispatcher, book: AsyncBook, targets: WebhookTargets) -> None:
        self._dispatcher = dispatcher
        self._book = book
        self._targets = targets

    async def submit(self, spec: AnySpec, asked: Asked, *, caller: ApiKey, request_id: str) -> tuple[Job, Receipt]:
        """Give the job as it is now: new, or the one that the idempotency key has.

        Raises:
            RequestValidationError: an option is wrong.
            KeyReused, ServiceError: as the dispatcher says.

        """
        options = options_of(asked.options, spec, caller)
        if asked.options.webhook_url is not None:
            end_of_turn()()  # others shall not wait for the look-up of a name
            await self._targets.check(asked.options.webhook_url)
        enqueue = partial(
            self._dispatcher.enqueue,
            spec,
            asked.payload,
            caller=caller,
            request_id=request_id,
            options=options,
            idempotency_key=asked.headers.idempotency_key,
        )
        job, receipt = await once(enqueue, self._book)
        log.info("repeated" if receipt.replayed else "accepted", extra={"job": job.id, "task": job.task})
        return job, receipt
