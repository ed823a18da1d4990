"""Every setting of the service, declared once. Only the factory and the command line read the environment."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "COUNTERSIGN_"
Bind = r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$"


class BadSetting(ValueError):
    """A setting is unusable; the message names the key, the value and what would be right."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    database_url: str = Field(
        "sqlite:///var/countersign.db",
        description="SQLAlchemy URL of the database: `sqlite:///FILE` (embedded) or `postgresql+psycopg://...`.",
    )
    keystore_url: str = Field(
        "file:var/keystore.json",
        description="Where the keys live that seal personal data. Never in the database, never in its backups.",
    )
    bundle: Path | None = Field(None, description="Folder of the model bundle; by default the one that ships.")
    tower: str = Field(
        "local",
        pattern=r"^(local|sagemaker:[A-Za-z0-9{}-]+)$",
        description="Where images are embedded: `local`, in this process, or `sagemaker:ENDPOINT`, where "
        "`training.deploy` put the same model; `{version}` in it is replaced by the tower's name.",
    )
    tower_timeout_seconds: float = Field(
        5,
        gt=0,
        le=15,  # three attempts must end before a server process is taken for stuck
        description="How long one attempt at a remote tower may take; there are three, then the caller gets "
        "`tower_unavailable`.",
    )
    models: Path | None = Field(
        None,
        description="Folder of this host with further model bundles, one folder each, that may be activated without "
        "a restart; every host needs them. `python -m service fetch-model` brings them there.",
    )
    model_store: str | None = Field(
        None,
        description="Where model versions are published, `s3://BUCKET/PREFIX` or a folder: `fetch-model` brings them "
        "from there to the folder of `COUNTERSIGN_MODELS`.",
    )
    bind: str = Field("127.0.0.1:8080", pattern=Bind, description="Address and port of the HTTP API.")
    metrics_bind: str = Field(
        "127.0.0.1:9464", pattern=Bind, description="Address and port of `/metrics`, apart from the API."
    )
    target_far: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of skilled forgeries that may be accepted on an account, by the model's measured errors; "
        "by default the model's own threshold. A request may name another.",
    )
    policy: Path | None = Field(
        None,
        description="JSON file with the decision policy: thresholds and demands by amount; by default the model's "
        "own thresholds for every amount. `docs/policy.md` has an example.",
    )
    workers: int = Field(2, ge=1, le=256, description="Server processes; one per core is right.")
    max_request_mb: int = Field(
        32, ge=1, le=1024, description="Largest request body in MiB; more answers 413 unread."
    )
    max_image_mb: int = Field(10, ge=1, le=1024, description="Largest single image in MiB.")
    index_refresh_seconds: float = Field(
        1.0,
        gt=0,
        le=60,
        description="How often a process catches up with enrolments and removals made elsewhere.",
    )
    change_retention_hours: float = Field(
        24,
        gt=0,
        description="How long index changes are kept; a process that slept longer rebuilds its index.",
    )
    activation_rate: float | None = Field(
        None,
        ge=1,
        description="Most specimens a second that an activation embeds again; by default as many as it can.",
    )
    activation_threads: int = Field(
        2,
        ge=1,
        le=64,
        description="Processes that embed during an activation, with less priority than requests have; one per core "
        "is right.",
    )
    shadow_hours: float = Field(
        24, gt=0, description="How long verifications are also scored with a version that is activated as a shadow."
    )
    claim_minutes: float = Field(
        30, gt=0, le=10_080, description="How long a claim of a referred verification keeps others from taking it."
    )
    evidence: Literal["all", "referred", "none"] = Field(
        "all",
        description="For which verifications the questioned image is kept, sealed, to show it to a person: `all`, "
        "`referred` or `none`.",
    )
    oidc_issuer: str | None = Field(
        None,
        pattern=r"^(https://|http://(localhost|127\.0\.0\.1)[:/])",
        description="OpenID Connect issuer whose tokens are accepted beside API keys, exactly as it names itself.",
    )
    oidc_audience: str | None = Field(
        None, description="What `aud` of a token must name: this service, as the issuer knows it."
    )
    oidc_scopes_claim: str = Field(
        "scope", description="The claim of a token that lists scopes, as a list or with spaces between them."
    )
    tls_in_front: bool = Field(
        False,
        description="TLS ends in front of this service, and nobody reaches it otherwise: answers then tell browsers "
        "to use nothing else (HSTS).",
    )
    rate_limit: float | None = Field(
        None,
        gt=0,
        description="Most requests a second of one caller, on this host; by default as many as the host can answer. "
        "More answers 429 `too_many_requests`.",
    )
    rate_burst: int = Field(
        20, ge=1, le=100_000, description="How many requests of one caller may come at once, where there is a limit."
    )
    account_misses: int = Field(
        10,
        ge=0,
        description="Most verifications of one account that miss, rejected or below `accept`, for one caller without "
        "the scope `review`; more answers 429 `account_locked_out`. 0: no limit.",
    )
    account_lockout_minutes: float = Field(
        60, gt=0, le=525_600, description="How long misses count, from the first of them."
    )
    audit_heads: str | None = Field(
        None,
        pattern=r"^(file:.+|s3://[^/]+(/.*)?)$",
        description="Where signed heads of the audit trail go, outside the database: `file:PATH`, only ever appended "
        "to, or `s3://BUCKET/PREFIX`, best with an object lock. Without it a cut-off end of the trail is not found.",
    )
    idempotency_hours: float = Field(24, gt=0, description="How long an `Idempotency-Key` replays its answer.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged, as one JSON object a line on standard error."
    )
    data: Path | None = Field(
        None,
        description="Folder with real signature images, for tests and training only; the service never reads it.",
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        try:
            backend = make_url(url).get_backend_name()
        except ArgumentError as problem:
            raise ValueError("is not a SQLAlchemy URL") from problem
        if backend not in {"sqlite", "postgresql"}:
            raise ValueError("must begin with sqlite: or postgresql+psycopg:")
        return url

    @model_validator(mode="after")
    def _tokens_for_whom(self) -> "Settings":
        if self.oidc_issuer is not None and not self.oidc_audience:
            raise ValueError(f"{PREFIX}OIDC_ISSUER needs {PREFIX}OIDC_AUDIENCE: a token for others is none for us")
        return self

    @field_validator("models")
    @classmethod
    def _folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and re.match(r"[a-z0-9]+:/", str(folder)):  # pathlib takes one of two slashes away
            raise ValueError("must be a folder of this host; COUNTERSIGN_MODEL_STORE is where models come from")
        return folder

    @field_validator("model_store")
    @classmethod
    def _known_store(cls, address: str | None) -> str | None:
        if address is not None and not re.match(r"s3://[^/]+(/|$)|(?![a-z0-9]+://).", address):
            raise ValueError("must be s3://BUCKET/PREFIX or a folder")
        return address

    @field_validator("keystore_url")
    @classmethod
    def _known_keystore(cls, url: str) -> str:
        if not url.startswith("file:") or url == "file:":
            raise ValueError("must be file:PATH")
        return url


def load_settings(**values: Any) -> Settings:
    """Settings from the environment, `values` first; raises `BadSetting` that names key and value."""
    try:
        return Settings(**values)
    except ValidationError as problem:
        raise BadSetting("; ".join(_complaint(error) for error in problem.errors())) from problem


def _complaint(error: Any) -> str:
    if not error["loc"]:  # two settings do not fit each other
        return str(error["msg"])
    name = str(error["loc"][0])
    value = "(not shown)" if name.endswith("_url") and "@" in str(error["input"]) else repr(error["input"])
    return f"{PREFIX}{name.upper()}={value}: {error['msg']}"
