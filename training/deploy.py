"""Put a bundle's tower on a SageMaker endpoint, change it without downtime, or take it away.

    python -m training.deploy --bundle embeddings/bundles/1.2.0 --output s3://bank/towers --role ARN
    python -m training.deploy ... --mode serverless --memory-mb 2048 --concurrency 10
    python -m training.deploy ... --min-instances 2 --max-instances 6       scaled by target tracking
    python -m training.deploy ... --mode async --min-instances 0 --max-instances 2
    python -m training.deploy --teardown NAME

The same command with other options changes the endpoint: new instances start beside the old ones and take over when
they answer. Another model on an endpoint in use would leave every service that asks it without vectors, so it needs
--replace-model; better give each model an endpoint of its own (the default name says which).

After each change the endpoint is asked for drawn signatures, and must answer what the bundle's tower answers here.

    COUNTERSIGN_BUNDLE=... COUNTERSIGN_TOWER=sagemaker:NAME python -m service serve

embeds there. An asynchronous endpoint answers into S3: it is for batches of your own (`invoke_endpoint_async` with
canvases as `training.proof` writes them), and a service that names one does not start.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from embeddings import bundle
from embeddings.bundle import BrokenBundle, Bundle
from embeddings.identity import tower_name
from training import aws, endpoint
from training.aws import CloudProblem, translated
from training.endpoint import MODES, Endpoint
from training.proof import WrongEndpoint, prove
from training.scaling import Scaling, put_back, scale, unscale

console = Console(stderr=True, highlight=False)

MENDABLE = (WrongEndpoint, BrokenBundle)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teardown", metavar="NAME", help="delete an endpoint with its scaling, models and costs")
    parser.add_argument("--dry-run", action="store_true", help="print the requests and the costs, and stop")
    parser.add_argument("--bundle", type=Path, help="folder of the bundle")
    parser.add_argument(
        "--output", metavar="s3://...", help="where the packed tower goes, and answers of --mode async"
    )
    parser.add_argument("--role", help="ARN of the role that the endpoint takes on")
    parser.add_argument("--name", help="of the endpoint; by default countersign- and the tower's name")
    parser.add_argument("--mode", choices=MODES, default="realtime")
    parser.add_argument("--image", help="serving image; by default AWS's TensorFlow Serving 2.20 of the region")
    size = parser.add_argument_group("size")
    size.add_argument("--instance", default="ml.c6i.large", help="by default ml.c6i.large; the tower needs no GPU")
    size.add_argument("--min-instances", type=int, default=1, help="0 only with --mode async")
    size.add_argument("--max-instances", type=int, help="by default as many as --min-instances: no scaling")
    size.add_argument(
        "--per-minute", type=int, default=1000, help="requests an instance should get; scaling keeps to it"
    )
    size.add_argument("--memory-mb", type=int, default=2048, help="of a serverless endpoint, 1024 to 6144")
    size.add_argument("--concurrency", type=int, default=10, help="of a serverless endpoint")
    safe = parser.add_argument_group("safety")
    safe.add_argument("--replace-model", action="store_true", help="let an endpoint change to another model")
    safe.add_argument("--alarm", action="append", default=[], help="CloudWatch alarm that rolls an update back")
    safe.add_argument("--kms-key", help="encrypts the packed tower and the endpoint's volume")
    safe.add_argument("--subnet", action="append", default=[], help="run inside a VPC; may repeat")
    safe.add_argument("--security-group", action="append", default=[], help="needed with --subnet; may repeat")
    safe.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="may repeat")
    parser.add_argument("--poll", type=float, default=10, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    _check(parser, chosen)
    return chosen


def _check(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    if chosen.teardown:
        return
    lacking = [name for name in ("bundle", "output", "role") if not getattr(chosen, name)]
    if lacking:
        parser.error("an endpoint needs " + ", ".join(f"--{name}" for name in lacking))
    if chosen.max_instances is None:
        chosen.max_instances = max(1, chosen.min_instances)
    if not 0 <= chosen.min_instances <= chosen.max_instances:
        parser.error("--min-instances must not be more than --max-instances")
    if chosen.min_instances == 0 and chosen.mode != "async":
        parser.error("only --mode async can have no instance; --mode serverless costs nothing while it rests")
    if bool(chosen.subnet) != bool(chosen.security_group):
        parser.error("--subnet and --security-group go together")


def plan(chosen: argparse.Namespace, loaded: Bundle, packed: Path) -> Endpoint:
    """The endpoint that the command line describes. Raises CloudProblem."""
    region = aws.session().region_name
    if not region:
        raise CloudProblem("no AWS region is set. Set AWS_REGION.")
    variant = tower_name(loaded.model_version, loaded.tower)
    output = aws.place(chosen.output)
    return Endpoint(
        name=chosen.name or f"countersign-{variant}"[:63],
        variant=variant,
        mode=chosen.mode,
        role=chosen.role,
        image=chosen.image or endpoint.default_image(region),
        model_data=output / packed.name,
        instance=chosen.instance,
        instances=(chosen.min_instances, chosen.max_instances),
        per_minute=chosen.per_minute,
        memory_mb=chosen.memory_mb,
        concurrency=chosen.concurrency,
        output=output,
        kms_key=chosen.kms_key,
        subnets=chosen.subnet,
        security_groups=chosen.security_group,
        alarms=chosen.alarm,
        tags={"project": "countersign", "model": loaded.model_version}
        | dict(pair.partition("=")[::2] for pair in chosen.tag),
    )


def requests(wanted: Endpoint) -> dict[str, Any]:
    """Everything that would be asked of AWS for a new endpoint, by operation."""
    asked = {"CreateModel": endpoint.model_request(wanted), "CreateEndpointConfig": endpoint.config_request(wanted)}
    asked["CreateEndpoint"] = {
        "EndpointName": wanted.name,
        "EndpointConfigName": asked["CreateEndpointConfig"]["EndpointConfigName"],
        "Tags": asked["CreateModel"]["Tags"],
    }
    if wanted.scales:
        target, policy = endpoint.scaling_requests(wanted)
        asked |= {"RegisterScalableTarget": target, "PutScalingPolicy": policy}
    return asked


def deploy(wanted: Endpoint, poll: float, *, replace_model: bool = False) -> None:
    """Makes the endpoint, or changes it to what is wanted, and waits until it is in service. Raises CloudProblem, and
    WrongEndpoint where it runs another model."""
    sagemaker, running = aws.client("sagemaker"), variant_of(wanted.name)
    if running is not None:
        wait(wanted.name, poll)  # for somebody's update, or for one of ours that nobody saw the end of
        running = variant_of(wanted.name)
    if running not in (None, wanted.variant) and not replace_model:
        raise WrongEndpoint(
            f"{wanted.name} runs {running}; every service that asks it would be left without vectors. Choose another "
            "--name, or say --replace-model"
        )
    asked = requests(wanted)
    with translated(wanted.name):
        _once(sagemaker.create_model, asked["CreateModel"])
        _once(sagemaker.create_endpoint_config, asked["CreateEndpointConfig"])
        if running is None:
            sagemaker.create_endpoint(**asked["CreateEndpoint"])
            wait(wanted.name, poll)
    if config_of(wanted.name) != asked["CreateEndpointConfig"]["EndpointConfigName"]:
        update(wanted, poll)
    if wanted.scales:
        scale(wanted)
    else:
        unscale(wanted.name)


def update(wanted: Endpoint, poll: float) -> None:
    """Changes the endpoint's configuration. Where that fails, or nobody waits for its end, what scaled the endpoint
    before scales it again. Raises CloudProblem, also where SageMaker went back to the configuration before."""
    taken = unscale(wanted.name)  # AWS refuses to change instances that something else scales
    try:
        with translated(wanted.name):
            aws.client("sagemaker").update_endpoint(**endpoint.update_request(wanted))
        wait(wanted.name, poll)
        _check_in_force(wanted)
    except BaseException:
        _restore(wanted.name, taken)
        raise


def _restore(name: str, taken: Sequence[Scaling]) -> None:
    """Whatever went wrong before is what the caller is told."""
    try:
        put_back(taken)
    except CloudProblem as problem:
        console.print(f"{name} is not scaled any more ({problem}); the same command again puts it right")


def _check_in_force(wanted: Endpoint) -> None:
    held = config_of(wanted.name)
    if held != endpoint.config_request(wanted)["EndpointConfigName"]:
        told = (_described(wanted.name) or {}).get("FailureReason", "an alarm or a failed start, see CloudWatch")
        raise CloudProblem(f"{wanted.name} was not changed, SageMaker went back to {held}: {told}")


def config_of(name: str) -> str | None:
    """The configuration that an endpoint has in force; None where there is no such endpoint."""
    return (_described(name) or {}).get("EndpointConfigName")


def variant_of(name: str) -> str | None:
    """Which tower an endpoint runs; None where there is no such endpoint."""
    held = config_of(name)
    if held is None:
        return None
    with translated(name):
        config = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=held)
    return str(config["ProductionVariants"][0]["VariantName"])


def wait(name: str, poll: float) -> None:
    """Shows the endpoint's state until it is in service; raises CloudProblem where it fails."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
    ) as progress:
        task = progress.add_task(name)
        while True:
            described = _described(name) or {"EndpointStatus": "Failed", "FailureReason": "it was deleted"}
            status = described["EndpointStatus"]
            progress.update(task, description=f"{name}: {status}")
            if status == "InService":
                return
            if status in {"Failed", "OutOfService", "UpdateRollbackFailed"}:
                told = described.get("FailureReason", status)
                advice = "change --image or --role" if "image" in told.lower() else "see its log in CloudWatch"
                raise CloudProblem(f"{name}: {told} ({advice}; --teardown {name} removes it)")
            time.sleep(poll)


def teardown(name: str, poll: float) -> None:
    """Deletes the endpoint, then what only it used. Raises CloudProblem where there is none."""
    sagemaker, described = aws.client("sagemaker"), _described(name)
    if described is None:
        raise CloudProblem(f"there is no endpoint {name} in this region. Check AWS_REGION")
    unscale(name)
    with translated(name):
        config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
        sagemaker.delete_endpoint(EndpointName=name)
        while _described(name) is not None:
            time.sleep(poll)
        sagemaker.delete_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
        for variant in config["ProductionVariants"]:
            _unless_used(sagemaker.delete_model, variant["ModelName"])
    console.print(f"{name} is gone; nothing of it costs money any more but its tower in S3")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    chosen = options(arguments)
    with aws.explained(MENDABLE):
        if chosen.teardown:
            return teardown(chosen.teardown, chosen.poll)
        loaded = bundle.load(chosen.bundle)
        with tempfile.TemporaryDirectory() as folder:
            packed = endpoint.pack_tower(chosen.bundle, Path(folder))
            wanted = plan(chosen, loaded, packed)
            if chosen.dry_run:
                print(json.dumps(requests(wanted), indent=1))
                console.print(endpoint.cost(wanted))
                return None
            aws.upload(aws.client("s3"), packed, wanted.model_data, kms_key=chosen.kms_key)
        deploy(wanted, chosen.poll, replace_model=chosen.replace_model)
        differ = prove(wanted, loaded, chosen.poll)
        console.print(f"in service; its vectors differ from this machine's by {differ:.1e} at most")
        if wanted.mode == "async":
            console.print("It answers into S3, so no service can embed there: ask it with invoke_endpoint_async.")
        else:
            console.print(f"COUNTERSIGN_TOWER=sagemaker:{wanted.name}", soft_wrap=True)
        console.print(endpoint.cost(wanted))
    return None


def _described(name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = aws.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as problem:
        if problem.response["Error"]["Code"] == "ValidationException" and "find" in str(problem):
            return None
        raise CloudProblem(aws.explain(problem, name)) from problem
    return found


def _once(create: Any, asked: dict[str, Any]) -> None:
    """Its name carries the checksum of the request, so what exists under it is what is asked for."""
    try:
        create(**asked)
    except ClientError as problem:
        if "already existing" not in str(problem):
            raise


def _unless_used(delete: Any, model: str) -> None:
    """Another endpoint may still run this model, or another teardown was quicker."""
    try:
        delete(ModelName=model)
    except ClientError as problem:
        console.print(f"the model {model} stays: {problem}")


if __name__ == "__main__":
    main(sys.argv[1:])
