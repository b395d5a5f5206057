"""A provider that only waits: `python -m bench.provider.stub --port P --delay S --log FILE`.

It answers each chat completion after the delay and writes down when the request came and when it was answered. One
process serves a thousand calls at once with little work, so that what is measured is the caller. With `--rpm` or
`--tpm` it refuses what goes over a bucket that holds a minute's worth, as providers do. A streamed answer begins after
the delay. A prompt that says "mark 7" is logged with that number.
"""

import argparse
import asyncio
import json
import os
import re
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

LINE = struct.Struct("=ddiiii")  # came, answered, status, tokens asked for, tokens used, mark
MARK = re.compile(rb"mark (\d+)")  # in a prompt: tells requests apart
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
LIMIT = re.compile(rb'"max_(?:completion_)?tokens":\s*(\d+)')
STREAM = re.compile(rb'"stream":\s*true')
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 0, "model": "gpt-5.4-mini"}
REST_AFTER = 0.05  # seconds
COMPLETION_TOKENS = 8
REASONS = {200: b"OK", 429: b"Too Many Requests"}


@dataclass(frozen=True)
class Served:
    came: float
    answered: float
    status: int
    asked: int
    used: int
    mark: int = 0


def read(path: Path) -> list[Served]:
    content = path.read_bytes() if path.exists() else b""
    whole = content[: len(content) // LINE.size * LINE.size]
    return sorted((Served(*line) for line in LINE.iter_unpack(whole)), key=lambda served: served.came)


class Bucket:
    """Refills continuously; full at the start."""

    def __init__(self, per_minute: float) -> None:
        self.rate, self.capacity = per_minute / 60, per_minute
        self.level, self.at = per_minute, time.monotonic()

    def wait(self, amount: float) -> float:
        now = time.monotonic()
        self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, (amount - self.level) / self.rate)


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests on it come one after the other."""

    def __init__(self, options: argparse.Namespace, log: int, buckets: list[tuple[Bucket, bool]]) -> None:
        self._options, self._log, self._buckets = options, log, buckets
        self._data, self._mark = b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        length = LENGTH.search(self._data, 0, max(end, 0))
        whole = end + 4 + (int(length[1]) if length else 0)
        if end < 0 or len(self._data) < whole:
            return
        body, self._data = self._data[end + 4 : whole], self._data[whole:]
        self._request(body)

    def _request(self, body: bytes) -> None:
        came = time.time()
        prompt = max(1, len(body) // 4)
        mark = MARK.search(body)
        self._mark = int(mark[1]) if mark else 0
        limit = LIMIT.search(body)
        asked = prompt + (int(limit[1]) if limit else COMPLETION_TOKENS)
        wait = max((bucket.wait(asked if tokens else 1) for bucket, tokens in self._buckets), default=0.0)
        if wait:
            self._answer(came, 429, asked, 0, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, wait)
            return
        for bucket, tokens in self._buckets:
            bucket.level -= asked if tokens else 1
        loop = asyncio.get_running_loop()
        if STREAM.search(body):
            loop.call_later(self._options.delay, self._stream, came, asked, prompt)
            return
        usage = {"prompt_tokens": prompt, "completion_tokens": COMPLETION_TOKENS}
        used = sum(usage.values())
        answer = {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": int(came),
            "model": "gpt-5.4-mini",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Done."}, "finish_reason": "stop"}],
            "usage": {**usage, "total_tokens": used},
        }
        loop.call_later(self._options.delay, self._answer, came, 200, asked, used, answer, 0.0)

    def _answer(self, came: float, status: int, asked: int, used: int, content: object, wait: float) -> None:
        os.write(self._log, LINE.pack(came, time.time(), status, asked, used, self._mark))
        if self._transport.is_closing():
            return
        body = json.dumps(content).encode()
        retry = b"retry-after-ms: %d\r\n" % (wait * 1000 + 1) if wait else b""
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n" % (status, REASONS[status])
        self._transport.write(head + retry + b"content-length: %d\r\n\r\n" % len(body) + body)

    def _stream(self, came: float, asked: int, prompt: int) -> None:
        """Send the first piece of a streamed answer; the rest follows later, so that the first can be told apart."""
        if self._transport.is_closing():
            return
        self._transport.write(STREAM_HEAD + _piece({"role": "assistant", "content": "Done"}))
        asyncio.get_running_loop().call_later(REST_AFTER, self._end_stream, came, asked, prompt)

    def _end_stream(self, came: float, asked: int, prompt: int) -> None:
        used = prompt + COMPLETION_TOKENS
        os.write(self._log, LINE.pack(came, time.time(), 200, asked, used, self._mark))
        if self._transport.is_closing():
            return
        usage = {"prompt_tokens": prompt, "completion_tokens": COMPLETION_TOKENS, "total_tokens": used}
        rest = [_piece({"content": "."}), _piece({}, finish="stop"), _event({**CHUNK, "choices": [], "usage": usage})]
        self._transport.write(b"".join(rest) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def _piece(delta: dict[str, str], *, finish: str | None = None) -> bytes:
    return _event({**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _event(content: object) -> bytes:
    return _chunk(b"data: " + json.dumps(content).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(options: argparse.Namespace) -> None:
    log = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    buckets = [(Bucket(options.rpm), False)] if options.rpm else []
    buckets += [(Bucket(options.tpm), True)] if options.tpm else []
    loop = asyncio.get_running_loop()
    make = lambda: Connection(options, log, buckets)  # noqa: E731 - a factory
    server = await loop.create_server(make, "127.0.0.1", options.port, backlog=2048)
    print("serving", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=2.0)
    parser.add_argument("--log", required=True)
    parser.add_argument("--rpm", type=int, default=0)
    parser.add_argument("--tpm", type=int, default=0)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
