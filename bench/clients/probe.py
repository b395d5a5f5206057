"""One request after the other, at moments that know nothing of any poll; each waits for its job's result."""

import random
import time

from bench.clients.endpoints import Endpoint

MILLISECONDS = 1000
PAUSE = 0.02, 0.06  # seconds
WARM_UP = 3
WAITING = {"Prefer": "wait=30"}


def probe(endpoint: Endpoint, path: str, *, requests: int) -> list[float]:
    """Give the latencies in ms, from sending the request to the answer with the job's result.

    Raises:
        NotMeasuredError: another answer than 200.

    """
    latencies = []
    with endpoint.connected() as connection:
        for _ in range(WARM_UP + requests):
            time.sleep(random.uniform(*PAUSE))  # noqa: S311 - not a secret
            began = time.perf_counter()
            connection.post(path, {"sent": time.time()}, wanted=200, headers=WAITING)
            latencies.append((time.perf_counter() - began) * MILLISECONDS)
    return latencies[WARM_UP:]
