"""Three tenants with jobs of unequal sizes want more tokens than the provider allows: who gets how many, by its log."""

import time
from collections import Counter

from bench.clients.tenants import chat, hand_over
from bench.contenders.everybody import OURS_LLM
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import until
from bench.provider import process as provider
from bench.provider.stub import Served
from bench.report.result import Effort, Finding, Result

TENANTS = {"small": 300, "middle": 1500, "large": 6000}  # bytes of each prompt
TPM, DELAY, PROCESSES = 600_000, 0.5, 2
SECONDS, WARM_UP = 60.0, 5.0
DEVIATION = 0.05
BYTES_PER_TOKEN = 4  # as the provider counts; so twice a third is enough for all that a tenant can get


def measure(effort: Effort) -> Result:
    seconds = max(10.0, SECONDS * effort.scale)
    with lab(effort.folder / "shares") as made:
        served = _served(made, seconds)
    begin = served[0].came + WARM_UP
    tokens: Counter[str] = Counter()
    for one in served:
        if one.status == 200 and begin <= one.came < begin + seconds:
            tokens[list(TENANTS)[one.mark - 1]] += one.used
    total = tokens.total()
    shares = {name: tokens[name] / total for name in TENANTS}
    off = max(abs(share * len(TENANTS) - 1) for share in shares.values())
    shown = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    effort.say(f"  {total / (TPM / 60 * seconds):.1%} of {TPM:,} TPM used in {seconds:g} s: {shown}")
    sizes = ", ".join(f"{size:,}" for size in TENANTS.values())
    goal = f"fairness: shares of {len(TENANTS)} tenants over {seconds:g} s, prompts of {sizes} bytes, {TPM:,} TPM"
    row = Finding(
        goal,
        f"each within {DEVIATION:.0%} of {1 / len(TENANTS):.1%} of the tokens",
        f"{shown}: {off:.1%} off",
        met=off <= DEVIATION,
        headline="shares of three tenants with unequal jobs",
    )
    return Result([row], {"tokens": tokens})


def _served(made: Lab, seconds: float) -> list[Served]:
    """Give the provider's log of so many seconds and what it takes to get there."""
    stub = provider.start(made, delay=DELAY, name="shares")
    trial = Trial(made, OURS_LLM, "shares")
    trial.workers(PROCESSES, **stub.env, TANDEM_LLM_TPM=str(TPM))
    for mark, (name, size) in enumerate(TENANTS.items(), 1):
        share = TPM / 60 * (seconds + 3 * WARM_UP) / len(TENANTS) / (size / BYTES_PER_TOKEN)
        hand_over(made, (chat(mark, size=size, tenant=name) for _ in range(round(2 * share))))
    trial.open()
    until(lambda: stub.count() > 0, what="the first call")
    time.sleep(WARM_UP + seconds + DELAY + 1)
    return stub.served()
