"""One number: what is stored, what FAISS ranks by, and what the trained network says must be the same score."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from embeddings.preprocess import preprocess
from service.customers import Identity
from service.enrolment import Validity, confirm_specimen, enrol_customer, read_specimens
from service.models import Customer, Specimen, Template
from service.product import Product
from service.templates import open_vector

pytestmark = [pytest.mark.data, pytest.mark.tensorflow]

WRITERS = range(1, 21)
QUERIES = 10


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_stored_vectors_faiss_and_keras_score_200_real_pairs_alike(product: Product, cedar: Path) -> None:
    images = {writer: (cedar / "full_org" / f"original_{writer}_1.png").read_bytes() for writer in WRITERS}
    for writer, image in images.items():
        _enrol(product, str(writer), image)
    stored, vector_ids = _stored(product)
    keras = _keras_tower(product.encoder.bundle.folder / "tower" / "1")
    references = keras(np.stack([preprocess(image) for image in images.values()]))
    bias = product.encoder.bundle.head.bias

    for query in _queries(cedar):
        vector = product.encoder.embed([query])[0]
        expected = _sigmoid(bias - np.abs(references - keras(preprocess(query)[np.newaxis])).sum(axis=1))
        from_rows = [product.encoder.score(row[np.newaxis], vector) for row in stored]
        distances = {hit.vector_id: hit.distance for hit in product.index.search(vector, len(images))}
        from_faiss = [product.encoder.bundle.head.score(distances[vector_id]) for vector_id in vector_ids]

        np.testing.assert_allclose(from_rows, expected, atol=1e-4)
        np.testing.assert_allclose(from_faiss, expected, atol=1e-4)


def _enrol(product: Product, customer_id: str, image: bytes) -> None:
    drawn = read_specimens(product.encoder, [image])
    with product.database.writing() as session:
        customer = enrol_customer(session, product, Identity(customer_id, None), [], drawn, Validity(), actor="test")
        (specimen,) = customer.specimens
        if specimen.status == "pending":  # one of these scans is clipped: only confirmed does it reach the index
            confirm_specimen(session, product.vault, customer_id, specimen.specimen_id, actor="test")


def _stored(product: Product) -> tuple[NDArray[np.float32], list[int]]:
    """The vectors as they lie in the database, in order of enrolment, and their ids."""
    with product.database.reading() as session:
        rows = session.execute(
            select(Customer.owner, Template)
            .join(Specimen, Specimen.customer_id == Customer.id)
            .join(Template, Template.specimen_id == Specimen.id)
            .order_by(Customer.id)
        ).all()
        vectors = [open_vector(product.vault, row.owner, row.Template) for row in rows]
        return np.stack(vectors), [row.Template.vector_id for row in rows]


def _queries(cedar: Path) -> list[bytes]:
    """Genuine and forged ones of the enrolled writers: near pairs, where a difference would matter, and far ones."""
    genuine = [cedar / "full_org" / f"original_{writer}_2.png" for writer in range(1, QUERIES // 2 + 1)]
    forged = [cedar / "full_forg" / f"forgeries_{writer}_1.png" for writer in range(1, QUERIES // 2 + 1)]
    return [path.read_bytes() for path in (*genuine, *forged)]


def _keras_tower(saved_model: Path):  # type: ignore[no-untyped-def]
    """The exported Keras network run by TensorFlow: float32 (n, 128, 256) to (n, d)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow warns about its own imports
        import keras
    layer = keras.layers.TFSMLayer(str(saved_model), call_endpoint="serve")
    return lambda canvases: np.asarray(layer(canvases[..., np.newaxis]))


def _sigmoid(logits: NDArray[np.float32]) -> list[float]:
    return [1 / (1 + math.exp(-float(logit))) for logit in logits]
