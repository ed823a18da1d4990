"""AWS as the service asks it. Whoever imports this pays a third of a second for boto3, so only who needs it does."""

import os
from typing import Any

import boto3
from botocore.config import Config


def client(service: str, patience: Config) -> Any:
    """With AWS_REGION, which everything of AWS's reads but boto3 itself; credentials come from where boto3 looks."""
    return boto3.session.Session(region_name=os.environ.get("AWS_REGION")).client(service, config=patience)
