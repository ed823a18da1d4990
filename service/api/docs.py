"""`/docs`: the OpenAPI document for people. Its scripts come from this server: a bank's network has no CDN."""

from apiflask import APIBlueprint, APIFlask
from flask import Response, send_from_directory
from swagger_ui_bundle import swagger_ui_path

from service.api.endpoint import SECURITY

blueprint = APIBlueprint("docs", __name__, enable_openapi=False)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Countersign API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null});\n'
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


@blueprint.get("/docs")
def docs() -> Response:
    return _page(PAGE, "text/html")


@blueprint.get("/docs/start.js")
def start() -> Response:
    return _page(START, "text/javascript")


@blueprint.get("/docs/<any('swagger-ui.css', 'swagger-ui-bundle.js'):name>")
def asset(name: str) -> Response:
    return send_from_directory(swagger_ui_path, name)


def _page(content: str, mimetype: str) -> Response:
    return Response(content, mimetype=mimetype, headers={"Content-Security-Policy": POLICY})


def describe(app: APIFlask) -> None:
    app.config["OPENAPI_VERSION"] = "3.1.0"
    app.config["AUTO_OPERATION_ID"] = True
    app.config["AUTO_404_RESPONSE"] = False
    app.config["AUTO_AUTH_ERROR_RESPONSE"] = False  # ours is a problem document
    app.security_schemes = {
        SECURITY: {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key made with `python -m service create-key --scopes ...`, or a token of the "
            "OpenID Connect issuer that the service is told to trust.",
        }
    }
