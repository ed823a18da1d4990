"""Training jobs: what is asked of SageMaker, how a job is followed, and what is believed of what it left."""

import io
import json
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from embeddings import bundle
from embeddings.bundle import MANIFEST
from embeddings.preprocess import PREPROCESSING_VERSION
from tests.support import cloud
from tests.support.bundles import copy_bundle
from tests.support.sagemaker import SageMaker
from training import aws, container, job, launch, store
from training.container import METRICS, SUMS, OutdatedImage, metrics_in
from training.package import PROGRAM, pack
from training.store import VersionExists

ROLE = "arn:aws:iam::123456789012:role/trainer"
HASH = "0123456789abcdef" * 4
LINES = ["epoch=1 loss=0.91000 val_loss=0.70000", "epoch=2 loss=0.80000 val_loss=0.60000"]
START = ["--data", "s3://bank/sets/c", "--output", "s3://bank/jobs", "--role", ROLE, "--poll", "0"]


def model_archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def sealed(tmp_path: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files with the checksums that the training writes beside them."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    container.seal(tmp_path)
    return files | {SUMS: (tmp_path / SUMS).read_bytes()}


@pytest.fixture
def trained(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "trained"
    folder.mkdir()
    run = {"lineage": {"data": HASH}}
    return sealed(folder, {"tower.keras": b"a tower", "run.json": json.dumps(run).encode()})


@pytest.fixture
def service(sagemaker: SageMaker, trained: dict[str, bytes]) -> SageMaker:
    """A SageMaker with a training set in S3, whose jobs write a log and leave a model."""
    boto3.client("s3").put_object(Bucket="bank", Key="sets/c/set.json", Body=json.dumps({"data_hash": HASH}))
    leave(sagemaker, model_archive(trained))
    return sagemaker


def leave(sagemaker: SageMaker, archive: bytes) -> None:
    """What jobs do in these states."""
    logs, s3 = boto3.client("logs"), boto3.client("s3")
    written: list[str] = []

    def work(state: str, asked: dict[str, Any]) -> None:
        if state == "Training":  # after an interruption it comes twice, with a stream of its own each time
            if not written:
                logs.create_log_group(logGroupName=job.LOGS)
            stream = f"{asked['name']}/algo-1-{len(written)}"
            logs.create_log_stream(logGroupName=job.LOGS, logStreamName=stream)
            event = {"timestamp": int(1000 * time.time()), "message": LINES[len(written)]}
            logs.put_log_events(logGroupName=job.LOGS, logStreamName=stream, logEvents=[event])
            written.append(stream)
        if state == "Completed":
            s3.put_object(Bucket="bank", Key=f"jobs/{asked['name']}/output/model.tar.gz", Body=archive)

    sagemaker.on_state = work


def run(tmp_path: Path, *arguments: str) -> None:
    launch.main([*START, "--runs", str(tmp_path / "runs"), "--name", "first", *arguments])


def test_a_job_is_started_followed_and_fetched(
    tmp_path: Path, service: SageMaker, trained: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "--hyperparameter", "epochs=2")

    told = capfd.readouterr().err
    assert all(told.count(line) == 1 for line in LINES)
    assert "spot saved 70 %" in told
    fetched = tmp_path / "runs" / "first"
    assert {path.name: path.read_bytes() for path in fetched.iterdir()} == trained


def test_the_request_bounds_cost_and_carries_lineage(tmp_path: Path, service: SageMaker) -> None:
    safe = ["--subnet", "subnet-1", "--security-group", "sg-1", "--kms-key", "key-1", "--isolated"]
    kms = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    run(tmp_path, *[kms if argument == "key-1" else argument for argument in safe], "--tag", "team=fraud")

    (asked,) = service.asked("CreateTrainingJob")
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 14400}
    assert asked["EnableManagedSpotTraining"] is True
    assert asked["CheckpointConfig"] == {"S3Uri": "s3://bank/jobs/first/checkpoints"}
    assert asked["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://bank/sets/c/"
    assert asked["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert asked["OutputDataConfig"]["KmsKeyId"] == asked["ResourceConfig"]["VolumeKmsKeyId"] == kms
    assert asked["EnableNetworkIsolation"] is True
    assert {"Key": "team", "Value": "fraud"} in asked["Tags"]
    assert asked["Environment"]["COUNTERSIGN_DATA_HASH"] == HASH
    assert json.loads(asked["HyperParameters"]["sagemaker_program"]) == PROGRAM
    code = json.loads(asked["HyperParameters"]["sagemaker_submit_directory"]).removeprefix("s3://bank/")
    boto3.client("s3").head_object(Bucket="bank", Key=code)


def test_the_image_follows_the_instance_and_the_region(tmp_path: Path, service: SageMaker) -> None:
    run(tmp_path, "--instance", "ml.c5.xlarge", "--on-demand")

    (asked,) = service.asked("CreateTrainingJob")
    image = asked["AlgorithmSpecification"]["TrainingImage"]
    assert f".{cloud.REGION}.amazonaws.com/tensorflow-training:2.21-cpu" in image
    assert "MaxWaitTimeInSeconds" not in asked["StoppingCondition"]
    assert "gpu" in job.default_image(cloud.REGION, launch.GPU)


def test_a_dry_run_prints_the_request_and_sends_nothing(
    tmp_path: Path, service: SageMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, "--dry-run")

    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["TrainingJobName"] == "first"
    assert service.calls == []
    assert boto3.client("s3").list_objects_v2(Bucket="bank", Prefix="jobs/")["KeyCount"] == 0


def test_a_missing_region_is_named_and_aws_region_is_enough(
    tmp_path: Path, service: SageMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    aws.session.cache_clear()
    with pytest.raises(SystemExit):
        run(tmp_path, "--dry-run")
    assert f".{cloud.REGION}." in capsys.readouterr().out

    monkeypatch.delenv("AWS_REGION")
    aws.session.cache_clear()
    with pytest.raises(SystemExit, match="Set AWS_REGION"):
        run(tmp_path, "--dry-run")
    aws.session.cache_clear()


def test_the_log_says_what_cloudwatch_is_told_to_look_for(capsys: pytest.CaptureFixture[str]) -> None:
    container.tell(3, {"loss": 0.5, "val_loss": 0.25, "val_skilled_eer": 0.125, "val_random_eer": 1e-5})

    assert metrics_in(capsys.readouterr().out) == {
        "train:loss": 0.5,
        "validation:loss": 0.25,
        "validation:skilled_eer": 0.125,
        "validation:random_eer": 0.00001,
    }
    assert len(METRICS) == 4


def test_attaching_fetches_once_and_then_looks_only(tmp_path: Path, service: SageMaker) -> None:
    run(tmp_path)
    boto3.client("s3").delete_object(Bucket="bank", Key="jobs/first/output/model.tar.gz")

    launch.main(["--attach", "first", "--runs", str(tmp_path / "runs"), "--poll", "0"])

    assert len(service.asked("CreateTrainingJob")) == 1


def test_interrupting_the_following_leaves_the_job_running(tmp_path: Path, service: SageMaker) -> None:
    reached = threading.Event()
    service.job_states = [("InProgress", "Training")]
    service.on_state = lambda *_: reached.set()
    arguments = [*START[:-1], "0.05", "--name", "first", "--runs", str(tmp_path)]
    heeding = ["env", "--default-signal=INT"]  # a background shell's children inherit that Ctrl-C is ignored
    following = subprocess.Popen(
        [*heeding, sys.executable, "-m", "training.launch", *arguments], stderr=subprocess.PIPE, text=True
    )
    assert reached.wait(60)
    following.send_signal(signal.SIGINT)
    _, told = following.communicate(timeout=60)

    assert following.returncode == 130
    assert "--attach first" in " ".join(told.split())
    assert not service.asked("StopTrainingJob")


def test_a_job_can_be_stopped(tmp_path: Path, service: SageMaker) -> None:
    run(tmp_path)
    launch.main(["--stop", "first"])

    assert service.asked("StopTrainingJob") == [{"TrainingJobName": "first"}]
    with pytest.raises(SystemExit, match="ended as Stopped"):
        launch.main(["--attach", "first", "--poll", "0"])


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        ("AlgorithmError: OutdatedImage: this image has keras 2.11", "--image"),
        ("ClientError: Failed to pull the image from ECR", "--image"),
        ("CapacityError: Unable to provision requested ML compute capacity", "--instance"),
        ("AlgorithmError: BrokenTrainingSet: shard is missing", "training.prepare"),
    ],
)
def test_a_failed_job_is_told_with_the_setting_to_change(
    tmp_path: Path, service: SageMaker, failure: str, advice: str
) -> None:
    service.job_states, service.failure = [("InProgress", "Starting"), ("Failed", "Failed")], failure

    with pytest.raises(SystemExit) as ended:
        run(tmp_path)

    assert failure in str(ended.value)
    assert advice in str(ended.value)


def test_a_job_without_spot_capacity_says_what_to_raise(tmp_path: Path, service: SageMaker) -> None:
    service.job_states = [("Stopped", "MaxWaitTimeExceeded")]

    with pytest.raises(SystemExit, match="--max-wait-minutes"):
        run(tmp_path)


def test_throttling_is_waited_out(tmp_path: Path, service: SageMaker) -> None:
    service.faults = [("DescribeTrainingJob", "ThrottlingException", 400)]

    run(tmp_path)

    assert (tmp_path / "runs" / "first" / "run.json").exists()


@pytest.mark.parametrize(
    ("operation", "code", "complaint"),
    [
        ("CreateTrainingJob", "ExpiredTokenException", r"expired.*aws sso login.*AWS_PROFILE"),
        ("CreateTrainingJob", "UnrecognizedClientException", "does not know these credentials"),
        ("CreateTrainingJob", "AccessDeniedException", "policy of your role"),
        ("CreateTrainingJob", "ResourceLimitExceeded", "--instance"),
        ("DescribeTrainingJob", "ExpiredTokenException", "running job goes on"),
    ],
)
def test_what_aws_refuses_is_told_in_words(
    tmp_path: Path, service: SageMaker, operation: str, code: str, complaint: str
) -> None:
    service.faults = [(operation, code, 400)]

    with pytest.raises(SystemExit, match=complaint):
        run(tmp_path)


def test_endless_throttling_ends_with_what_to_do(tmp_path: Path, service: SageMaker) -> None:
    service.faults = [("CreateTrainingJob", "ThrottlingException", 400)] * 9

    with pytest.raises(SystemExit, match=r"throttled CreateTrainingJob .* Try again"):
        run(tmp_path)


def test_a_training_set_or_bucket_that_is_not_there_is_named_before_anything_starts(
    tmp_path: Path, service: SageMaker
) -> None:
    for address, complaint in (
        ("s3://nobody/c", "bucket nobody does not exist"),
        ("s3://bank/other", "no such object"),
    ):
        with pytest.raises(SystemExit, match=complaint):
            run(tmp_path, "--data", address)
    with pytest.raises(SystemExit, match="bucket nobody does not exist"):
        run(tmp_path, "--output", "s3://nobody/jobs")
    assert service.calls == []


def test_a_model_cut_short_is_refused(tmp_path: Path, service: SageMaker, trained: dict[str, bytes]) -> None:
    whole = model_archive(trained)
    leave(service, whole[: len(whole) // 2])

    with pytest.raises(SystemExit, match="cut short or damaged"):
        run(tmp_path)
    assert not (tmp_path / "runs" / "first").exists()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tower.keras": b"another tower"}, "another checksum"),
        ({"tower.keras": None}, "lacks tower.keras"),
        ({SUMS: None}, "did not end well"),
        ({"../outside": b"x"}, "cut short or damaged"),
    ],
)
def test_a_model_that_is_not_what_was_trained_is_refused(
    tmp_path: Path, service: SageMaker, trained: dict[str, bytes], changes: dict[str, bytes | None], complaint: str
) -> None:
    files = {name: content for name, content in (trained | changes).items() if content is not None}
    leave(service, model_archive(files))

    with pytest.raises(SystemExit, match=complaint):
        run(tmp_path)
    assert not (tmp_path / "runs" / "outside").exists()


def test_a_model_of_other_data_is_refused(tmp_path: Path, service: SageMaker) -> None:
    boto3.client("s3").put_object(Bucket="bank", Key="sets/c/set.json", Body=json.dumps({"data_hash": "f" * 64}))

    with pytest.raises(SystemExit, match="was trained on data 0123"):
        run(tmp_path)


def test_the_package_is_the_same_bytes_for_the_same_code_and_holds_no_model(tmp_path: Path) -> None:
    one, two = pack(tmp_path / "a"), pack(tmp_path / "b")

    assert (one.name, one.read_bytes()) == (two.name, two.read_bytes())
    with tarfile.open(one) as packed:
        names = packed.getnames()
    assert {PROGRAM, "requirements.txt", "training/folds.json", "embeddings/preprocess.py"} <= set(names)
    assert not [name for name in names if "bundles" in name or name.startswith(("tests", "service"))]


def test_an_outdated_image_is_told_before_anything_is_trained() -> None:
    container.check_image()
    with pytest.raises(OutdatedImage, match=r"keras 2\.11, .* change --image"):
        container.check_image({"python": (3, 12), "keras": (2, 11)})


def test_a_failure_lies_where_sagemaker_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_MODEL_DIR", str(tmp_path / "model"))
    monkeypatch.delenv("SM_OUTPUT_DIR", raising=False)
    with pytest.raises(OutdatedImage), container.reported():
        container.check_image({"python": (3, 9), "keras": (3, 15)})

    told = (tmp_path / "output" / "failure").read_text("utf-8")
    assert told.startswith("OutdatedImage: this image has python 3.9")
    assert len(told) <= 1024


SHIPPED = next((Path(__file__).parents[1] / "embeddings" / "bundles").iterdir())


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_published_version_comes_back_whole_and_never_changes(
    tmp_path: Path, sagemaker: SageMaker, kind: str
) -> None:
    place = "s3://bank/models" if kind == "s3" else str(tmp_path / "models")
    with launch._progress() as progress:
        assert store.publish(SHIPPED, place, progress) == f"{place}/{SHIPPED.name}"
        fetched = store.fetch(place, SHIPPED.name, tmp_path / "fetched", progress)
        with pytest.raises(VersionExists, match="--version"):
            store.publish(SHIPPED, place, progress)

    assert (fetched / MANIFEST).read_bytes() == (SHIPPED / MANIFEST).read_bytes()


def test_of_two_publishers_to_s3_at_one_moment_the_second_writes_nothing(
    tmp_path: Path, sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = copy_bundle(tmp_path / "1", "9.0"), copy_bundle(tmp_path / "2", "9.0", more_bias=1)
    upload = aws.upload_folder

    def while_another_publishes(*arguments: Any, **more: Any) -> None:
        monkeypatch.setattr(aws, "upload_folder", upload)
        with pytest.raises(VersionExists, match=r"--version, or delete s3://bank/models/9\.0/publishing\.json"):
            store.publish(second, "s3://bank/models", progress)
        upload(*arguments, **more)

    monkeypatch.setattr(aws, "upload_folder", while_another_publishes)
    with launch._progress() as progress:
        store.publish(first, "s3://bank/models", progress)
        fetched = store.fetch("s3://bank/models", "9.0", tmp_path / "fetched", progress)

    assert (fetched / MANIFEST).read_bytes() == (first / MANIFEST).read_bytes()


def test_of_two_publishers_to_a_folder_at_one_moment_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = copy_bundle(tmp_path / "1", "9.0"), copy_bundle(tmp_path / "2", "9.0", more_bias=1)
    models, copy = str(tmp_path / "models"), store.shutil.copytree

    def while_another_publishes(*arguments: Any) -> None:
        monkeypatch.setattr(store.shutil, "copytree", copy)
        copy(*arguments)
        store.publish(quick, models, progress)

    monkeypatch.setattr(store.shutil, "copytree", while_another_publishes)
    with launch._progress() as progress, pytest.raises(VersionExists, match="--version"):
        store.publish(slow, models, progress)

    assert (tmp_path / "models" / "9.0" / MANIFEST).read_bytes() == (quick / MANIFEST).read_bytes()
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["9.0"]


def test_an_interrupted_publication_goes_on(
    tmp_path: Path, sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = aws.upload

    def cut(s3: Any, path: Path, *arguments: Any, **more: Any) -> None:
        if path.name == MANIFEST:
            raise KeyboardInterrupt
        upload(s3, path, *arguments, **more)

    monkeypatch.setattr(aws, "upload", cut)
    with launch._progress() as progress:
        with pytest.raises(KeyboardInterrupt):
            store.publish(SHIPPED, "s3://bank/models", progress)
        monkeypatch.setattr(aws, "upload", upload)
        store.publish(SHIPPED, "s3://bank/models", progress)

        assert bundle.load(store.fetch("s3://bank/models", SHIPPED.name, tmp_path, progress))


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn:DeprecationWarning")
def test_an_evaluated_model_becomes_a_bundle_with_its_lineage(tmp_path: Path, service: SageMaker) -> None:
    """The figures are those of the shipped bundle, the tower is an untrained one: what counts is the way."""
    pytest.importorskip("tensorflow", reason="training/requirements.txt is not installed")
    from training.network import build_tower

    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    figures = json.loads((SHIPPED / "evaluation.json").read_text("utf-8"))
    (evaluation / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    folder = tmp_path / "made"
    folder.mkdir()
    build_tower().save(folder / "tower.keras")
    recipe = {"epochs": 1, "steps": 1, "seed": 1}
    described = {
        "recipe": recipe,
        "preprocessing_version": PREPROCESSING_VERSION,
        "collections": [],
        "lineage": {"data": HASH, "code": "c0ffee", "job": "first", "image": None},
    }
    files = {"tower.keras": (folder / "tower.keras").read_bytes(), "run.json": json.dumps(described).encode()}
    leave(service, model_archive(sealed(folder, files)))
    run(tmp_path)

    publishing = ["--evaluation", str(evaluation), "--version", "9.9", "--store", "s3://bank/models", "--poll", "0"]
    again = ["--attach", "first", "--runs", str(tmp_path / "runs"), *publishing]
    launch.main(again)
    boto3.client("s3").delete_object(Bucket="bank", Key=f"models/9.9/{MANIFEST}")  # as if it was cut before its end
    launch.main(again)

    with launch._progress() as progress:
        fetched = store.fetch("s3://bank/models", "9.9", tmp_path / "fetched", progress)
    assert bundle.load(fetched).model_version == "9.9"
    assert json.loads((fetched / "lineage.json").read_text("utf-8"))["data"] == HASH
