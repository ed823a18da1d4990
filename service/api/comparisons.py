from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from service.api.body import Image
from service.api.endpoint import endpoint, product
from service.comparison import compare_images
from service.fields import Strict

blueprint = APIBlueprint("comparisons", __name__, tag="Comparisons")


class NewComparison(Strict):
    image_a: Image
    image_b: Image


class Comparison(BaseModel):
    score: float = Field(description="In (0, 1); the same whichever image comes first.")
    model_version: str


@endpoint(
    blueprint,
    "POST",
    "/comparisons",
    scope="verify",
    body=NewComparison,
    stores=False,
    returns=Comparison,
    refusals=("no_ink", "tower_unavailable"),
)
def compare(body: NewComparison) -> Comparison:
    """Compare two signatures; nothing is stored"""
    encoder = product().encoder
    return Comparison(score=compare_images(encoder, body.image_a, body.image_b), model_version=encoder.model_version)
