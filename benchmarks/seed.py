"""Fills a database with many customers quickly: rows as enrolment leaves them, without asking for each over HTTP."""

import secrets
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import insert
from sqlalchemy.orm import Session

from benchmarks.stand import Stand
from embeddings.bundle import Bundle
from embeddings.head import Vectors
from service.customers import Identity, lookup, new_owner, seal_identity
from service.database import Database
from service.enrolment import IMAGE
from service.keystore import KeyStore
from service.models import Base, Customer, Specimen, Template
from service.templates import KIND
from service.vault import Vault

AT_A_TIME = 5_000

Values = list[dict[str, Any]]


def store(stand: Stand, bundle: Bundle, count: int, image: bytes) -> None:
    """Keeps `count` customers, each with one specimen, which is `image`, and one random template."""
    vault = Vault(KeyStore.open(stand.environment["COUNTERSIGN_KEYSTORE_URL"]))
    generator = np.random.default_rng(5)
    database = Database(stand.database_url, pool_size=1)
    for start in range(0, count, AT_A_TIME):
        vectors = generator.standard_normal((min(AT_A_TIME, count - start), bundle.dimension), dtype=np.float32)
        with database.writing() as session:
            _store(session, vault, bundle.model_version, start, vectors, image)
    database.close()


def _store(session: Session, vault: Vault, model_version: str, start: int, vectors: Vectors, image: bytes) -> None:
    owners = [new_owner() for _ in vectors]
    names = [f"seeded-{number}" for number in range(start, start + len(owners))]
    customers = _insert(session, Customer, [_customer(vault, *pair) for pair in zip(owners, names, strict=True)])
    specimens = _insert(
        session,
        Specimen,
        [
            _specimen(model_version, customer) | vault.seal(owner, IMAGE, image)._asdict()
            for customer, owner in zip(customers, owners, strict=True)
        ],
    )
    templates = [
        {"specimen_id": specimen, "model_version": model_version, "copy": 0}
        | vault.seal(owner, KIND, vector.astype("<f4").tobytes())._asdict()
        for specimen, owner, vector in zip(specimens, owners, vectors, strict=True)
    ]
    session.execute(insert(Template), templates)


def _insert(session: Session, table: type[Base], values: Values) -> list[int]:
    """Ids in the order of the values."""
    made = session.scalars(insert(table).returning(table.id, sort_by_parameter_order=True), values)
    return list(made)


def _customer(vault: Vault, owner: str, customer_id: str) -> dict[str, Any]:
    return {
        "owner": owner,
        "lookup": lookup(vault, customer_id),
        "status": "active",
        "created_at": datetime.now(UTC),
        **seal_identity(vault, owner, Identity(customer_id, None))._asdict(),
    }


def _specimen(model_version: str, customer: int) -> dict[str, Any]:
    return {
        "specimen_id": f"spc_{secrets.token_hex(12)}",
        "customer_id": customer,
        "status": "active",
        "quality_codes": [],
        "model_version": model_version,
        "created_at": datetime.now(UTC),
    }
