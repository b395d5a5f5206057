"""A client that costs little: `python -m bench.clients.load --port P --path /x --seconds S [--rate R]`.

Without a rate each connection sends its next request when the last is answered. With a rate requests are due at
fixed times, whatever the answers do, and a latency counts from the time when its request was due.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter, deque
from typing import cast

import uvloop


class Client(asyncio.Protocol):
    """One keep-alive connection with one request on the way."""

    def __init__(self, load: "Load") -> None:
        self._load, self._data, self._due = load, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.idle(self)

    def send(self, due: float) -> None:
        self._due = due
        self._transport.write(self._load.request())

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._data[:end].lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self._data) < end + 4 + length:
            return
        self._data = self._data[end + 4 + length :]
        self._load.answered(int(head[9:12]), time.perf_counter() - self._due)
        self._load.idle(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._load.lost += 1


class Load:
    """Requests, their due times and what was answered."""

    def __init__(self, options: argparse.Namespace, body: bytes, headers: dict[str, str]) -> None:
        lines = [f"POST {options.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "Idempotency-Key: "]).encode()
        self._body, self._rate, self._number = body, options.rate, 0
        self._due: deque[float] = deque()
        self._idle: deque[Client] = deque()
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.lost = 0
        self.running = False

    def request(self) -> bytes:
        self._number += 1
        return b"%s%x-%d\r\n\r\n%s" % (self._head, id(self), self._number, self._body)

    def answered(self, status: int, latency: float) -> None:
        if self.running:
            self.statuses[status] += 1
            self.latencies.append(latency)

    def idle(self, client: Client) -> None:
        if self._due:
            client.send(self._due.popleft())
        elif self.running and not self._rate:
            client.send(time.perf_counter())
        else:
            self._idle.append(client)

    async def run(self, seconds: float) -> float:
        """Send for so many seconds; gives how long it took."""
        self.running, began = True, time.perf_counter()
        if self._rate:
            await self._by_rate(began, seconds)
        else:
            while self._idle:
                self._idle.popleft().send(time.perf_counter())
            await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        self.running = False
        return took

    async def _by_rate(self, began: float, seconds: float) -> None:
        for number in range(int(self._rate * seconds)):
            due = began + number / self._rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            if self._idle:
                self._idle.popleft().send(due)
            else:
                self._due.append(due)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    given = json.load(sys.stdin)
    load = Load(options, given["body"].encode(), given["headers"])
    loop = asyncio.get_running_loop()
    for _ in range(options.connections):
        await loop.create_connection(lambda: Client(load), "127.0.0.1", options.port)
    took = await load.run(options.seconds)
    latencies = sorted(load.latencies)
    show = {
        "seconds": took,
        "statuses": load.statuses,
        "lost": load.lost,
        "latencies": latencies[:: max(1, len(latencies) // 2000)],
    }
    print(json.dumps(show))


if __name__ == "__main__":
    uvloop.run(main())
