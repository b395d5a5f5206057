"""The parts that measurements are made of, each for real: the provider, its log and limits, jobs of several tenants."""

import http.client
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from bench.clients.tenants import chat, hand_over, prompt, statuses
from bench.lab.lab import lab
from bench.lab.processes import interrupt, until
from bench.measurements import MEASUREMENTS
from bench.peers.ours import sender
from bench.provider import process as provider
from bench.provider.process import Provider
from tandem.shared.config.file import read
from tandem.shared.store.keys import Key
from tandem.shared.tasks.spec import Priority


def ask(stub: Provider, text: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=10)
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": text}]})
    connection.request("POST", "/v1/chat/completions", body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_every_measurement_has_its_module() -> None:
    assert all(find_spec(f"bench.measurements.{one.module}") for one in MEASUREMENTS.values())


def test_a_provider_that_comes_back_goes_on_with_its_log_which_tells_requests_apart(tmp_path: Path) -> None:
    with lab(tmp_path / "lab", server=False) as made:
        stub = provider.start(made, delay=0.01, name="stub")
        assert [ask(stub, prompt(7)), ask(stub, "no number")] == [200, 200]
        interrupt(stub.process)
        again = provider.start(made, delay=0.01, name="stub", port=stub.port)
        assert ask(stub, prompt(8, size=100)) == 200
        assert until(lambda: [one.mark for one in again.served()] or None, what="the log") == [7, 0, 8]


def test_a_config_of_the_provider_is_one_that_workers_read(tmp_path: Path) -> None:
    with lab(tmp_path / "lab", server=False) as made:
        stub = provider.start(made, delay=0.01, name="stub")
        first, second = stub.config(fast={"rpm": 600}), stub.config(fast={"rpm": 60}, slow={"concurrency": 2})
        assert read(Path(first["TANDEM_CONFIG"])).models["fast"].rpm == 600
        models = read(Path(second["TANDEM_CONFIG"])).models
        assert (models["fast"].rpm, models["slow"].concurrency) == (60, 2)


def test_jobs_wait_in_the_lanes_of_their_models(tmp_path: Path) -> None:
    with lab(tmp_path / "lab") as made:
        orders = [chat(1, model="fast", tenant="a"), chat(2, model="slow", tenant="b", priority=Priority.HIGH)]
        ids = hand_over(made, orders)
        assert statuses(made, ids) == ["queued", "queued"]
        with redis.Redis.from_url(made.redis_url, decode_responses=True) as server:
            assert set(server.zrange(Key.LANES, 0, -1)) == {"fast", "slow"}
            assert server.zrange(f"{Key.LANE_TENANTS}slow", 0, -1) == ["b"]
            assert set(server.hmget(Key.JOB + ids[1], "priority", "owner")) | set(
                server.hmget(Key.JOB + ids[0], "priority", "owner")
            ) == {"high", "b", "normal", "a"}


async def test_jobs_of_a_comparison_wait_in_the_lane_that_limits_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab(tmp_path / "lab") as made:
        monkeypatch.setenv("REDIS_URL", made.redis_url)
        async with sender() as send:
            await send("ask", 0.0, "")
        with redis.Redis.from_url(made.redis_url, decode_responses=True) as server:
            assert server.zrange(Key.LANES, 0, -1) == ["gpt-5.4-mini"]
