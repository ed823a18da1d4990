"""A real server under measurement, its key, and what its processes cost."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from tests.support import postgres, server


class Postgres(postgres.Postgres):
    def processes(self) -> list[psutil.Process]:
        return _tree(self._server.get_pid())

    def durability(self) -> dict[str, str]:
        """The settings that make a commit survive a power cut; `on` each."""
        shown = {name: self._server.psql(f"SHOW {name}").split()[2] for name in ("fsync", "synchronous_commit")}
        if set(shown.values()) != {"on"}:
            raise RuntimeError(f"this PostgreSQL is not durable, so it is not measured: {shown}")
        return shown


@dataclass
class Stand(server.Server):
    postgres: Postgres | None = None
    _indexes_built: int = 0  # by earlier starts, which the same log holds

    @property
    def environment(self) -> dict[str, str]:
        """Modules are compiled once and kept, as on any server."""
        return {name: value for name, value in super().environment.items() if name != "PYTHONDONTWRITEBYTECODE"}

    @cached_property
    def api_key(self) -> str:
        return self.key()

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Until every worker has its index and one answers. Asks by plain sockets: a client that costs CPU would
        slow down the start that is measured."""
        deadline = time.monotonic() + seconds
        workers = int(self.environment.get("COUNTERSIGN_WORKERS", "2"))
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {self.log()[-2000:]}")
            if self._count_built() - self._indexes_built >= workers and self._is_ready():
                return
            time.sleep(0.01)
        raise TimeoutError(f"not ready after {seconds} s: {self.log()[-2000:]}")

    def start(self, *, migrate: bool = False) -> "Stand":
        self._indexes_built = self._count_built()
        super().start(migrate=migrate)
        return self

    def _count_built(self) -> int:
        return self.log().count('"index_built"') if (self.folder / "server.log").exists() else 0

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def call(self, method: str, target: str, content: dict[str, Any]) -> dict[str, Any]:
        """One JSON request outside the measurement; RuntimeError unless it succeeds."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        connection.request(method, target, json.dumps(content), headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status >= 300:
            raise RuntimeError(f"{method} {target}: {response.status} {answer.decode()[:500]}")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def processes(self) -> list[psutil.Process]:
        assert self.process is not None
        return _tree(self.process.pid)

    def cpu_seconds(self) -> tuple[float, float]:
        """Of all processes of the service, and of those of its database server (0 where it is embedded)."""
        return _cpu(self.processes()), _cpu(self.postgres.processes()) if self.postgres else 0.0

    def memory_mb(self) -> dict[str, list[float]]:
        """Proportional set sizes by role of process: memory that processes share is counted once in the sum."""
        sizes: dict[str, list[float]] = {}
        root, *others = self.processes()
        for process in (root, *others):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):  # what only helped the start has ended
                sizes.setdefault(_role(process, root), []).append(_pss_mb(process.pid))
        return sizes

    def logged_ms(self, since: int) -> list[float]:
        """What the request log says that successful POST requests took, from byte `since` of the log."""
        with (self.folder / "server.log").open("rb") as log:
            log.seek(since)
            entries = [json.loads(line) for line in log if line.startswith(b"{")]
        return [entry["ms"] for entry in entries if entry.get("event") == "request" and entry["status"] == 201]

    def log_size(self) -> int:
        return (self.folder / "server.log").stat().st_size


def _tree(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _cpu(processes: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def _role(process: psutil.Process, root: psutil.Process) -> str:
    """By its place in the tree, because forked processes share one command line."""
    if process == root:
        return "supervisor"
    if process.parent() != root:
        return "server processes"
    return "gunicorn master" if process.children() else "worker"


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no Pss of {pid}")
