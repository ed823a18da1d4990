"""Reading what `training` published to S3."""

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from service.aws import client
from service.model_store import S3, STORE, NotThere, Reader, StoreProblem

PATIENCE = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 6})
ABSENT = {"NoSuchKey", "404"}
CREDENTIALS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or give this host a role"

EXPIRED = f"the AWS credentials have expired: renew them ({CREDENTIALS})"
UNKNOWN = f"AWS does not know these credentials: {CREDENTIALS}"
DENIED = "the role of this host may not read it: it needs s3:GetObject, s3:ListBucket and, under a key, kms:Decrypt"
BUSY = "S3 throttles this host: try again in a minute"
ADVICE = {
    "ExpiredToken": EXPIRED,
    "RequestExpired": EXPIRED,
    "TokenRefreshRequired": EXPIRED,
    "InvalidAccessKeyId": UNKNOWN,
    "SignatureDoesNotMatch": UNKNOWN,
    "InvalidToken": UNKNOWN,
    "AccessDenied": DENIED,
    "AllAccessDisabled": DENIED,
    "SlowDown": BUSY,
    "RequestLimitExceeded": BUSY,
    "ServiceUnavailable": BUSY,
    "NoSuchBucket": f"this bucket does not exist: change {STORE}, or AWS_REGION if it lies elsewhere",
    "InvalidBucketName": f"this bucket cannot exist: change {STORE}",
}


def open_reader(address: str) -> Reader:
    """Of the files below an `s3://` address. Raises `StoreProblem`."""
    bucket, _, prefix = address.removeprefix(S3).partition("/")

    def read(name: str) -> bytes:
        key = f"{prefix}/{name}"
        try:
            answer = s3.get_object(Bucket=bucket, Key=key)
            content: bytes = answer["Body"].read()  # the tower is the largest, and has less than 10 MB
        except ClientError as problem:
            if problem.response["Error"]["Code"] in ABSENT:
                raise NotThere(name) from problem
            raise _told(problem, f"{S3}{bucket}/{key}") from problem
        except BotoCoreError as problem:
            raise _told(problem, f"{S3}{bucket}/{key}") from problem
        return content

    try:
        s3 = client("s3", PATIENCE)
    except BotoCoreError as problem:  # a profile that is not there
        raise _told(problem, address) from problem
    return read


def _told(problem: ClientError | BotoCoreError, where: str) -> StoreProblem:
    if isinstance(problem, (NoCredentialsError, PartialCredentialsError, ProfileNotFound)):
        return StoreProblem(f"{where}: there are no AWS credentials ({problem}): {CREDENTIALS}")
    if isinstance(problem, ClientError):
        code = problem.response["Error"]["Code"]
        return StoreProblem(f"{where}: {ADVICE.get(code, f'{problem}: see {STORE} and AWS_REGION')} ({code})")
    return StoreProblem(f"{where}: {problem} Try again, and check the network, {STORE} and AWS_REGION")
