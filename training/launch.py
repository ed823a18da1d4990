"""Train on SageMaker: pack the code, start a job, follow it, fetch what it made, and publish it as a bundle.

    python -m training.launch --data s3://bank/sets/cedar --output s3://bank/jobs --role ARN --fold all
    python -m training.launch --dry-run ...                    show the request; nothing is uploaded or started
    python -m training.launch --attach countersign-20260101-120000 --output s3://bank/jobs
    python -m training.launch --stop NAME                      stop paying; the checkpoints stay
    python -m training.launch --attach NAME --evaluation runs/NAME/evaluation --version 2026.1 --store s3://bank/models

The job costs money while it runs: one instance, by default a spot one that costs less and may be interrupted; then
SageMaker starts it again and it goes on from its checkpoints. --max-minutes bounds what is paid for in any case.
Ctrl-C ends the following, not the job; --attach follows again. A fetched model lies in runs/NAME, checked. A bundle
needs an evaluation, so publishing is a second call: `training.evaluate --data SET --runs runs/NAME` in between.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from embeddings.bundle import BrokenBundle
from training import artifacts, aws, container, job, store
from training.artifacts import BrokenModel
from training.aws import CloudProblem, Place
from training.job import Job, Log
from training.package import pack
from training.runs import BrokenRun
from training.store import VersionExists
from training.training_set import SET

GPU = "ml.g4dn.xlarge"
EPOCH = re.compile(r"\bepoch=(\d+)")
MENDABLE = (BrokenModel, BrokenBundle, BrokenRun, VersionExists, FileExistsError)
console = Console(stderr=True, highlight=False)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    act = parser.add_argument_group("instead of starting a job").add_mutually_exclusive_group()
    act.add_argument("--dry-run", action="store_true", help="print the request as JSON and stop")
    act.add_argument("--attach", metavar="NAME", help="follow and fetch a job that was started before")
    act.add_argument("--stop", metavar="NAME", help="stop a job")
    what = parser.add_argument_group("what is trained")
    what.add_argument("--data", metavar="s3://...", help="a training set that training.prepare uploaded")
    what.add_argument("--fold", default="none", help="0 to 4, none (every writer) or all (what an evaluation needs)")
    what.add_argument(
        "--hyperparameter", action="append", default=[], metavar="NAME=VALUE", help="an option of training.train"
    )
    where = parser.add_argument_group("where")
    where.add_argument("--output", metavar="s3://...", help="where code, checkpoints and models go")
    where.add_argument("--role", help="ARN of the role that the job takes on")
    where.add_argument("--image", help="training image; by default AWS's TensorFlow 2.21, by region and instance")
    where.add_argument("--instance", default=GPU, help=f"by default {GPU}; an ml.c or ml.m instance has no GPU")
    where.add_argument("--volume-gb", type=int, default=30)
    where.add_argument("--name", help="of the job; by default countersign-DATE-TIME")
    where.add_argument("--runs", type=Path, default=Path("runs"), help="fetched models go to RUNS/NAME")
    money = parser.add_argument_group("what it may cost")
    money.add_argument("--max-minutes", type=int, default=120, help="SageMaker stops the job after that")
    money.add_argument("--max-wait-minutes", type=int, default=240, help="of waiting for spot capacity and training")
    money.add_argument("--on-demand", action="store_true", help="no spot: costs more, is never interrupted")
    safe = parser.add_argument_group("who may see it")
    safe.add_argument("--subnet", action="append", default=[], help="run inside a VPC; may repeat")
    safe.add_argument("--security-group", action="append", default=[], help="needed with --subnet; may repeat")
    safe.add_argument(
        "--kms-key", help="encrypts code, volume and model; checkpoints are encrypted as their bucket is by default"
    )
    safe.add_argument("--isolated", action="store_true", help="no network: the image must have what the code needs")
    safe.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="may repeat")
    publish = parser.add_argument_group("publishing")
    publish.add_argument("--evaluation", type=Path, help="what training.evaluate wrote about this model")
    publish.add_argument("--version", help="of the bundle")
    publish.add_argument("--store", help="folder or s3://... of bundles by version")
    parser.add_argument("--poll", type=float, default=10, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    _check(parser, chosen)
    return chosen


def _check(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    if not (chosen.attach or chosen.stop):
        lacking = [name for name in ("data", "output", "role") if not getattr(chosen, name)]
        if lacking:
            parser.error("a new job needs " + ", ".join(f"--{name}" for name in lacking))
    if bool(chosen.subnet) != bool(chosen.security_group):
        parser.error("--subnet and --security-group go together")
    publishing = [bool(chosen.evaluation), bool(chosen.version), bool(chosen.store)]
    if any(publishing) and not (all(publishing) and chosen.attach):
        parser.error("publishing takes --attach NAME with --evaluation, --version and --store")
    if not chosen.on_demand and chosen.max_wait_minutes < chosen.max_minutes:
        parser.error("--max-wait-minutes must be at least --max-minutes, which it includes")


def plan(chosen: argparse.Namespace, code: str, data_hash: str) -> Job:
    """The job that the command line describes. Raises CloudProblem."""
    region = aws.session().region_name
    if not region:
        raise CloudProblem("no AWS region is set. Set AWS_REGION.")
    commit = container.commit() or "unknown"
    given = dict(pair.partition("=")[::2] for pair in chosen.tag)
    return Job(
        name=chosen.name or f"countersign-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        role=chosen.role,
        image=chosen.image or job.default_image(region, chosen.instance),
        code=code,
        data=aws.place(chosen.data),
        output=aws.place(chosen.output),
        region=region,
        data_hash=data_hash,
        commit=commit,
        instance=chosen.instance,
        volume_gb=chosen.volume_gb,
        max_minutes=chosen.max_minutes,
        max_wait_minutes=0 if chosen.on_demand else chosen.max_wait_minutes,
        subnets=chosen.subnet,
        security_groups=chosen.security_group,
        kms_key=chosen.kms_key,
        isolated=chosen.isolated,
        hyperparameters={"fold": chosen.fold} | job.given_hyperparameters(chosen.hyperparameter),
        tags={"project": "countersign", "commit": commit, "data": data_hash[:16]} | given,
    )


def start(chosen: argparse.Namespace) -> str:
    """Uploads the code and starts the job; answers its name. A dry run prints what it would ask for instead."""
    with tempfile.TemporaryDirectory() as folder:
        code = pack(Path(folder))
        target = aws.place(chosen.output) / f"code/{code.name}"
        planned = plan(chosen, str(target), "unknown" if chosen.dry_run else data_hash(chosen.data))
        if chosen.dry_run:
            print(json.dumps(job.request(planned), indent=1))
            sys.exit(0)
        aws.upload(aws.client("s3"), code, target, kms_key=chosen.kms_key)
    with aws.translated(planned.name):
        aws.client("sagemaker").create_training_job(**job.request(planned))
    kind = "on demand" if chosen.on_demand else "spot"
    console.print(
        f"{planned.name} started: one {planned.instance}, {kind}, stopped after {planned.max_minutes} minutes at the "
        f"latest. It costs money until it ends; --stop {planned.name} ends it."
    )
    return planned.name


def data_hash(address: str) -> str:
    """Of the uploaded training set; also finds out early whether it is there and whole."""
    source = aws.place(address) / SET
    with aws.translated(str(source)):
        body = aws.client("s3").get_object(Bucket=source.bucket, Key=source.key)["Body"].read()
    return str(json.loads(body)["data_hash"])


def follow(name: str, poll: float) -> dict[str, Any]:
    """Shows state and log until the job ends; answers its description. Raises CloudProblem where it did not complete.
    Ctrl-C leaves the job running."""
    sagemaker, log = aws.client("sagemaker"), Log(name)
    try:
        with _progress() as progress:
            described = _watch(sagemaker, log, name, poll, progress)
    except KeyboardInterrupt:
        console.print(f"{name} goes on. Follow again: python -m training.launch --attach {name}")
        sys.exit(130)
    status = described["TrainingJobStatus"]
    if status != "Completed":
        raise CloudProblem(f"{name} ended as {status}: {job.reason(described)}")
    _tell_cost(described)
    return described


def _watch(sagemaker: Any, log: Log, name: str, poll: float, progress: Progress) -> dict[str, Any]:
    task = progress.add_task("", total=None)
    while True:
        described = job.describe(sagemaker, name)  # before the log, so that a job that ended shows its last lines
        given = {key: json.loads(value) for key, value in described.get("HyperParameters", {}).items()}
        total = int(given["epochs"]) if "epochs" in given and given.get("fold") != "all" else None
        progress.update(task, description=described["SecondaryStatus"], total=total)
        for line in log.new_lines():
            progress.console.print(line, markup=False, soft_wrap=True)
            epoch = EPOCH.search(line)
            if epoch:
                progress.update(task, completed=int(epoch[1]))
        if described["TrainingJobStatus"] in job.ENDED:
            return described
        time.sleep(poll)


def _tell_cost(described: dict[str, Any]) -> None:
    trained, billed = (described.get(key, 0) for key in ("TrainingTimeInSeconds", "BillableTimeInSeconds"))
    saved = f", spot saved {100 * (1 - billed / trained):.0f} %" if 0 < billed < trained else ""
    console.print(
        f"trained {trained} s, billed {billed} s of one {described['ResourceConfig']['InstanceType']}{saved}"
    )


def fetch(described: dict[str, Any], runs: Path) -> Path:
    """The model of a completed job in RUNS/NAME; raises BrokenModel where it is not what the job was asked for."""
    source: Place = aws.place(described["ModelArtifacts"]["S3ModelArtifacts"])
    run = artifacts.fetch(aws.client("s3"), source, runs / described["TrainingJobName"])
    asked = described.get("Environment", {}).get("COUNTERSIGN_DATA_HASH")
    for found in sorted(run.rglob("run.json")):
        trained_on = json.loads(found.read_text("utf-8")).get("lineage", {}).get("data")
        if asked and trained_on != asked:
            raise BrokenModel(f"{found} was trained on data {trained_on}, the job was given {asked}: change --data")
    console.print(f"model in {run}, every checksum as the training wrote it")
    return run


def publish(run: Path, chosen: argparse.Namespace) -> str:
    """Makes a bundle of the fetched model and its evaluation, and copies it to the store; answers the address. It
    stays in RUN/bundles: no export gives the same bytes twice, and a copy that was cut goes on with the same ones."""
    made, figures = run / "bundles" / chosen.version, "evaluation.json"
    if made.exists() and (made / figures).read_bytes() != (chosen.evaluation / figures).read_bytes():
        shutil.rmtree(made)  # of an earlier evaluation
    if not made.exists():
        from training import export  # TensorFlow, which following a job does not need

        final = run / "final" if (run / "final").is_dir() else run
        export.write_bundle(final, chosen.evaluation, chosen.version, made.parent)
    with _progress() as progress:
        address = store.publish(made, chosen.store, progress, kms_key=chosen.kms_key)
    console.print(f"bundle {chosen.version} in {address}")
    return address


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    chosen = options(arguments)
    with aws.explained(MENDABLE):
        if chosen.stop:
            with aws.translated(chosen.stop):
                aws.client("sagemaker").stop_training_job(TrainingJobName=chosen.stop)
            console.print(f"{chosen.stop} is stopping; its checkpoints stay")
            return
        name = chosen.attach or start(chosen)
        run = fetch(follow(name, chosen.poll), chosen.runs)
        if chosen.store:
            publish(run, chosen)


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console)


if __name__ == "__main__":
    main()
