"""Endpoints: made, changed without downtime, scaled, proven and taken away."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest

from embeddings import Encoder, bundle
from embeddings.identity import tower_name
from embeddings.tower import LiteRTTower
from tests.support.sagemaker import SageMaker
from training import deploy, endpoint, proof

SHIPPED = next((Path(__file__).parents[1] / "embeddings" / "bundles").iterdir())
ROLE = "arn:aws:iam::123456789012:role/endpoint"
NAME = "tower"
START = ["--bundle", str(SHIPPED), "--output", "s3://bank/towers", "--role", ROLE, "--name", NAME, "--poll", "0"]


@pytest.fixture(scope="module")
def tower() -> LiteRTTower:
    return LiteRTTower(bundle.load(SHIPPED).tower)


@pytest.fixture
def service(sagemaker: SageMaker, tower: LiteRTTower) -> Iterator[SageMaker]:
    sagemaker.embed = lambda canvases: tower.embed(canvases[..., 0])
    return sagemaker


def targets() -> list[dict[str, object]]:
    found = boto3.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    return list(found["ScalableTargets"])


def test_an_endpoint_is_made_and_proven(service: SageMaker, capsys: pytest.CaptureFixture[str]) -> None:
    deploy.main(START)

    told = capsys.readouterr().err
    assert "COUNTERSIGN_TOWER=sagemaker:tower" in told
    assert "every hour, used or not" in " ".join(told.split())
    assert len(service.asked("InvokeEndpoint")) == 1
    (config,) = service.configs.values()
    loaded = bundle.load(SHIPPED)
    assert config["ProductionVariants"][0]["VariantName"] == tower_name(loaded.model_version, loaded.tower)
    assert targets() == []


def test_what_is_served_is_the_saved_model_in_the_containers_layout(service: SageMaker, tmp_path: Path) -> None:
    deploy.main(START)

    (model,) = service.models.values()
    key = model["PrimaryContainer"]["ModelDataUrl"].removeprefix("s3://bank/")
    boto3.client("s3").download_file("bank", key, str(tmp_path / "model.tar.gz"))
    with tarfile.open(tmp_path / "model.tar.gz") as packed:
        names = set(packed.getnames())
    assert {"tower/1/saved_model.pb", "tower/1/variables/variables.index"} <= names
    assert endpoint.pack_tower(SHIPPED, tmp_path).name == key.rpartition("/")[2]


def test_deploying_the_same_twice_makes_nothing_new(service: SageMaker) -> None:
    deploy.main(START)
    deploy.main(START)

    assert len(service.models) == len(service.configs) == len(service.endpoints) == 1


def test_an_update_starts_new_instances_beside_the_old(service: SageMaker) -> None:
    deploy.main(START)
    deploy.main([*START, "--instance", "ml.c6i.xlarge", "--alarm", "tower-errors"])

    (asked,) = service.asked("UpdateEndpoint")
    assert len(service.asked("CreateEndpoint")) == 1
    routing = asked["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"
    assert asked["DeploymentConfig"]["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "tower-errors"}]}
    assert len(service.configs) == 2


def test_another_model_on_an_endpoint_in_use_needs_a_clear_word(service: SageMaker) -> None:
    deploy.main(START)
    (config,) = service.configs.values()
    config["ProductionVariants"][0]["VariantName"] = "0-9-0-00000000"

    with pytest.raises(SystemExit, match=r"runs 0-9-0-00000000; .* --replace-model"):
        deploy.main([*START, "--instance", "ml.c6i.xlarge"])
    assert not service.asked("UpdateEndpoint")
    deploy.main([*START, "--instance", "ml.c6i.xlarge", "--replace-model"])
    assert service.asked("UpdateEndpoint")


def test_scaling_tracks_requests_for_each_instance(service: SageMaker) -> None:
    deploy.main([*START, "--min-instances", "2", "--max-instances", "6", "--per-minute", "900"])

    (target,) = targets()
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 6)
    assert str(target["ResourceId"]).startswith("endpoint/tower/variant/1-")
    scaling = boto3.client("application-autoscaling")
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 900
    metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "SageMakerVariantInvocationsPerInstance"


def test_an_update_takes_scaling_away_first_and_puts_it_back(service: SageMaker) -> None:
    deploy.main([*START, "--max-instances", "3"])
    deploy.main([*START, "--max-instances", "4", "--instance", "ml.c6i.xlarge"])
    assert [target["MaxCapacity"] for target in targets()] == [4]

    deploy.main([*START, "--instance", "ml.c6i.2xlarge"])
    assert targets() == []


@pytest.mark.parametrize("how", ["refused", "rolled back", "failed in between"])
def test_an_update_that_fails_leaves_the_endpoint_scaled_as_before(service: SageMaker, how: str) -> None:
    deploy.main([*START, "--min-instances", "2", "--max-instances", "5", "--per-minute", "900"])
    (config,) = (endpoint["EndpointConfigName"] for endpoint in service.endpoints.values())
    service.failure = "The container did not pass the ping"
    if how == "refused":
        service.faults = [("UpdateEndpoint", "ResourceLimitExceeded", 400)]
    service.rolls_back = how == "rolled back"
    if how == "failed in between":
        service.update_states = ["Updating", "UpdateRollbackFailed"]

    told = {"refused": "--instance", "rolled back": f"went back to {config}: The container did not pass"}
    with pytest.raises(SystemExit, match=told.get(how, "did not pass the ping")):
        deploy.main([*START, "--instance", "ml.c6i.xlarge", "--max-instances", "9", "--min-instances", "2"])

    assert [(target["MinCapacity"], target["MaxCapacity"]) for target in targets()] == [(2, 5)]
    scaling = boto3.client("application-autoscaling")
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 900


def test_other_limits_of_scaling_alone_start_no_instances(service: SageMaker) -> None:
    deploy.main([*START, "--max-instances", "3"])
    deploy.main([*START, "--max-instances", "6"])

    assert [target["MaxCapacity"] for target in targets()] == [6]
    assert not service.asked("UpdateEndpoint")


def test_an_update_that_nobody_saw_the_end_of_is_waited_for(service: SageMaker) -> None:
    deploy.main(START)
    (endpoint,) = service.endpoints.values()
    endpoint["states"] = ["Updating", "InService"]

    deploy.main([*START, "--instance", "ml.c6i.xlarge"])

    assert len(service.asked("UpdateEndpoint")) == 1


def test_a_serverless_endpoint_has_memory_and_concurrency_and_no_instances(
    service: SageMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy.main([*START, "--mode", "serverless", "--memory-mb", "3072", "--concurrency", "7"])

    (config,) = service.configs.values()
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 7}
    assert "InstanceType" not in variant
    assert "milliseconds of each request" in " ".join(capsys.readouterr().err.split())


def test_an_asynchronous_endpoint_answers_into_s3_and_can_rest(
    service: SageMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy.main([*START, "--mode", "async", "--min-instances", "0", "--max-instances", "2"])

    (config,) = service.configs.values()
    assert config["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"] == "s3://bank/towers/answers"
    assert [target["MinCapacity"] for target in targets()] == [0]
    told = " ".join(capsys.readouterr().err.split())
    assert "nothing in between" in told
    assert "differ from this machine's by" in told
    assert "COUNTERSIGN_TOWER" not in told
    assert service.asked("InvokeEndpointAsync")[0]["InputLocation"].startswith("s3://bank/towers/questions/")


def test_an_asynchronous_endpoint_that_fails_or_is_silent_is_told(
    service: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = [*START, "--mode", "async"]
    service.faults = [("the container", "ModelError", 424)]
    with pytest.raises(SystemExit, match="tower failed: said the stand-in: see CloudWatch"):
        deploy.main(later)

    monkeypatch.setattr(proof, "PATIENCE_SECONDS", 0)
    with pytest.raises(SystemExit, match="gave no answer"):
        deploy.main(later)


def test_teardown_leaves_nothing_that_costs(service: SageMaker) -> None:
    deploy.main([*START, "--max-instances", "3"])
    deploy.main(["--teardown", NAME, "--poll", "0"])

    assert (service.endpoints, service.configs, service.models) == ({}, {}, {})
    assert targets() == []
    with pytest.raises(SystemExit, match="no endpoint tower"):
        deploy.main(["--teardown", NAME, "--poll", "0"])


def test_a_dry_run_shows_requests_and_costs_and_sends_nothing(
    service: SageMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy.main([*START, "--max-instances", "2", "--dry-run"])

    shown = capsys.readouterr()
    assert list(json.loads(shown.out)) == [
        "CreateModel",
        "CreateEndpointConfig",
        "CreateEndpoint",
        "RegisterScalableTarget",
        "PutScalingPolicy",
    ]
    assert "You pay for" in shown.err
    assert service.calls == []


def test_an_endpoint_that_answers_otherwise_is_told(service: SageMaker) -> None:
    service.embed = lambda canvases: np.zeros((len(canvases), Encoder.load().dimension), np.float32)

    with pytest.raises(SystemExit, match="answers otherwise"):
        deploy.main(START)


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        ("The image could not be pulled", "change --image"),
        ("The container did not pass the ping", "log in CloudWatch"),
    ],
)
def test_an_endpoint_that_fails_says_why(service: SageMaker, failure: str, advice: str) -> None:
    service.endpoint_states, service.failure = ["Creating", "Failed"], failure

    with pytest.raises(SystemExit, match=f"{failure} .*{advice}.*--teardown tower"):
        deploy.main(START)


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("ExpiredTokenException", "have expired"),
        ("AccessDeniedException", "policy of your role"),
        ("ResourceLimitExceeded", "--instance"),
    ],
)
def test_what_aws_refuses_is_told_in_words(service: SageMaker, code: str, complaint: str) -> None:
    service.faults = [("CreateEndpoint", code, 400)]

    with pytest.raises(SystemExit, match=complaint):
        deploy.main(START)


def test_a_bucket_that_is_not_there_is_named_before_anything_costs(service: SageMaker) -> None:
    with pytest.raises(SystemExit, match="bucket nobody does not exist"):
        deploy.main([*START, "--output", "s3://nobody/towers"])
    assert service.calls == []


@pytest.mark.parametrize("arguments", [["--min-instances", "0"], ["--min-instances", "3", "--max-instances", "2"]])
def test_sizes_that_cannot_be_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        deploy.main([*START, *arguments])
    assert "instance" in capsys.readouterr().err
