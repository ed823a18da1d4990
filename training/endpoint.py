"""An endpoint of the tower: the requests for its model, its configuration and its scaling. Nothing here sends any.

Names say what is behind them. A model and a configuration carry a checksum of their own request, so the same
deployment made twice is one; the variant carries the tower's name, by which the service knows whom it speaks to.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.aws import Place

REGISTRY = "763104351884.dkr.ecr.{region}.amazonaws.com/tensorflow-inference"
TAG = "2.20-cpu-py312-amzn2023-sagemaker-v1"
MODES = ("realtime", "serverless", "async")
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
NAMESPACE = "sagemaker"
POLICY = "countersign-target"


def default_image(region: str) -> str:
    return f"{REGISTRY.format(region=region)}:{TAG}"


@dataclass(frozen=True)
class Endpoint:
    """What is deployed and how."""

    name: str
    variant: str
    mode: str
    role: str
    image: str
    model_data: Place
    instance: str = "ml.c6i.large"
    instances: tuple[int, int] = (1, 1)
    per_minute: int = 1000
    memory_mb: int = 2048
    concurrency: int = 10
    output: Place | None = None
    kms_key: str | None = None
    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    alarms: Sequence[str] = ()
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """As autoscaling calls it."""
        return f"endpoint/{self.name}/variant/{self.variant}"

    @property
    def scales(self) -> bool:
        return self.mode != "serverless" and (self.instances[1] > 1 or self.instances[0] == 0)


def model_request(wanted: Endpoint) -> dict[str, Any]:
    """The arguments of CreateModel."""
    asked: dict[str, Any] = {
        "PrimaryContainer": {
            "Image": wanted.image,
            "ModelDataUrl": str(wanted.model_data),
            "Environment": {"SAGEMAKER_TFS_DEFAULT_MODEL_NAME": "tower"},
        },
        "ExecutionRoleArn": wanted.role,
        "Tags": _tags(wanted),
    }
    if wanted.subnets:
        asked["VpcConfig"] = {"Subnets": list(wanted.subnets), "SecurityGroupIds": list(wanted.security_groups)}
    return {"ModelName": _named(f"countersign-{wanted.variant}", asked)} | asked


def config_request(wanted: Endpoint) -> dict[str, Any]:
    """The arguments of CreateEndpointConfig."""
    variant: dict[str, Any] = {
        "VariantName": wanted.variant,
        "ModelName": model_request(wanted)["ModelName"],
        "InitialVariantWeight": 1.0,
    }
    if wanted.mode == "serverless":
        variant["ServerlessConfig"] = {"MemorySizeInMB": wanted.memory_mb, "MaxConcurrency": wanted.concurrency}
    else:
        variant |= {"InstanceType": wanted.instance, "InitialInstanceCount": max(1, wanted.instances[0])}
    asked: dict[str, Any] = {"ProductionVariants": [variant], "Tags": _tags(wanted)}
    if wanted.kms_key and wanted.mode != "serverless":
        asked["KmsKeyId"] = wanted.kms_key
    if wanted.mode == "async":
        assert wanted.output is not None
        answers = {"S3OutputPath": str(wanted.output / "answers"), "S3FailurePath": str(wanted.output / "failures")}
        asked["AsyncInferenceConfig"] = {
            "OutputConfig": answers | ({"KmsKeyId": wanted.kms_key} if wanted.kms_key else {})
        }
    return {"EndpointConfigName": _named(wanted.name, asked)} | asked


def update_request(wanted: Endpoint) -> dict[str, Any]:
    """The arguments of UpdateEndpoint: new instances take over when they answer, old ones leave a minute later."""
    asked: dict[str, Any] = {
        "EndpointName": wanted.name,
        "EndpointConfigName": config_request(wanted)["EndpointConfigName"],
    }
    if wanted.mode == "realtime":
        asked["DeploymentConfig"] = {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 60},
                "TerminationWaitInSeconds": 60,
                "MaximumExecutionTimeoutInSeconds": 3600,
            }
        }
        if wanted.alarms:
            alarms = [{"AlarmName": name} for name in wanted.alarms]
            asked["DeploymentConfig"]["AutoRollbackConfiguration"] = {"Alarms": alarms}
    return asked


def scaling_requests(wanted: Endpoint) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of RegisterScalableTarget and of PutScalingPolicy with target tracking."""
    least, most = wanted.instances
    target = {"ServiceNamespace": NAMESPACE, "ResourceId": wanted.resource, "ScalableDimension": DIMENSION}
    tracking: dict[str, Any] = {"ScaleInCooldown": 300, "ScaleOutCooldown": 60}
    if wanted.mode == "async":  # questions that wait, for each instance: the only measure that still counts at zero
        tracking |= {
            "TargetValue": 5.0,
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Dimensions": [{"Name": "EndpointName", "Value": wanted.name}],
                "Statistic": "Average",
            },
        }
    else:
        metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        tracking |= {"TargetValue": float(wanted.per_minute), "PredefinedMetricSpecification": metric}
    policy = {"PolicyName": POLICY, "PolicyType": "TargetTrackingScaling"}
    return (
        target | {"MinCapacity": least, "MaxCapacity": most},
        target | policy | {"TargetTrackingScalingPolicyConfiguration": tracking},
    )


def cost(wanted: Endpoint) -> str:
    """What is paid for, in words: prices change, and no figure here could be right for long."""
    least, most = wanted.instances
    if wanted.mode == "serverless":
        return "You pay for the milliseconds of each request; after a pause the first request waits some seconds."
    if least == 0:
        return f"You pay for up to {most} {wanted.instance} while questions wait, and nothing in between."
    span = f"{least}" if least == most else f"{least} to {most}"
    return f"You pay for {span} {wanted.instance} every hour, used or not, until --teardown {wanted.name}."


def pack_tower(bundle: Path, into: Path) -> Path:
    """`model.tar.gz` of the bundle's SavedModel, laid out as the serving container wants it (`tower/1/...`); the same
    tower gives the same bytes and the same name."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w") as archive,
    ):
        for path in sorted((bundle / "tower").rglob("*")):
            if path.is_file():
                info = tarfile.TarInfo(path.relative_to(bundle).as_posix())
                info.size, info.mode = path.stat().st_size, 0o644
                archive.addfile(info, io.BytesIO(path.read_bytes()))
    target = into / f"tower-{hashlib.sha256(packed.getvalue()).hexdigest()[:16]}.tar.gz"
    target.write_bytes(packed.getvalue())
    return target


def _named(start: str, asked: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
    return f"{start[:54].rstrip('-')}-{digest}"


def _tags(wanted: Endpoint) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in wanted.tags.items()]
