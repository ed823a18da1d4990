"""A small SageMaker over HTTP: what moto does not know. Every request and every answer is held against botocore's own
model of the service, so it cannot drift from what AWS takes and gives.

It keeps jobs, models, endpoint configurations and endpoints; jobs and endpoints go through the states they are given,
one a question. `faults` are answered first: (operation, error code, HTTP status).
"""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import botocore.session
import numpy as np
from botocore.validate import ParamValidator

ACCOUNT = "arn:aws:sagemaker:eu-central-1:123456789012"
LARGEST_BODY = 6_291_456
COMPLETED = [
    ("InProgress", "Starting"),
    ("InProgress", "Downloading"),
    ("InProgress", "Training"),
    ("InProgress", "Interrupted"),
    ("InProgress", "Training"),
    ("InProgress", "Uploading"),
    ("Completed", "Completed"),
]

Embed = Callable[[np.ndarray], np.ndarray]


class Complaint(Exception):
    """An error of the service: code, message, HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class SageMaker:
    def __init__(self) -> None:
        self.reset()
        self._model = botocore.session.get_session().get_service_model("sagemaker")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def reset(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[tuple[str, str, int]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.job_states = list(COMPLETED)
        self.endpoint_states = ["Creating", "InService"]
        self.update_states = ["Updating", "InService"]
        self.rolls_back = False
        self.failure: str | None = None
        self.on_state: Callable[[str, dict[str, Any]], None] = lambda _state, _job: None
        self.embed: Embed | None = None
        self.delay = 0.0

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.calls if name == operation]

    def call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((operation, arguments))
        self._fail(operation)
        known = self._model.operation_model(operation)
        _hold(arguments, known.input_shape, f"the request {operation}")
        answer: dict[str, Any] = getattr(self, f"_{operation}")(**arguments) or {}
        if known.output_shape is not None:
            _hold(answer, known.output_shape, f"the answer of {operation}")
        return answer

    def invoke(self, name: str, attributes: str, body: bytes) -> tuple[dict[str, Any], dict[str, str]]:
        """As SageMaker and the TensorFlow Serving container behind it answer."""
        self.calls.append(
            ("InvokeEndpoint", {"EndpointName": name, "CustomAttributes": attributes, "bytes": len(body)})
        )
        time.sleep(self.delay)
        self._fail("InvokeEndpoint")
        if len(body) > LARGEST_BODY:
            raise Complaint("ValidationError", "the body is larger than 6291456 bytes", 413)
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            raise Complaint("ValidationError", f"Endpoint {name} of account 123456789012 not found.")
        if "AsyncInferenceConfig" in self.configs[endpoint["EndpointConfigName"]]:
            raise Complaint("ValidationError", f"Endpoint {name} is asynchronous.")
        variant = self.configs[endpoint["EndpointConfigName"]]["ProductionVariants"][0]["VariantName"]
        return self._predict(attributes, body), {"x-Amzn-Invoked-Production-Variant": variant}

    def invoke_later(self, name: str, attributes: str, question: str) -> dict[str, str]:
        """An asynchronous endpoint: it reads and writes S3, and tells only where its answer will be."""
        self.calls.append(("InvokeEndpointAsync", {"EndpointName": name, "InputLocation": question}))
        self._fail("InvokeEndpointAsync")
        config = self.configs[self.endpoints[name]["EndpointConfigName"]]
        answers, failures = (
            f"{config['AsyncInferenceConfig']['OutputConfig'][where]}/{len(self.calls)}.out"
            for where in ("S3OutputPath", "S3FailurePath")
        )
        s3 = boto3.client("s3")
        try:
            body = s3.get_object(**_place(question))["Body"].read()
            self._fail("the container")
            where, content = answers, json.dumps(self._predict(attributes, body)).encode()
        except Complaint as complaint:
            where, content = failures, str(complaint).encode()
        write = threading.Timer(self.delay, lambda: s3.put_object(**_place(where), Body=content))
        write.daemon = True
        write.start()
        return {"X-Amzn-SageMaker-OutputLocation": answers, "X-Amzn-SageMaker-FailureLocation": failures}

    def _predict(self, attributes: str, body: bytes) -> dict[str, Any]:
        if attributes != "tfs-model-name=tower":
            raise Complaint("ModelError", "the container knows no such model", 424)
        canvases = np.asarray(json.loads(body)["instances"], np.float32)
        assert canvases.shape[1:] == (128, 256, 1), canvases.shape
        assert self.embed is not None
        return {"predictions": self.embed(canvases).tolist()}

    def serve(self, name: str, variant: str, embed: Embed) -> None:
        """An endpoint that is in service already."""
        self.configs[name] = {"ProductionVariants": [{"VariantName": variant}]}
        self.endpoints[name] = {"EndpointConfigName": name, "states": ["InService"]}
        self.embed = embed

    def _fail(self, operation: str) -> None:
        for fault in self.faults:
            if fault[0] == operation:
                self.faults.remove(fault)
                raise Complaint(fault[1], "said the stand-in", fault[2])

    def _CreateTrainingJob(self, TrainingJobName: str, **rest: Any) -> dict[str, Any]:  # noqa: N802, N803
        if TrainingJobName in self.jobs:
            raise Complaint("ResourceInUse", "Training job names must be unique")
        self.jobs[TrainingJobName] = {"asked": rest, "states": list(self.job_states), "told": None}
        return {"TrainingJobArn": f"{ACCOUNT}:training-job/{TrainingJobName}"}

    def _DescribeTrainingJob(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N802, N803
        job = _find(self.jobs, TrainingJobName, "Requested resource not found.")
        status, secondary = job["states"].pop(0) if len(job["states"]) > 1 else job["states"][0]
        if (status, secondary) != job["told"]:
            self.on_state(secondary, {"name": TrainingJobName, **job["asked"]})
            job["told"] = (status, secondary)
        output = job["asked"]["OutputDataConfig"]["S3OutputPath"]
        keys = ("HyperParameters", "Environment", "ResourceConfig", "StoppingCondition")
        return {
            "TrainingJobName": TrainingJobName,
            "TrainingJobArn": f"{ACCOUNT}:training-job/{TrainingJobName}",
            "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{TrainingJobName}/output/model.tar.gz"},
            "TrainingJobStatus": status,
            "SecondaryStatus": secondary,
            "CreationTime": datetime.now(UTC),
            "TrainingTimeInSeconds": 300,
            "BillableTimeInSeconds": 90,
            **({"FailureReason": self.failure} if self.failure and status == "Failed" else {}),
            **{key: job["asked"][key] for key in keys if key in job["asked"]},
        }

    def _StopTrainingJob(self, TrainingJobName: str) -> None:  # noqa: N802, N803
        _find(self.jobs, TrainingJobName, "Requested resource not found.")["states"] = [
            ("Stopping", "Stopping"),
            ("Stopped", "Stopped"),
        ]

    def _CreateModel(self, ModelName: str, **rest: Any) -> dict[str, Any]:  # noqa: N802, N803
        if ModelName in self.models:
            raise Complaint("ValidationException", f'Cannot create already existing model "{ModelName}".')
        self.models[ModelName] = rest
        return {"ModelArn": f"{ACCOUNT}:model/{ModelName}"}

    def _DeleteModel(self, ModelName: str) -> None:  # noqa: N802, N803
        _find(self.models, ModelName, "Could not find model.")
        del self.models[ModelName]

    def _CreateEndpointConfig(self, EndpointConfigName: str, **rest: Any) -> dict[str, Any]:  # noqa: N802, N803
        if EndpointConfigName in self.configs:
            raise Complaint("ValidationException", "Cannot create already existing endpoint configuration.")
        for variant in rest["ProductionVariants"]:
            _find(self.models, variant["ModelName"], "Could not find model.")
        self.configs[EndpointConfigName] = rest
        return {"EndpointConfigArn": f"{ACCOUNT}:endpoint-config/{EndpointConfigName}"}

    def _DescribeEndpointConfig(self, EndpointConfigName: str) -> dict[str, Any]:  # noqa: N802, N803
        found = _find(self.configs, EndpointConfigName, "Could not find endpoint configuration.")
        return {
            "EndpointConfigName": EndpointConfigName,
            "EndpointConfigArn": f"{ACCOUNT}:endpoint-config/{EndpointConfigName}",
            "ProductionVariants": found["ProductionVariants"],
            "CreationTime": datetime.now(UTC),
        } | {key: found[key] for key in ("AsyncInferenceConfig",) if key in found}

    def _DeleteEndpointConfig(self, EndpointConfigName: str) -> None:  # noqa: N802, N803
        _find(self.configs, EndpointConfigName, "Could not find endpoint configuration.")
        del self.configs[EndpointConfigName]

    def _CreateEndpoint(self, EndpointName: str, EndpointConfigName: str, **_: Any) -> dict[str, Any]:  # noqa: N802, N803
        _find(self.configs, EndpointConfigName, "Could not find endpoint configuration.")
        self.endpoints[EndpointName] = {
            "EndpointConfigName": EndpointConfigName,
            "states": list(self.endpoint_states),
        }
        return {"EndpointArn": f"{ACCOUNT}:endpoint/{EndpointName}"}

    def _UpdateEndpoint(self, EndpointName: str, EndpointConfigName: str, **_: Any) -> dict[str, Any]:  # noqa: N802, N803
        endpoint = _find(self.endpoints, EndpointName, f"Could not find endpoint {EndpointName}.")
        _find(self.configs, EndpointConfigName, "Could not find endpoint configuration.")
        if endpoint["states"][0] != "InService":
            raise Complaint("ValidationException", f"Cannot update in-progress endpoint {EndpointName}.")
        endpoint |= {"wanted": EndpointConfigName, "states": list(self.update_states)}
        return {"EndpointArn": f"{ACCOUNT}:endpoint/{EndpointName}"}

    def _DescribeEndpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N802, N803
        endpoint = _find(self.endpoints, EndpointName, f"Could not find endpoint {EndpointName}.")
        states = endpoint["states"]
        status = states.pop(0) if len(states) > 1 else states[0]
        if status == "InService" and "wanted" in endpoint:
            wanted = endpoint.pop("wanted")
            endpoint["EndpointConfigName"] = endpoint["EndpointConfigName"] if self.rolls_back else wanted
        config = self.configs[endpoint["EndpointConfigName"]]
        return {
            "EndpointName": EndpointName,
            "EndpointArn": f"{ACCOUNT}:endpoint/{EndpointName}",
            "EndpointConfigName": endpoint["EndpointConfigName"],
            "EndpointStatus": status,
            "CreationTime": datetime.now(UTC),
            "LastModifiedTime": datetime.now(UTC),
            **({"FailureReason": self.failure} if self.failure else {}),
            **{key: config[key] for key in ("AsyncInferenceConfig",) if key in config},
        }

    def _DeleteEndpoint(self, EndpointName: str) -> None:  # noqa: N802, N803
        _find(self.endpoints, EndpointName, f"Could not find endpoint {EndpointName}.")
        del self.endpoints[EndpointName]


def _find(known: dict[str, dict[str, Any]], name: str, message: str) -> dict[str, Any]:
    if name not in known:
        raise Complaint("ValidationException", message)
    return known[name]


def _place(address: str) -> dict[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _hold(values: dict[str, Any], shape: Any, what: str) -> None:
    report = ParamValidator().validate(values, shape)
    if report.has_errors():
        raise Complaint("SerializationException", f"{what} is not what botocore knows: {report.generate_report()}")


def _handler(service: SageMaker) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            try:
                self._send(*self._answer(body))
            except Complaint as complaint:
                named = {"__type": complaint.code, "message": str(complaint), "Message": str(complaint)}
                self._send(complaint.status, named, {"x-amzn-ErrorType": complaint.code})

        def _answer(self, body: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
            target = self.headers.get("X-Amz-Target")
            if target is not None:
                return 200, service.call(target.removeprefix("SageMaker."), json.loads(body)), {}
            _, _, name, how = self.path.split("/")
            attributes = self.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
            if how == "async-invocations":
                question = self.headers["X-Amzn-SageMaker-InputLocation"]
                return 202, {"InferenceId": "1"}, service.invoke_later(name, attributes, question)
            return 200, *service.invoke(name, attributes, body)

        def _send(self, status: int, answer: dict[str, Any], headers: dict[str, str]) -> None:
            content = json.dumps(answer, default=lambda moment: moment.timestamp()).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                pass  # whoever asked stopped waiting

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
