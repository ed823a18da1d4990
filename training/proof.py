"""Proof that an endpoint does what its bundle's tower does: asked for drawn signatures, it must answer the same."""

from __future__ import annotations

import json
import time

import numpy as np

from embeddings.bundle import Bundle
from embeddings.tower import LiteRTTower
from training import aws, synthetic
from training.aws import CloudProblem, translated
from training.endpoint import Endpoint

TOLERANCE = 1e-3
PATIENCE_SECONDS = 900  # an asynchronous endpoint may first have to start an instance
ASKED_AS = {"ContentType": "application/json", "CustomAttributes": "tfs-model-name=tower"}


class WrongEndpoint(RuntimeError):
    """The endpoint does not do what this bundle's tower does."""


def prove(wanted: Endpoint, loaded: Bundle, poll: float) -> float:
    """The largest difference between the endpoint's vectors and this machine's, on drawn signatures. Raises
    WrongEndpoint above `TOLERANCE`."""
    canvases = synthetic.canvases([10_000], genuine=1, forged=0).pixels
    expected = LiteRTTower(loaded.tower).embed(canvases.astype(np.float32))
    body = json.dumps({"instances": canvases[..., None].tolist()}).encode()
    with translated(wanted.name):
        variant, answer = _ask_through_s3(wanted, body, poll) if wanted.mode == "async" else _ask(wanted, body)
    found = np.asarray(json.loads(answer)["predictions"], np.float32)
    worst = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    if variant != wanted.variant or not worst <= TOLERANCE:
        raise WrongEndpoint(
            f"{wanted.name} answers otherwise than the bundle's tower (by {worst:.1e}): deploy it again"
        )
    return worst


def _ask(wanted: Endpoint, body: bytes) -> tuple[str | None, bytes]:
    """The variant that answered, and its answer."""
    answer = aws.client("sagemaker-runtime").invoke_endpoint(EndpointName=wanted.name, Body=body, **ASKED_AS)
    return answer.get("InvokedProductionVariant"), answer["Body"].read()


def _ask_through_s3(wanted: Endpoint, body: bytes, poll: float) -> tuple[str, bytes]:
    """The same of an asynchronous endpoint, which does not say who answered: it has one variant."""
    assert wanted.output is not None
    s3, question = aws.client("s3"), wanted.output / f"questions/{wanted.variant}.json"
    sealed = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": wanted.kms_key} if wanted.kms_key else {}
    s3.put_object(Bucket=question.bucket, Key=question.key, Body=body, **sealed)
    told = aws.client("sagemaker-runtime").invoke_endpoint_async(
        EndpointName=wanted.name, InputLocation=str(question), **ASKED_AS
    )
    given_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < given_up:
        answer = aws.read(s3, aws.place(told["OutputLocation"]))
        if answer is not None:
            return wanted.variant, answer
        failure = aws.read(s3, aws.place(told["FailureLocation"])) if "FailureLocation" in told else None
        if failure is not None:
            raise WrongEndpoint(f"{wanted.name} failed: {failure[:500].decode(errors='replace')}: see CloudWatch")
        time.sleep(poll)
    raise CloudProblem(f"{wanted.name} gave no answer in {PATIENCE_SECONDS // 60} minutes: see its log in CloudWatch")
