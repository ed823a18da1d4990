"""A real server in processes of its own: gunicorn and a worker, as `make serve` starts them."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

ROOT = Path(__file__).parents[2]
ALL_SCOPES = "enrol,verify,search,review,audit,models,admin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """`start` migrates and serves; several servers may share one database and key store."""

    folder: Path
    database_url: str
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PYTHONPATH": str(ROOT),
            "COUNTERSIGN_DATABASE_URL": self.database_url,
            "COUNTERSIGN_KEYSTORE_URL": f"file:{self.folder / 'keystore.json'}",
            "COUNTERSIGN_BIND": f"127.0.0.1:{self.port}",
            "COUNTERSIGN_METRICS_BIND": f"127.0.0.1:{free_port()}",
            **self.settings,
        }

    def command(self, *arguments: str) -> str:
        """Runs `python -m service ...` with this server's settings and returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def start(self, *, migrate: bool = True) -> Self:
        if migrate:
            self.command("migrate")
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"],
            env=self.environment,
            stderr=log,
            stdout=log,
            start_new_session=True,  # so that a kill reaches the whole tree and nothing else
        )
        log.close()
        self.wait_until_ready()
        return self

    def wait_until_ready(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {self.log()[-2000:]}")
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"not ready after {seconds} s: {self.log()[-2000:]}")

    def log(self) -> str:
        return (self.folder / "server.log").read_text("utf-8")

    def key(self, scopes: str = ALL_SCOPES) -> str:
        return self.command("create-key", "--scopes", scopes)

    def client(self, scopes: str = ALL_SCOPES) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key(scopes)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=40)

    def kill(self) -> None:
        """As a power cut would: every process of the server at once."""
        assert self.process is not None
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(timeout=10)

    def pids(self) -> list[int]:
        import psutil

        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]
