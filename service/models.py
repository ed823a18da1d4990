"""The tables. The schema itself is only ever built by the migrations; a test holds both together.

Rows about a person hang off `customers.id` and go with it. Rows about what happened (verifications, events,
receipts, changes) outlive the person and name nobody.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only columns declared INTEGER


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC times, also on SQLite, which forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("times carry a zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _one_in_force(name: str, *columns: str) -> Index:
    """The database sees to it that one version is in force, whoever writes at the same moment."""
    in_force = text("superseded_at IS NULL")
    return Index(name, *columns, unique=True, sqlite_where=in_force, postgresql_where=in_force)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime, dict[str, Any]: JSON, list[str]: JSON, list[Any]: JSON}  # noqa: RUF012


class Sealed:
    """Columns of a value that only the vault can open."""

    key_id: Mapped[str] = mapped_column(String(32))
    nonce: Mapped[bytes] = mapped_column(LargeBinary(12))
    sealed: Mapped[bytes]


class Customer(Sealed, Base):
    """`lookup` is the keyed hash of the caller's `customer_id`; the seal holds `customer_id` and `name`."""

    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    owner: Mapped[str] = mapped_column(String(32), unique=True)
    lookup: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]

    specimens: Mapped[list["Specimen"]] = relationship(
        back_populates="customer", order_by="Specimen.id", passive_deletes=True
    )
    signatory_of: Mapped[list["Signatory"]] = relationship(
        primaryjoin="and_(Signatory.customer_id == Customer.id, Signatory.superseded_at.is_(None))",
        viewonly=True,
    )

    __table_args__ = ({"sqlite_autoincrement": True},)


class Specimen(Sealed, Base):
    """The seal holds the image as it was sent; it is empty where a policy deleted it. `model_version` read it at
    enrolment; `needs_reenrolment` is a version that cannot read it any more."""

    __tablename__ = "specimens"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    specimen_id: Mapped[str] = mapped_column(String(40), unique=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"), index=True)
    status: Mapped[str] = mapped_column(String(16))
    quality_codes: Mapped[list[str]]
    model_version: Mapped[str] = mapped_column(String(64))
    needs_reenrolment: Mapped[str | None] = mapped_column(String(64))
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]
    created_at: Mapped[datetime]
    sealed: Mapped[bytes] = mapped_column(deferred=True)  # an image is large and rarely wanted

    customer: Mapped[Customer] = relationship(back_populates="specimens")
    templates: Mapped[list["Template"]] = relationship(passive_deletes=True)

    __table_args__ = (
        CheckConstraint("status IN ('active', 'pending', 'retired')", name="status"),
        # Whose templates are missing is asked in front of everybody who writes: without a look at the images.
        Index("ix_specimens_status", "status", "needs_reenrolment"),
        {"sqlite_autoincrement": True},
    )


class Template(Sealed, Base):
    """One vector of one specimen under one model version. `vector_id` is never used again."""

    __tablename__ = "templates"

    vector_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id", ondelete="CASCADE"))
    model_version: Mapped[str] = mapped_column(String(64))
    copy: Mapped[int]

    __table_args__ = (
        UniqueConstraint("specimen_id", "model_version", "copy"),
        {"sqlite_autoincrement": True},
    )


class TemplateChange(Base):
    """What every index must do, in order. No identity and no vector, so it may outlive the person."""

    __tablename__ = "template_changes"

    seq: Mapped[int] = mapped_column(BigId, primary_key=True)
    op: Mapped[str] = mapped_column(String(6))
    vector_id: Mapped[int] = mapped_column(BigInteger)
    model_version: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (CheckConstraint("op IN ('add', 'remove')", name="op"), {"sqlite_autoincrement": True})


class ChangeMark(Base):
    """One row: changes up to and including `low_water` may be gone."""

    __tablename__ = "change_mark"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    low_water: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (CheckConstraint("id = 1", name="single"),)


class ActiveModel(Base):
    """One row, once a switch was made: from its commit on every process on every host works with this version.
    Without the row it is the bundle that the settings name."""

    __tablename__ = "active_model"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    model_version: Mapped[str] = mapped_column(String(64))
    previous_version: Mapped[str] = mapped_column(String(64))
    switched_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("id = 1", name="single"),)


class Activation(Base):
    """The way of a model version into service. `slot` is 1 while it is on its way and unique, so the database sees to
    it that one is."""

    __tablename__ = "activations"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    activation_id: Mapped[str] = mapped_column(String(40), unique=True)
    model_version: Mapped[str] = mapped_column(String(64))
    from_version: Mapped[str] = mapped_column(String(64))
    mode: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    slot: Mapped[int | None] = mapped_column(unique=True)
    done: Mapped[int]
    total: Mapped[int]
    needs_reenrolment: Mapped[int]
    problem: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]
    shadow_until: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("mode IN ('shadow', 'switch', 'rollback')", name="mode"),
        CheckConstraint("state IN ('reembedding', 'shadowing', 'done', 'failed')", name="state"),
        {"sqlite_autoincrement": True},
    )


class ShadowResult(Base):
    """What a version in the shadow would have answered. It goes with the person whose signature it saw."""

    __tablename__ = "shadow_results"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    activation_id: Mapped[int] = mapped_column(ForeignKey("activations.id", ondelete="CASCADE"))
    verification_id: Mapped[int] = mapped_column(ForeignKey("verifications.id", ondelete="CASCADE"), index=True)
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"), index=True)
    outcome: Mapped[str] = mapped_column(String(16))
    score: Mapped[float | None]

    __table_args__ = (
        UniqueConstraint("activation_id", "verification_id"),
        CheckConstraint("outcome IN ('accept', 'refer', 'reject', 'not_enrolled')", name="outcome"),
    )


class Account(Base):
    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[str] = mapped_column(String(128), unique=True)
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)


class Mandate(Base):
    """One version of who must sign. The one in force has no `superseded_at`; old ones stay."""

    __tablename__ = "mandates"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    rules: Mapped[list[Any]]
    always_refer: Mapped[bool]
    instructions: Mapped[str | None] = mapped_column(String(2000))
    recorded_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None]

    __table_args__ = (
        _one_in_force("uq_mandates_in_force", "account_id"),
        Index("ix_mandates_account_id", "account_id"),
        {"sqlite_autoincrement": True},
    )


class Signatory(Base):
    """One version of one person's place on an account. When the person is erased the row stays, as `pseudonym`."""

    __tablename__ = "signatories"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id", ondelete="SET NULL"), index=True)
    pseudonym: Mapped[str | None] = mapped_column(String(32))
    group: Mapped[str] = mapped_column("signatory_group", String(32))
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]
    amount_limit: Mapped[Decimal | None] = mapped_column(Numeric(18, 2))
    recorded_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship()
    customer: Mapped[Customer | None] = relationship()

    __table_args__ = (
        _one_in_force("uq_signatories_in_force", "account_id", "customer_id"),
        {"sqlite_autoincrement": True},
    )


class Verification(Base):
    """What was asked and answered. `account_id` is text: the record outlives the account."""

    __tablename__ = "verifications"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    verification_id: Mapped[str] = mapped_column(String(40), unique=True)
    account_id: Mapped[str] = mapped_column(String(128), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(16))
    score: Mapped[float | None]
    accept_at: Mapped[float]
    reject_at: Mapped[float]
    reasons: Mapped[list[str]]
    error_rates: Mapped[dict[str, Any]]
    model_version: Mapped[str] = mapped_column(String(64))
    signed_on: Mapped[date]
    amount: Mapped[Decimal | None] = mapped_column(Numeric(18, 2))
    currency: Mapped[str | None] = mapped_column(String(3))
    reference: Mapped[str | None] = mapped_column(String(128))
    timings_ms: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]

    signatures: Mapped[list["FoundSignature"]] = relationship(order_by="FoundSignature.position")
    candidates: Mapped[list["Candidate"]] = relationship(order_by="Candidate.id")
    review: Mapped["Review | None"] = relationship(cascade="all, delete-orphan", passive_deletes=True)

    __table_args__ = (
        CheckConstraint("outcome IN ('accept', 'refer', 'reject')", name="outcome"),
        CheckConstraint("state IN ('open', 'claimed', 'closed')", name="state"),
        # With the id, a page of a long queue is read in its order and nothing is sorted.
        Index("ix_verifications_queue", "state", "outcome", "id"),
        {"sqlite_autoincrement": True},
    )


class Match:
    """A score against a person's specimen. Both references empty themselves when the person goes."""

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    verification_id: Mapped[int] = mapped_column(ForeignKey("verifications.id", ondelete="CASCADE"), index=True)
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id", ondelete="SET NULL"), index=True)
    specimen_id: Mapped[int | None] = mapped_column(ForeignKey("specimens.id", ondelete="SET NULL"), index=True)
    score: Mapped[float | None]

    @declared_attr
    def customer(self) -> Mapped[Customer | None]:
        return relationship()

    @declared_attr
    def specimen(self) -> Mapped[Specimen | None]:
        return relationship()


class FoundSignature(Match, Base):
    """A signature found on the questioned image and the signatory it is assigned to. The seal holds its bare
    ink, by which a copy of it on a later cheque is known again; a removal empties it."""

    __tablename__ = "verification_signatures"

    position: Mapped[int]
    box: Mapped[list[Any]]
    key_id: Mapped[str | None] = mapped_column(String(32))
    nonce: Mapped[bytes | None] = mapped_column(LargeBinary(12))
    sealed: Mapped[bytes | None] = mapped_column(deferred=True)


class Candidate(Match, Base):
    """A signatory of the account and the best score against that person's specimens."""

    __tablename__ = "verification_candidates"


class QuestionedImage(Sealed, Base):
    """The image that a verification was about, for evidence; it goes with anyone whom the verification names."""

    __tablename__ = "questioned_images"

    verification_id: Mapped[int] = mapped_column(
        ForeignKey("verifications.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )


class Review(Base):
    """A person looks at a referred verification. Where its state is open again, the claim ran out and waits for
    whoever comes first. The seal holds the note, which may name people."""

    __tablename__ = "reviews"

    verification_id: Mapped[int] = mapped_column(
        ForeignKey("verifications.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    claimed_by: Mapped[str] = mapped_column(String(40))
    claimed_at: Mapped[datetime]
    decision: Mapped[str | None] = mapped_column(String(16))
    decided_by: Mapped[str | None] = mapped_column(String(40))
    decided_at: Mapped[datetime | None]
    key_id: Mapped[str | None] = mapped_column(String(32))
    nonce: Mapped[bytes | None] = mapped_column(LargeBinary(12))
    sealed: Mapped[bytes | None]

    __table_args__ = (
        CheckConstraint("decision IN ('accept', 'reject')", name="decision"),
        Index("ix_reviews_claimed_by", "claimed_by", "verification_id"),
        Index("ix_reviews_decided_at", "decided_at"),
    )


class Batch(Base):
    """Many verifications asked for at once; a worker does them, and counts misses where the caller's own requests
    would."""

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(40), unique=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    actor: Mapped[str] = mapped_column(String(40))
    total: Mapped[int]
    done: Mapped[int]
    failed: Mapped[int]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    counts_misses: Mapped[bool] = mapped_column(server_default=false())

    __table_args__ = (
        CheckConstraint("state IN ('running', 'done')", name="state"),
        {"sqlite_autoincrement": True},
    )


class BatchRow(Base):
    """One line of a manifest. The seal holds the image until the row is done; `problem` is a code."""

    __tablename__ = "batch_rows"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    position: Mapped[int]
    fields: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    problem: Mapped[str | None] = mapped_column(String(40))
    verification_id: Mapped[int | None] = mapped_column(
        ForeignKey("verifications.id", ondelete="SET NULL"), index=True
    )
    key_id: Mapped[str | None] = mapped_column(String(32))
    nonce: Mapped[bytes | None] = mapped_column(LargeBinary(12))
    sealed: Mapped[bytes | None] = mapped_column(deferred=True)

    verification: Mapped[Verification | None] = relationship()

    __table_args__ = (
        UniqueConstraint("batch_id", "position"),
        Index("ix_batch_rows_state", "batch_id", "state"),
        CheckConstraint("state IN ('waiting', 'done', 'failed')", name="state"),
        {"sqlite_autoincrement": True},
    )


class Event(Base):
    """One row a use case, written in its transaction: who did what to which random owner id."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str | None] = mapped_column(String(128), index=True)
    details: Mapped[dict[str, Any]]

    __table_args__ = ({"sqlite_autoincrement": True},)


class AuditRecord(Base):
    """An event's place in the audit trail. `seq` counts without gaps from 1; `hash` covers the event and, through the
    hash of the record before, all of them before."""

    __tablename__ = "audit_records"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditSeal(Base):
    """The signature under the records up to `last`; `hash` is that of the last one."""

    __tablename__ = "audit_seals"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed_at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(String(16))
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))


class Receipt(Base):
    """What remains of a leaver: when, and how much went."""

    __tablename__ = "receipts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    receipt_id: Mapped[str] = mapped_column(String(40), unique=True)
    erased_at: Mapped[datetime]
    counts: Mapped[dict[str, Any]]
    signature: Mapped[str | None] = mapped_column(String(200))
    key_id: Mapped[str | None] = mapped_column(String(32))


class ApiKey(Base):
    """`first_key_id` is of the key that this one came to replace, or of that one's own first; whatever the caller
    does is noted under it, so that a rotation takes nothing from the caller."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key_id: Mapped[str] = mapped_column(String(16), unique=True)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    name: Mapped[str | None] = mapped_column(String(64))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    first_key_id: Mapped[str | None] = mapped_column(String(16))


class AccountMisses(Base):
    """How often a caller has missed an account since the first miss, and until when that counts."""

    __tablename__ = "account_misses"

    actor: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    misses: Mapped[int]
    until: Mapped[datetime] = mapped_column(index=True)


class IdempotentRequest(Base):
    """An `Idempotency-Key` in use. Its answer is sealed, and goes when a person it names is erased."""

    __tablename__ = "idempotent_requests"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    scope_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    state: Mapped[str] = mapped_column(String(16))
    status_code: Mapped[int | None]
    started_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    key_id: Mapped[str | None] = mapped_column(String(32))
    nonce: Mapped[bytes | None] = mapped_column(LargeBinary(12))
    sealed: Mapped[bytes | None]

    __table_args__ = (
        CheckConstraint("state IN ('running', 'done', 'erased')", name="state"),
        {"sqlite_autoincrement": True},
    )


class IdempotentSubject(Base):
    """Whom a stored answer names, so that an erasure finds it."""

    __tablename__ = "idempotent_subjects"

    request_id: Mapped[int] = mapped_column(
        ForeignKey("idempotent_requests.id", ondelete="CASCADE"), primary_key=True
    )
    owner: Mapped[str] = mapped_column(String(32), primary_key=True, index=True)


class Job(Base):
    """Recurring work and who is doing it. A lease that ran out may be taken by another worker."""

    __tablename__ = "jobs"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    due_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    leased_by: Mapped[str | None] = mapped_column(String(64))
    last_result: Mapped[str | None] = mapped_column(String(200))
