import asyncio
from math import hypot

from tandem.llm_worker.generation.concurrency import gather
from tandem.llm_worker.generation.context import LlmContext, handles
from tandem.llm_worker.providers.errors import TOO_LARGE
from tandem.llm_worker.tokens import estimate
from tandem.shared.errors import FinalError, TransientError
from tandem.shared.tasks.catalog.llm import EMBED, EmbedInput, EmbedOutput

# OpenAI takes 2048 texts and 300,000 tokens a request; fewer texts keep the decoding of one answer short.
MOST_TEXTS = 512
MOST_TOKENS = 250_000
AT_ONCE = 4


@handles(EMBED)
async def embed(ctx: LlmContext, job: EmbedInput) -> EmbedOutput:
    batcher = _Batcher(ctx, job)
    parts = batches(job.texts)
    done = 0

    async def one(texts: list[str]) -> list[list[float]]:
        nonlocal done
        vectors = await batcher.vectors(texts)
        done += len(texts)
        if len(parts) > 1:
            await ctx.progress(done, len(job.texts), "texts embedded")
        return vectors

    answers = await gather(one(texts) for texts in parts)
    vectors = [fit(vector, job.dimensions) for answer in answers for vector in answer]
    if len({len(vector) for vector in vectors}) != 1:
        raise TransientError("the vectors of two requests are not of one length", type="provider_garbage")
    return EmbedOutput(embeddings=vectors, dimensions=len(vectors[0]))


class _Batcher:
    """Asks for the vectors of batches, a few at a time, and remembers how many texts the provider finds too many."""

    def __init__(self, ctx: LlmContext, job: EmbedInput) -> None:
        self._ctx = ctx
        self._job = job
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._most = MOST_TEXTS

    async def vectors(self, texts: list[str]) -> list[list[float]]:
        """Embed one batch, in halves where the provider says that it is too large."""
        async with self._gate:
            if len(texts) <= self._most:
                try:
                    return await self._ctx.provider.embed(texts, model=self._job.model, dimensions=self._job.dimensions)
                except TOO_LARGE:
                    if len(texts) == 1:
                        raise
                    self._most = min(self._most, len(texts) - 1)
        half = -(-len(texts) // 2)
        return [*await self.vectors(texts[:half]), *await self.vectors(texts[half:])]


def batches(texts: list[str]) -> list[list[str]]:
    """Cut a list into runs of at most MOST_TEXTS texts and about MOST_TOKENS tokens, at least one text each."""
    runs: list[list[str]] = []
    room = 0
    for text in texts:
        tokens = estimate(text)
        if not runs or tokens > room or len(runs[-1]) == MOST_TEXTS:
            runs.append([])
            room = MOST_TOKENS
        runs[-1].append(text)
        room -= tokens
    return runs


def fit(vector: list[float], dimensions: int | None) -> list[float]:
    """Shorten a vector from a provider that ignored `dimensions`: cut and normalise, as OpenAI's guide has it.

    Raises:
        FinalError: the vector is shorter than what was asked for.

    """
    if dimensions is None or len(vector) == dimensions:
        return vector
    if len(vector) < dimensions:
        raise FinalError(f"the model has {len(vector)} dimensions, not {dimensions}", type="wrong_dimensions")
    short = vector[:dimensions]
    length = hypot(*short) or 1.0
    return [number / length for number in short]
