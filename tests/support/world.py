"""The application in this process with what is needed around it: callers, ids nobody used yet, and a look behind."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
from sqlalchemy import func, literal, select, union_all

from embeddings.bundle import Thresholds
from service.access import SCOPES, create_key
from service.api.app import create_app
from service.models import Base
from service.product import Product
from service.settings import Settings

Answer = dict[str, Any]


@dataclass
class World:
    settings: Settings
    product: Product

    def __post_init__(self) -> None:
        self._app = create_app(self.settings, self.product)
        self.api = self.client(*SCOPES)

    def key(self, *scopes: str) -> str:
        with self.product.database.writing() as session:
            return create_key(session, scopes)

    def client(self, *scopes: str) -> httpx.Client:
        """A caller with these scopes; without any, a caller without a key."""
        headers = {"Authorization": f"Bearer {self.key(*scopes)}"} if scopes else {}
        transport = httpx.WSGITransport(self._app)
        return httpx.Client(transport=transport, base_url="http://countersign", headers=headers)

    def new_id(self, what: str = "id") -> str:
        return f"{what}-{secrets.token_hex(6)}"

    def enrol(
        self,
        customer_id: str,
        *images: bytes,
        accounts: Sequence[str] = (),
        headers: Answer | None = None,
        **fields: str,
    ) -> Answer:
        answer = self.api.post(
            "/v1/customers",
            data={"customer_id": customer_id, "account_id": list(accounts), **fields},
            files=parts("specimen", *images),
            headers=headers,
        )
        assert answer.status_code == 201, answer.text
        customer: Answer = answer.json()
        return customer

    def add(self, customer_id: str, *images: bytes, **fields: str) -> list[Answer]:
        answer = self.api.post(
            f"/v1/customers/{customer_id}/specimens", data=fields, files=parts("specimen", *images)
        )
        assert answer.status_code == 201, answer.text
        specimens: list[Answer] = answer.json()["items"]
        return specimens

    def verify(self, account_id: str, image: bytes, **fields: str) -> Answer:
        answer = self.api.post(f"/v1/accounts/{account_id}/verifications", data=fields, files=parts("image", image))
        assert answer.status_code == 201, answer.text
        verification: Answer = answer.json()
        return verification

    def search(self, image: bytes, limit: int = 100) -> list[Answer]:
        answer = self.api.post("/v1/searches", data={"limit": str(limit)}, files=parts("image", image))
        assert answer.status_code == 200, answer.text
        hits: list[Answer] = answer.json()["items"]
        return hits

    def found(self, image: bytes) -> set[str]:
        return {hit["customer_id"] for hit in self.search(image)}

    def score(self, *specimens_and_question: bytes) -> float:
        """Of the last image against a person with the others as specimens."""
        vectors = self.product.encoder.embed(specimens_and_question)
        return self.product.encoder.score(vectors[:-1], vectors[-1])

    @contextmanager
    def thresholds(self, *, accept: float, reject: float) -> Iterator[None]:
        """Other thresholds than the bundle's, so that a test does not depend on how good its model is."""
        encoder = self.product.encoder
        original = encoder.bundle
        encoder.bundle = replace(original, thresholds=Thresholds(accept, reject))
        try:
            yield
        finally:
            encoder.bundle = original

    def trusting(self) -> Any:
        """No specimen is doubted: none scores below reject, none is like another customer."""
        return self.thresholds(accept=2, reject=0)

    def thresholds_between(self, own: bytes, other: bytes) -> Any:
        """`own` is like itself and `other` is not: all that is less like `own` than itself is rejected."""
        middle = (self.score(own, own) + self.score(own, other)) / 2
        return self.thresholds(accept=middle, reject=middle)

    def counts(self) -> dict[str, int]:
        """How many rows each table holds."""
        tables = [table for table in Base.metadata.sorted_tables if table.name != "api_keys"]
        rows = union_all(*(select(literal(table.name), func.count()).select_from(table) for table in tables))
        with self.product.database.reading() as session:
            return dict(session.execute(rows).all())


def parts(name: str, *images: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [(name, ("image.png", image, "image/png")) for image in images]


def wait_until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
