"""Reading requests: multipart or JSON, one set of fields, one way to say what is wrong."""

import base64
import binascii
from collections.abc import Sequence
from io import BytesIO
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

from flask import Request, current_app, request
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo
from werkzeug.exceptions import BadRequest
from werkzeug.formparser import FormDataParser

from service.errors import Refused
from service.fields import Line, Strict

Model = TypeVar("Model", bound=BaseModel)

MULTIPART = "multipart/form-data"
JSON = "application/json"


def _file_bytes(value: object) -> bytes:
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as problem:
            raise ValueError("is not base64") from problem
    if not isinstance(value, bytes):
        raise ValueError("must be a file: a file part, or base64 in JSON")  # noqa: TRY004 (pydantic reports ValueErrors)
    return value


def _image_bytes(value: object) -> bytes:
    image = _file_bytes(value)
    if len(image) > current_app.config["MAX_IMAGE_BYTES"]:
        raise Refused("too_large")
    return image


Image = Annotated[
    bytes,
    BeforeValidator(_image_bytes),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}),
]
CsvFile = Annotated[
    bytes,
    BeforeValidator(_file_bytes),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "contentMediaType": "text/csv"}),
]


class NamedImage(Strict):
    """In a form a file part, which has both."""

    name: Line = Field(max_length=255, description="The file name.")
    content: Image


class _File(NamedTuple):
    """A file part."""

    name: str
    content: bytes


def read_body(model: type[Model]) -> Model:
    """Raises `unsupported_media_type`, `malformed_body`, `too_large` or `invalid_field`."""
    multipart = has_files(model)
    if request.mimetype == JSON:
        fields = _json_fields(request)
    elif multipart and request.mimetype == MULTIPART:
        fields = _form_fields(request, model)
    else:
        raise Refused("unsupported_media_type")
    return _validate(model, fields)


def read_query(model: type[Model]) -> Model:
    # A repeated parameter becomes a list where a single value is expected, and validation says so.
    fields = {name: values if len(values) > 1 else values[0] for name, values in request.args.lists()}
    return _validate(model, fields)


def has_files(model: type[BaseModel]) -> bool:
    return any(_is_file(field) for field in model.model_fields.values())


def is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list


def form_name(name: str, annotation: Any) -> str:
    """A repeatable field is a list in JSON and a repeated part in a form: `specimens`, `specimen`."""
    return name.removesuffix("s") if is_list(annotation) else name


def _json_fields(source: Request) -> dict[str, Any]:
    source.get_data()
    if source.content_length is None:
        source.stream.read(1)  # a body that does not tell its length is cut at the limit; this read says so: 413
    try:
        fields = source.get_json()
    except BadRequest as problem:
        raise Refused("malformed_body") from problem
    except RecursionError as problem:
        raise Refused("malformed_body") from problem
    if not isinstance(fields, dict):
        raise Refused("malformed_body")
    return fields


def _form_fields(source: Request, model: type[BaseModel]) -> dict[str, Any]:
    parts = _parts(source, getattr(model, "MOST_PARTS", source.max_form_parts))
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        values = parts.pop(form_name(name, field.annotation), None)
        if values is None:
            continue
        _check_parts(name, values, _File if _is_file(field) else str)
        values = [_plain(value, field.annotation) for value in values]
        # One part too many becomes a list where a single value is expected, and validation says so.
        fields[name] = values if is_list(field.annotation) or len(values) > 1 else values[0]
    return fields | ({"(unknown)": parts} if parts else {})


def _plain(value: Any, annotation: Any) -> Any:
    """A part as JSON would have it."""
    if not isinstance(value, _File):
        return value
    return value._asdict() if NamedImage in get_args(annotation) else value.content


def _parts(source: Request, most: int | None) -> dict[str, list[Any]]:
    """Text parts as str, file parts as `_File`. Left to itself the parser takes a truncated form for an empty one
    and writes large images to the disk in clear."""
    parser = FormDataParser(
        stream_factory=lambda *_unused, **_lengths: BytesIO(),
        max_form_memory_size=source.max_form_memory_size,
        max_content_length=source.max_content_length,
        max_form_parts=most,
        silent=False,
    )
    try:
        _, texts, files = parser.parse(source.stream, source.mimetype, source.content_length, source.mimetype_params)
    except ValueError as problem:
        raise Refused("malformed_body") from problem
    parts: dict[str, list[Any]] = {}
    for name, value in texts.items(multi=True):
        parts.setdefault(name, []).append(value)
    for name, file in files.items(multi=True):
        parts.setdefault(name, []).append(_File(file.filename or "", file.stream.read()))
    return parts


def _check_parts(name: str, values: Sequence[Any], expected: type[str | _File]) -> None:
    """A file where text belongs would pass for it, and the reverse for base64."""
    if not all(isinstance(value, expected) for value in values):
        problem = "must be a file part" if expected is _File else "must be a text part, without a file name"
        raise Refused("invalid_field", errors=[{"field": name, "problem": problem}])


def _validate(model: type[Model], fields: dict[str, Any]) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as problem:
        errors = [_describe(model, error) for error in problem.errors()]
        raise Refused("invalid_field", errors=errors) from None


def _describe(model: type[BaseModel], error: Any) -> dict[str, str]:
    """Names the field and says what is wrong, without repeating what was sent: not even an unknown name."""
    path = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        path[-1] = "(unknown)"
    elif path and path[0] not in model.model_fields:
        path[0] = "(unknown)"
    return {"field": ".".join(path), "problem": error["msg"].removeprefix("Value error, ")}


def _is_file(field: FieldInfo) -> bool:
    annotation = field.annotation
    if annotation is bytes:
        return any(isinstance(entry, BeforeValidator) for entry in field.metadata)
    return any(
        arg is bytes or arg is NamedImage or (get_origin(arg) is Annotated and get_args(arg)[0] is bytes)
        for arg in get_args(annotation)
    )
