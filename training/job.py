"""A training job: the request for it, what becomes of it, and its log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from training import container
from training.aws import CloudProblem, Place, client, explain, translated
from training.package import PROGRAM

CHANNEL = "training"
LOGS = "/aws/sagemaker/TrainingJobs"
REGISTRY = "763104351884.dkr.ecr.{region}.amazonaws.com/tensorflow-training"
TAGS = {True: "2.21-gpu-py312-cu129-amzn2023-sagemaker", False: "2.21-cpu-py312-amzn2023-sagemaker"}
ENDED = {"Completed", "Failed", "Stopped"}


def default_image(region: str, instance: str) -> str:
    """AWS's own TensorFlow image, with CUDA where the instance has a GPU (families g and p)."""
    return f"{REGISTRY.format(region=region)}:{TAGS[instance.removeprefix('ml.')[:1] in {'g', 'p'}]}"


@dataclass(frozen=True)
class Job:
    """Everything that is asked of SageMaker."""

    name: str
    role: str
    image: str
    code: str
    data: Place
    output: Place
    region: str
    data_hash: str
    commit: str
    instance: str
    volume_gb: int = 30
    max_minutes: int = 120
    max_wait_minutes: int = 0
    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    kms_key: str | None = None
    isolated: bool = False
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def spot(self) -> bool:
        return self.max_wait_minutes > 0

    @property
    def checkpoints(self) -> Place:
        return self.output / f"{self.name}/checkpoints"


def request(job: Job) -> dict[str, Any]:
    """The arguments of CreateTrainingJob."""
    asked: dict[str, Any] = {
        "TrainingJobName": job.name,
        "RoleArn": job.role,
        "AlgorithmSpecification": {
            "TrainingImage": job.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in container.METRICS.items()],
        },
        "HyperParameters": encoded(script_mode(job.code, job.region) | job.hyperparameters),
        "Environment": {
            "COUNTERSIGN_COMMIT": job.commit,
            "COUNTERSIGN_IMAGE": job.image,
            "COUNTERSIGN_DATA_HASH": job.data_hash,
        },
        "InputDataConfig": [_channel(job.data)],
        "OutputDataConfig": {"S3OutputPath": str(job.output)} | _given(KmsKeyId=job.kms_key),
        "ResourceConfig": {"InstanceType": job.instance, "InstanceCount": 1, "VolumeSizeInGB": job.volume_gb}
        | _given(VolumeKmsKeyId=job.kms_key),
        "StoppingCondition": {"MaxRuntimeInSeconds": 60 * job.max_minutes},
        "EnableNetworkIsolation": job.isolated,
        "Tags": [{"Key": key, "Value": value} for key, value in job.tags.items()],
    }
    if job.spot:
        asked["EnableManagedSpotTraining"] = True
        asked["CheckpointConfig"] = {"S3Uri": str(job.checkpoints)}
        asked["StoppingCondition"]["MaxWaitTimeInSeconds"] = 60 * job.max_wait_minutes
    if job.subnets:
        asked["VpcConfig"] = {"Subnets": list(job.subnets), "SecurityGroupIds": list(job.security_groups)}
    return asked


def script_mode(code: str, region: str | None = None) -> dict[str, Any]:
    """What tells SageMaker's toolkit which script to run and where it lies."""
    told = {"sagemaker_program": PROGRAM, "sagemaker_submit_directory": code, "sagemaker_container_log_level": 20}
    return told | ({"sagemaker_region": region} if region else {})


def encoded(hyperparameters: dict[str, Any]) -> dict[str, str]:
    """SageMaker carries strings; the toolkit reads each as JSON."""
    return {name: json.dumps(value) for name, value in hyperparameters.items()}


def given_hyperparameters(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` as on a command line; raises CloudProblem."""
    for pair in pairs:
        if "=" not in pair:
            raise CloudProblem(f"--hyperparameter {pair}: write NAME=VALUE, as epochs=6")
    return {name.strip("-"): value for name, _, value in (pair.partition("=") for pair in pairs)}


def describe(sagemaker: Any, name: str) -> dict[str, Any]:
    with translated(name):
        found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    return found


def reason(described: dict[str, Any]) -> str:
    """Why a job did not complete, with the setting to change where one can be named."""
    told = described.get("FailureReason") or described["SecondaryStatus"]
    for sign, advice in _ADVICE.items():
        if sign.lower() in told.lower():
            return f"{told.strip()}\n{advice}"
    return str(told.strip())


_ADVICE = {
    "OutdatedImage": "Change --image to a newer training image.",
    "image": "Change --image: the image is missing, no longer offered, or the role may not pull it.",
    "MaxRuntimeExceeded": "Raise --max-minutes; with spot, the same command under a new name starts from nothing.",
    "MaxWaitTimeExceeded": "No spot capacity in time: raise --max-wait-minutes, or use --on-demand.",
    "CapacityError": "No such instance is free: try another --instance, or --on-demand.",
    "ResourceLimitExceeded": "Change --instance or ask AWS for a quota.",
    "BrokenTrainingSet": "Run training.prepare again with --upload.",
}


class Log:
    """The lines of a job, each once. After a spot interruption a further stream joins."""

    def __init__(self, name: str) -> None:
        self._prefix = f"{name}/"
        self._logs = client("logs")
        self._next: dict[str, str] = {}

    def new_lines(self) -> Iterator[str]:
        for stream in self._streams():
            while True:
                at = {"nextToken": self._next[stream]} if stream in self._next else {}
                with translated(LOGS):
                    page = self._logs.get_log_events(
                        logGroupName=LOGS, logStreamName=stream, startFromHead=True, **at
                    )
                yield from (event["message"] for event in page["events"])
                ended = page["nextForwardToken"] == self._next.get(stream)  # the same token again: nothing newer yet
                self._next[stream] = page["nextForwardToken"]
                if ended or not page["events"]:
                    break

    def _streams(self) -> list[str]:
        try:
            found = self._logs.describe_log_streams(logGroupName=LOGS, logStreamNamePrefix=self._prefix)
        except self._logs.exceptions.ResourceNotFoundException:
            return []  # nothing was ever written in this account
        except (ClientError, BotoCoreError) as problem:
            raise CloudProblem(explain(problem, LOGS)) from problem
        return [stream["logStreamName"] for stream in found["logStreams"]]


def _channel(data: Place) -> dict[str, Any]:
    prefix = f"{str(data).rstrip('/')}/"  # without its end, sets/cedar is also the start of sets/cedar-old
    source = {"S3DataType": "S3Prefix", "S3Uri": prefix, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": CHANNEL, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _given(**settings: str | None) -> dict[str, str]:
    return {name: value for name, value in settings.items() if value}
