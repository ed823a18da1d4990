"""Measurements that need a process of their own: JSON in, JSON out."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def measure_apart(module: str, task: dict[str, Any]) -> dict[str, Any]:
    """Runs `python -m MODULE` on a task. Apart, so that neither its memory nor its CPU time mixes with ours."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(task),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def answer_task(measure: Callable[..., dict[str, Any]]) -> None:
    print(json.dumps(measure(**json.load(sys.stdin))))
