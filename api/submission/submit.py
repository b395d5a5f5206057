"""A submission on its way in: what was asked is checked, then stored, or found stored by an earlier request."""

import logging
from typing import Annotated

from fastapi import Depends

from tandem.api.dependencies import TheBook, TheDispatcher, TheWebhookTargets
from tandem.api.submission.options import SubmitOptions, options_of
from tandem.api.submission.webhook_target import WebhookTargets
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.dispatch import Dispatcher, Receipt
from tandem.shared.errors import ServiceError
from tandem.shared.jobs.model import Job
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.spec import AnySpec, Input

log = logging.getLogger("tandem.api")

TRIES = 5  # of a key whose job goes away between the answer and the look


class Door:
    """Takes submissions."""

    def __init__(self, dispatcher: Dispatcher, book: AsyncBook, targets: WebhookTargets) -> None:
        self._dispatcher = dispatcher
        self._book = book
        self._targets = targets

    async def submit(
        self,
        spec: AnySpec,
        payload: Input,
        asked: SubmitOptions,
        *,
        caller: ApiKey,
        request_id: str,
        idempotency_key: str | None,
    ) -> tuple[Job, Receipt]:
        """Give the job as it is now: new, or the one that the idempotency key has.

        Raises:
            RequestValidationError: an option is wrong.
            KeyReused, ServiceError: as the dispatcher says.

        """
        options = options_of(asked, spec, caller)
        if asked.webhook_url is not None:
            await self._targets.check(asked.webhook_url)
        for _ in range(TRIES):
            receipt = await self._dispatcher.submit(
                spec, payload, caller=caller, request_id=request_id, options=options, idempotency_key=idempotency_key
            )
            # A job that was erased since has freed its key: the same request then makes a new one.
            if job := receipt.job or await self._book.run(commands.fetch(receipt.id)):
                log.info("repeated" if receipt.replayed else "accepted", extra={"job": job.id, "task": job.task})
                return job, receipt
        raise ServiceError("the job of this Idempotency-Key is being erased")


async def _door(dispatcher: TheDispatcher, book: TheBook, targets: TheWebhookTargets) -> Door:
    return Door(dispatcher, book, targets)


TheDoor = Annotated[Door, Depends(_door)]
