from apiflask import APIFlask
from flask import Flask

from service.api import (
    accounts,
    audit,
    batches,
    comparisons,
    customers,
    docs,
    health,
    models,
    problems,
    reviews,
    searches,
    tracing,
    verifications,
)
from service.api.endpoint import PRODUCT, RATE
from service.product import Product
from service.rate import Rate
from service.settings import Settings

VERSION = "1"


def create_app(settings: Settings, product: Product | None = None) -> Flask:
    """The application. Without a `product` it opens none: a server does that after it forked."""
    app = APIFlask(
        __name__,
        title="Countersign",
        version=VERSION,
        docs_path="",  # `docs` serves its own, without a CDN
        static_folder=None,  # type: ignore[arg-type] # Flask takes None, only APIFlask's hint forgot it
    )
    # Both would be answered by the framework itself, in HTML, and a redirect repeats the address.
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_mb * 2**20
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_request_mb * 2**20
    app.config["MAX_IMAGE_BYTES"] = settings.max_image_mb * 2**20
    app.config["MAX_FORM_PARTS"] = 128  # more than 100 account ids, 10 images and the single fields
    app.extensions[PRODUCT] = product
    # Before a server forks, so that all its processes count together.
    app.extensions[RATE] = Rate(settings.rate_limit, settings.rate_burst) if settings.rate_limit else None
    for module in (customers, accounts, verifications, reviews, batches, comparisons, searches, models, audit):
        app.register_blueprint(module.blueprint, url_prefix="/v1")
    for module in (health, docs):
        app.register_blueprint(module.blueprint)
    problems.register(app)
    tracing.register(app, tls_in_front=settings.tls_in_front)
    docs.describe(app)
    return app
