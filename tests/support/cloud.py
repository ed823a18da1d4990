"""AWS over HTTP without AWS: moto's server in a process of its own."""

import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.support.server import free_port

REGION = "eu-central-1"


class Moto:
    """Speaks S3, KMS, logs, autoscaling and more; `reset` forgets everything."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        port = self.url.rpartition(":")[2]
        with (folder / "moto.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-p", port], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                httpx.get(f"{self.url}/moto-api/")
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"moto did not start: {(folder / 'moto.log').read_text('utf-8')[-2000:]}")

    def reset(self) -> None:
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


def environment(url: str) -> dict[str, str]:
    """What makes boto3 speak to `url` and nobody else, whatever this machine's own AWS settings are."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_MAX_ATTEMPTS": "3",
    }
