"""What reading and matching alone cost, without HTTP and database: run apart, a task on standard input."""

import time
from pathlib import Path
from typing import Any

from benchmarks.child import answer_task
from embeddings.encoder import Encoder


def measure(pairs: list[tuple[str, str]], bundle: str | None) -> dict[str, Any]:
    """The specimen's template is stored, as in the product; the questioned image is read at each verification."""
    encoder = Encoder.load(bundle)
    stored = {path: encoder.enrol(Path(path).read_bytes()) for path, _ in pairs}
    questioned = [(stored[path], Path(other).read_bytes()) for path, other in pairs]
    encoder.score(questioned[0][0], encoder.read(questioned[0][1]).vector)  # warm
    wall, cpu = time.perf_counter(), time.process_time()
    for references, image in questioned:
        encoder.score(references, encoder.read(image).vector)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_ms": 1000 * wall / len(pairs), "cpu_ms": 1000 * cpu / len(pairs)}


if __name__ == "__main__":
    answer_task(measure)
