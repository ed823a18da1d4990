"""A tower that runs on a SageMaker endpoint: canvases go there, vectors come back. Images never leave this service.

The endpoint's variant carries the name of the tower it runs, and SageMaker says with every answer which variant gave
it. So an endpoint that was updated to another model is noticed by its first answer, and no vector of it is ever used.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from numpy.typing import NDArray

from embeddings.bundle import Bundle
from embeddings.identity import tower_name
from embeddings.tower import Vectors
from service.aws import client
from service.errors import Refused
from service.settings import BadSetting

log = structlog.get_logger()

LARGEST_BODY = 6_291_456  # bytes; the endpoint takes no more
OPENING, CLOSING = b'{"instances":[', b"]}"
PIXELS = np.array([b"[0],", b"[1],"])

ADVICE = {
    "ExpiredTokenException": "the AWS credentials have expired: renew them, or give the service a role",
    "UnrecognizedClientException": "AWS does not know these credentials: set AWS_PROFILE or the role of this host",
    "AccessDeniedException": "the role may not call sagemaker:InvokeEndpoint on this endpoint",
    "ValidationError": "COUNTERSIGN_TOWER names no endpoint in AWS_REGION that is in service and answers at once",
    "ThrottlingException": "the endpoint is throttled: raise --max-instances of training.deploy",
    "ModelError": "the container behind the endpoint failed: see its log in CloudWatch",
}


class SageMakerTower:
    """Raises `tower_unavailable` while the endpoint gives no answer, `tower_mismatch` where another model answers."""

    def __init__(self, bundle: Bundle, endpoint: str, timeout: float) -> None:
        self._variant = tower_name(bundle.model_version, bundle.tower)
        self._endpoint = endpoint.replace("{version}", self._variant)
        self._dimension = bundle.dimension
        # Three attempts: an instance that is replaced loses one. Timeouts bound what a caller waits: three of them.
        patience = Config(
            connect_timeout=min(timeout, 2),
            read_timeout=timeout,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        self._runtime = _client(patience)

    def check(self) -> None:
        """Raises `BadSetting` where the endpoint could never answer: it is asynchronous. A role that may not look, or
        an endpoint that is away, is no reason not to start: the first question tells."""
        once = Config(connect_timeout=2, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1})
        try:
            described = client("sagemaker", once).describe_endpoint(EndpointName=self._endpoint)
        except (ClientError, BotoCoreError) as problem:
            log.info("tower_not_looked_at", endpoint=self._endpoint, problem=_code(problem))
            return
        if "AsyncInferenceConfig" in described:
            raise BadSetting(
                f"COUNTERSIGN_TOWER names the asynchronous endpoint {self._endpoint}, which answers into S3, not "
                "here: deploy the tower with --mode realtime or serverless"
            )

    def embed(self, canvases: NDArray[np.float32]) -> Vectors:
        return np.concatenate([self._ask(body, count) for body, count in _requests(canvases)])

    def _ask(self, body: bytes, count: int) -> Vectors:
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self._endpoint,
                ContentType="application/json",
                Accept="application/json",
                CustomAttributes="tfs-model-name=tower",
                Body=body,
            )
            content = answer["Body"].read()
        except (ClientError, BotoCoreError) as problem:
            raise self._unavailable(problem) from problem
        if answer.get("InvokedProductionVariant") != self._variant:
            found = answer.get("InvokedProductionVariant")
            log.error("tower_mismatch", endpoint=self._endpoint, wanted=self._variant, found=found)
            raise Refused("tower_mismatch")
        return self._vectors(content, count)

    def _unavailable(self, problem: Exception) -> Refused:
        code = _code(problem)
        log.error("tower_unavailable", endpoint=self._endpoint, problem=code, advice=ADVICE.get(code))
        return Refused("tower_unavailable")

    def _vectors(self, content: bytes, count: int) -> Vectors:
        try:
            vectors = np.asarray(json.loads(content)["predictions"], np.float32)
        except (ValueError, KeyError, TypeError) as problem:
            raise self._unavailable(problem) from problem
        if vectors.shape != (count, self._dimension) or not np.isfinite(vectors).all():
            log.error("tower_mismatch", endpoint=self._endpoint, wanted=(count, self._dimension), found=vectors.shape)
            raise Refused("tower_mismatch")
        return vectors


def _code(problem: Exception) -> str:
    return str(problem.response["Error"]["Code"]) if isinstance(problem, ClientError) else type(problem).__name__


def _client(patience: Config) -> Any:
    try:
        return client("sagemaker-runtime", patience)
    except NoRegionError as problem:
        raise BadSetting("COUNTERSIGN_TOWER names an endpoint, but no AWS region is set: set AWS_REGION") from problem


def _requests(canvases: NDArray[np.float32]) -> Iterator[tuple[bytes, int]]:
    """Bodies in TensorFlow Serving's row format, each as large as may be, with how many canvases it holds."""
    room = LARGEST_BODY - len(OPENING) - len(CLOSING)
    batch: list[bytes] = []
    size = 0
    for written in map(_written, canvases):
        if batch and size + len(written) + 1 > room:
            yield OPENING + b",".join(batch) + CLOSING, len(batch)
            batch, size = [], 0
        batch.append(written)
        size += len(written) + 1
    yield OPENING + b",".join(batch) + CLOSING, len(batch)


def _written(canvas: NDArray[np.float32]) -> bytes:
    """A canvas (h, w) as JSON of (h, w, 1). Ink and paper alone are looked up, 30 times faster than `json.dumps`."""
    ink = canvas.astype(np.intp)
    if (ink != canvas).any() or ink.min() < 0 or ink.max() > 1:
        return json.dumps(canvas[..., np.newaxis].tolist()).encode()
    return b"[" + b",".join(b"[" + row.tobytes()[:-1] + b"]" for row in PIXELS[ink]) + b"]"
