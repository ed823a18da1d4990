"""What scales an endpoint: put on by a deployment, taken off for an update, put back where that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training import aws, endpoint
from training.aws import translated
from training.endpoint import NAMESPACE, Endpoint

POLICY_FIELDS = (
    "PolicyName",
    "PolicyType",
    "TargetTrackingScalingPolicyConfiguration",
    "StepScalingPolicyConfiguration",
    "PredictiveScalingPolicyConfiguration",
)


@dataclass(frozen=True)
class Scaling:
    """What scaled one variant: a target and its policies, as one would ask for them."""

    target: dict[str, Any]
    policies: list[dict[str, Any]]


def scale(wanted: Endpoint) -> None:
    """Registers the variant and keeps it at its target."""
    scaling = aws.client("application-autoscaling")
    target, policy = endpoint.scaling_requests(wanted)
    with translated(wanted.resource):
        scaling.register_scalable_target(**target)
        scaling.put_scaling_policy(**policy)


def unscale(name: str) -> list[Scaling]:
    """Nothing scales this endpoint any more; its policies go with the target. Answers what there was."""
    scaling, taken = aws.client("application-autoscaling"), []
    with translated(name):
        pages = scaling.get_paginator("describe_scalable_targets").paginate(ServiceNamespace=NAMESPACE)
        for target in [one for page in pages for one in page["ScalableTargets"]]:
            if target["ResourceId"].startswith(f"endpoint/{name}/variant/"):
                which = _only(target, "ServiceNamespace", "ResourceId", "ScalableDimension")
                found = scaling.describe_scaling_policies(**which)["ScalingPolicies"]
                scaling.deregister_scalable_target(**which)
                limits = _only(target, "MinCapacity", "MaxCapacity", "SuspendedState")
                taken.append(Scaling(which | limits, [which | _only(one, *POLICY_FIELDS) for one in found]))
    return taken


def put_back(taken: Sequence[Scaling]) -> None:
    """Scales an endpoint again as before. Raises CloudProblem."""
    scaling = aws.client("application-autoscaling")
    for one in taken:
        with translated(one.target["ResourceId"]):
            scaling.register_scalable_target(**one.target)
            for policy in one.policies:
                scaling.put_scaling_policy(**policy)


def _only(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}
