"""Many who wait for jobs: `python -m bench.clients.watchers --port P --key K`, job ids on standard input.

Each job has one long-poller and one watcher of its events. Prints when all are connected, and then, when all jobs
have ended, what was noticed when: a JSON list of kind, time of finish (by Redis's clock) and time of notice.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from datetime import datetime

import uvloop

FINISHED = re.compile(rb'"finished_at":\s*"([^"]+)"')
PATHS = {"poll": "/v1/jobs/{}?wait=60", "events": "/v1/jobs/{}/events"}
OPENED = "connected"
Notice = tuple[str, float, float]


class Watchers:
    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._gate = asyncio.Semaphore(100)  # so many connect at once
        self.waiting = 0
        self.refused = ""

    async def watch(self, kind: str, job_id: str) -> Notice | None:
        """Wait for the end of one job. None if the gateway refused or hung up."""
        async with self._gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            head = f"GET {PATHS[kind].format(job_id)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._key}\r\n\r\n"
            writer.write(head.encode())
            if kind == "events":
                # The answer's head comes at once, a long-poller's only with the job.
                status = await reader.readline()
                if b" 200 " not in status:
                    self.refused = status.decode().strip()
                    writer.close()
                    return None
        self.waiting += 1
        return await self._until_finished(kind, reader, writer)

    @staticmethod
    async def _until_finished(kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Notice | None:
        seen = b""
        while data := await reader.read(65536):
            noticed = time.time()
            seen += data
            if match := FINISHED.search(seen):
                writer.close()
                return kind, datetime.fromisoformat(match[1].decode()).timestamp(), noticed
        return None


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    options = parser.parse_args()
    ids = json.load(sys.stdin)
    watchers = Watchers(options.port, options.key)
    tasks = [asyncio.create_task(watchers.watch(kind, job_id)) for job_id in ids for kind in PATHS]
    while watchers.waiting < len(tasks) and not watchers.refused:  # noqa: ASYNC110 - a progress, not an event
        await asyncio.sleep(0.05)
    print(OPENED if not watchers.refused else f"refused: {watchers.refused}", flush=True)
    if watchers.refused:
        return
    notices = [notice for notice in await asyncio.gather(*tasks) if notice]
    print(json.dumps(notices), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
