from apiflask import APIBlueprint
from flask import Response, current_app
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from service.api.endpoint import PRODUCT, problem_responses
from service.errors import Refused
from service.schema import is_current

blueprint = APIBlueprint("health", __name__, tag="Health")


class Health(BaseModel):
    status: str


@blueprint.get("/healthz")
@blueprint.output(Health)
def healthz() -> Health:
    """The process answers"""
    return Health(status="ok")


@blueprint.get("/readyz")
@blueprint.output(Health)
@blueprint.doc(responses=problem_responses(["not_ready"]))
def readyz() -> Health | Response:
    """This process can do its work: database, schema, model and index are there"""
    opened = current_app.extensions[PRODUCT]
    if opened is None or not opened.models.is_ready():
        raise Refused("not_ready")
    try:
        ready = is_current(opened.database)
    except SQLAlchemyError as problem:
        raise Refused("not_ready") from problem
    if not ready:
        raise Refused("not_ready")
    return Health(status="ready")
