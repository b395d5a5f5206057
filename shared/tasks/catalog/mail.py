"""Mail."""

from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from tandem.shared.tasks.spec import Input, Output, Queue, RetryPolicy, TaskSpec
from tandem.shared.types.mail_address import normalized

WITHOUT_NUL = r"^[^\x00]*$"
Email = Annotated[str, AfterValidator(normalized), WithJsonSchema({"type": "string", "format": "email"})]
Addresses = Annotated[list[Email], Field(max_length=500)]


class EmailInput(Input):
    to: list[Email] = Field(
        min_length=1, max_length=500, description="Addresses; the name in `Ada <ada@example.com>` is dropped."
    )
    cc: Addresses = Field(default=[], description="Who gets a copy, for all to see.")
    bcc: Addresses = Field(default=[], description="Who gets a copy that the others do not see.")
    subject: str = Field(min_length=1, max_length=500, pattern=r"^[^\r\n\x00]*$", description="One line.")
    text: str | None = Field(default=None, pattern=WITHOUT_NUL, description="The mail as plain text.")
    html: str | None = Field(default=None, pattern=WITHOUT_NUL, description="The mail as HTML, beside `text` or alone.")
    template: str | None = Field(default=None, description="Name of a mail template, rendered with `context`.")
    context: dict[str, Any] = Field(default={}, description="What the template shows.")
    attachments: list[str] = Field(default=[], max_length=20, description="Ids of jobs whose files to attach.")

    @model_validator(mode="after")
    def _body(self) -> Self:
        if self.template is None and self.text is None and self.html is None:
            raise ValueError("give text, html or template")
        if self.template is not None and (self.text is not None or self.html is not None):
            raise ValueError("give either a template or text and html, not both")
        if self.context and self.template is None:
            raise ValueError("context needs a template")
        return self


class EmailOutput(Output):
    message_id: str = Field(description="Derived from the job's id, so a receiver can drop a repeat.")
    accepted: list[str] = Field(description="Addresses that the server has taken the mail for.")
    rejected: dict[str, str] = Field(description="Address to the server's reason.")


EMAIL = TaskSpec(
    name="email",
    queue=Queue.SYNC,
    summary="Send a mail, with attachments from the files of other jobs.",
    input=EmailInput,
    output=EmailOutput,
    example={
        "to": ["ada@example.com"],
        "subject": "Your report",
        "text": "Hello Ada,\n\nyour report is ready.",
    },
    timeout=timedelta(minutes=2),
    retry=RetryPolicy(max_attempts=8, base=timedelta(seconds=5), cap=timedelta(minutes=30)),
)
