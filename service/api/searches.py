from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from embeddings.errors import UnusableImage
from service import searching
from service.api.body import Image
from service.api.endpoint import caller, endpoint, names, product, session
from service.customers import open_identity
from service.errors import Refused
from service.fields import Strict

blueprint = APIBlueprint("searches", __name__, tag="Searches")


class NewSearch(Strict):
    image: Image
    limit: int = Field(10, ge=1, le=100, description="Most customers in the answer.")


class HitOut(BaseModel):
    customer_id: str
    specimen_id: str
    score: float = Field(description="Rounded to 0.01 for callers without `review`.")


class SearchResult(BaseModel):
    items: list[HitOut] = Field(description="One row a customer, best first.")
    model_version: str


@endpoint(
    blueprint,
    "POST",
    "/searches",
    scope="search",
    body=NewSearch,
    stores=False,
    returns=SearchResult,
    refusals=("no_ink", "not_ready", "tower_unavailable"),
)
def search(body: NewSearch) -> SearchResult:
    """Search all customers for a signature"""
    try:
        reading = product().encoder.read(body.image)
    except UnusableImage as problem:
        raise Refused(problem.code, errors=[{"field": "image", "problem": problem.code}]) from problem
    hits = searching.search(session(), product(), reading, body.limit)
    names(*(hit.customer.owner for hit in hits))
    items = [
        HitOut(
            customer_id=open_identity(product().vault, hit.customer).customer_id,
            specimen_id=hit.specimen.specimen_id,
            score=hit.score if "review" in caller().scopes else round(hit.score, 2),
        )
        for hit in hits
    ]
    return SearchResult(items=items, model_version=reading.model_version)
