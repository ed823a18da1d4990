"""AWS on this machine, to try commands against: moto's server with the bucket `bank`, and the stand-in of SageMaker.

    python -m tests.support.standins runs/local         prints what to export, and stays until Ctrl-C

A job trains nothing here: it leaves the model that `make train-local` left in runs/local, with the log of that run in
two parts, since every job is interrupted once.
"""

import contextlib
import io
import json
import os
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import boto3

from tests.support import cloud
from tests.support.sagemaker import SageMaker
from training import job


def log_of(model: Path) -> list[str]:
    """What the runs in a model's folder told of each epoch, as `training.container.tell` writes it."""
    lines = []
    for run in sorted(model.glob("**/run.json"), key=lambda path: (path.parent.name == "final", path)):
        for epoch, figures in enumerate(json.loads(run.read_text("utf-8"))["history"], 1):
            told = " ".join(f"{name}={value:.5f}" for name, value in figures.items())
            lines.append(f"epoch={epoch} {told}")
    return lines


def leave_in(sagemaker: SageMaker, model: Path) -> None:
    """Makes jobs leave this model, and write its log where SageMaker does."""
    lines, streams = log_of(model), Counter[str]()
    half = len(lines) // 2

    def work(state: str, asked: dict[str, Any]) -> None:
        if state == "Training":
            again = streams[asked["name"]]
            _write_log(f"{asked['name']}/algo-1-{again}", lines[half:] if again else lines[:half])
            streams[asked["name"]] += 1
        if state == "Completed":
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz") as archive:
                archive.add(model, ".")
            bucket, _, prefix = asked["OutputDataConfig"]["S3OutputPath"].removeprefix("s3://").partition("/")
            key = f"{prefix}/{asked['name']}/output/model.tar.gz"
            boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=packed.getvalue())

    sagemaker.on_state = work


def _write_log(stream: str, lines: list[str]) -> None:
    logs = boto3.client("logs")
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=job.LOGS)
    logs.create_log_stream(logGroupName=job.LOGS, logStreamName=stream)
    events = [{"timestamp": int(1000 * time.time()), "message": line} for line in lines]
    logs.put_log_events(logGroupName=job.LOGS, logStreamName=stream, logEvents=events)


def main(run: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        moto, sagemaker = cloud.Moto(Path(folder)), SageMaker()
        given = cloud.environment(moto.url) | {
            f"AWS_ENDPOINT_URL_{name}": sagemaker.url for name in ("SAGEMAKER", "SAGEMAKER_RUNTIME")
        }
        os.environ.update(given)
        where = {"LocationConstraint": cloud.REGION}
        boto3.client("s3").create_bucket(Bucket="bank", CreateBucketConfiguration=where)
        leave_in(sagemaker, run / "ml" / "model")
        print(*(f"export {name}={value}" for name, value in given.items()), sep="\n", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        moto.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
