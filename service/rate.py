"""How many requests a second one caller may send, counted by all processes of a host together.

The generic cell rate algorithm (ITU-T I.371): of each caller one number is kept, the time at which all that was sent
would have been sent at the allowed pace. A request is let through while that time lies no further ahead than a burst
takes. The numbers lie in memory that processes share because it is made before they are forked: asking costs some
microseconds and no statement. Each host counts for itself.
"""

import fcntl
import hashlib
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

SETS, WAYS = 4096, 4
"""Callers beyond those that fit push out whoever was silent longest, who begins anew with a whole burst."""

PAIR = 16  # bytes: who, and when


class Rate:
    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._ahead = (burst - 0.99) / per_second  # a hundredth for the rounding of sums
        self._file, path = tempfile.mkstemp()
        os.unlink(path)  # noqa: PTH108 (what is shared needs no name)
        os.ftruncate(self._file, SETS * WAYS * PAIR)
        weakref.finalize(self, os.close, self._file)
        memory = memoryview(mmap.mmap(self._file, SETS * WAYS * PAIR))
        self._who, self._when = memory.cast("Q"), memory.cast("d")
        self._threads = threading.Lock()

    def take(self, caller: str) -> float:
        """Counts a request: 0, or after how many seconds the next one would be let through."""
        digest = hashlib.blake2b(caller.encode(), digest_size=8).digest()
        who = int.from_bytes(digest, "big") or 1
        first = who % SETS * WAYS
        with self._alone(first):
            return self._count(who, self._place(who, first), monotonic())

    def _place(self, who: int, first: int) -> int:
        places = [2 * place for place in range(first, first + WAYS)]
        mine = [place for place in places if self._who[place] == who]
        return mine[0] if mine else min(places, key=lambda place: self._when[place + 1])

    def _count(self, who: int, place: int, now: float) -> float:
        before = self._when[place + 1] if self._who[place] == who else 0.0
        paced = max(before, now)
        wait = paced - now - self._ahead
        if wait > 0:
            return wait
        self._who[place], self._when[place + 1] = who, paced + self._interval
        return 0.0

    @contextmanager
    def _alone(self, first: int) -> Iterator[None]:
        """The system's own lock, which a process that is killed leaves; of a process it lets all threads through."""
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX, PAIR * WAYS, PAIR * first)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, PAIR * WAYS, PAIR * first)
