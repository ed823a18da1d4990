"""A process that takes a lock of the operating system and then does nothing more."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_HOLD = "import fcntl, sys, time; fcntl.{kind}({file}, fcntl.LOCK_EX); print('held', flush=True); time.sleep(600)"


@contextmanager
def holding(kind: str, file: int) -> Iterator[None]:
    """Another process holds a `flock` or `lockf` of the open file inside of this."""
    command = [sys.executable, "-c", _HOLD.format(kind=kind, file=file)]
    holder = subprocess.Popen(command, pass_fds=[file], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
    finally:
        holder.kill()
        holder.communicate()
