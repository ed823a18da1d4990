"""OpenAPI fragments of request bodies and queries."""

from typing import Any

from pydantic import BaseModel

from service.api.body import JSON, MULTIPART, form_name, has_files


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    json_schema = inlined(model)
    content = {JSON: {"schema": json_schema}}
    if has_files(model):
        content[MULTIPART] = {"schema": _form_schema(model, json_schema)}
    return {"required": True, "content": content}


def parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties = inlined(model)["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema with its definitions put in place: a request body has no `components` of its own."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def _form_schema(model: type[BaseModel], json_schema: dict[str, Any]) -> dict[str, Any]:
    names = {name: form_name(name, field.annotation) for name, field in model.model_fields.items()}
    return {
        **json_schema,
        "properties": {names[name]: _as_part(schema) for name, schema in json_schema["properties"].items()},
        "required": [names[name] for name in json_schema.get("required", [])],
    }


def _as_part(schema: dict[str, Any]) -> dict[str, Any]:
    """A file part is raw bytes, which OpenAPI 3.1 writes as a media type without an encoding."""
    if schema.get("type") == "array":
        return {**schema, "items": _as_part(schema["items"])}
    if "content" in schema.get("properties", {}):  # the part has a file name of its own
        return _as_part(schema["properties"]["content"])
    if "contentEncoding" in schema:
        return {key: value for key, value in schema.items() if key not in {"contentEncoding", "type"}}
    return schema
