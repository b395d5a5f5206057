import asyncio
from math import hypot

from tandem.llm_worker.generation.concurrency import gather
from tandem.llm_worker.generation.context import LlmContext, handles
from tandem.llm_worker.providers.errors import ContextTooLong
from tandem.llm_worker.tokens import estimate
from tandem.shared.errors import FinalError
from tandem.shared.tasks.catalog.llm import EMBED, EmbedInput, EmbedOutput

# OpenAI takes 2048 texts and 300,000 tokens a request; fewer texts keep the decoding of one answer short.
MOST_TEXTS = 512
MOST_TOKENS = 250_000
AT_ONCE = 4


@handles(EMBED)
async def embed(ctx: LlmContext, job: EmbedInput) -> EmbedOutput:
    gate = asyncio.Semaphore(AT_ONCE)
    parts = batches(job.texts)
    done = 0

    async def one(texts: list[str]) -> list[list[float]]:
        nonlocal done
        async with gate:
            vectors = await _vectors(ctx, job, texts)
        done += len(texts)
        if len(parts) > 1:
            await ctx.progress(done, len(job.texts), "texts embedded")
        return vectors

    answers = await gather(one(texts) for texts in parts)
    vectors = [fit(vector, job.dimensions) for answer in answers for vector in answer]
    return EmbedOutput(embeddings=vectors, dimensions=len(vectors[0]))


async def _vectors(ctx: LlmContext, job: EmbedInput, texts: list[str]) -> list[list[float]]:
    """Embed one batch, in halves where the provider says that it is too large."""
    try:
        return await ctx.provider.embed(texts, model=job.model, dimensions=job.dimensions)
    except ContextTooLong:
        if len(texts) == 1:
            raise
    half = len(texts) // 2
    return [*await _vectors(ctx, job, texts[:half]), *await _vectors(ctx, job, texts[half:])]


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
