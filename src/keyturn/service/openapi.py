"""Describe a service as OpenAPI 3.1, from its handlers and from the types that it parses and answers with.

Paths and parameters are Litestar's reading of the handlers; bodies are msgspec's schema of the very types that parse them, with
patterns in ECMA 262's words. Errors are problem details (RFC 9457) on every operation. A handler says in its `opt` what is
not in its signature: `takes` (a media type, and a type if it is JSON), `texts` (an error may be plain text), and `open` (nobody
has to be logged in).

`GET /openapi.json` answers with it, and docs/openapi/ holds what `python -m tools.openapi` wrote. Nobody verifies anything by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig

from keyturn.adapters.over_http import errors_over_http
from keyturn.adapters.over_http.errors_over_http import Problem

__all__ = ["describe", "takes"]

_REF = "#/components/schemas/{name}"
_WAYS = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of the operator's OpenID provider, where `keyturn serve --login` asks for one",
    },
    "certificate": {
        "type": "mutualTLS",
        "description": "A client certificate, which the proxy before the service verifies (RFC 9440)",
    },
}
_OCTETS = "application/octet-stream"


def takes(media_type: str = _OCTETS, body: Any = None) -> dict[str, Any]:
    """The `opt` of a handler that reads its body itself: JSON of the type `body`, or bytes of a format of its own."""
    return {"takes": (media_type, body)}


def describe(handlers: Sequence[HTTPRouteHandler], *, title: str, ways: Sequence[str] = ()) -> dict[str, Any]:
    """The OpenAPI document of a service with these `handlers`, to which somebody logs in by one of `ways`, or needs not."""
    config = OpenAPIConfig(
        title=title,
        version=version("keyturn"),
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, *_: handler.handler_name,
    )
    described: dict[str, Any] = Litestar(
        list(handlers), openapi_config=config, logging_config=None
    ).openapi_schema.to_schema()
    bodies = [body for handler in handlers if (body := handler.opt.get("takes", (None, None))[1]) is not None]
    schemas, components = msgspec.json.schema_components((*bodies, Problem), ref_template=_REF)
    by_type = dict(zip(bodies, schemas, strict=False))
    described.setdefault("components", {}).setdefault("schemas", {}).update(components)
    if ways:
        described["components"]["securitySchemes"] = {way: _WAYS[way] for way in ways}
    for handler, operation in _operations(handlers, described):
        _require_described(operation)
        if ways:
            operation["security"] = [] if handler.opt.get("open") is True else [{way: []} for way in ways]
        if "takes" in handler.opt:
            media_type, body = handler.opt["takes"]
            schema = by_type[body] if body is not None else {}
            operation["requestBody"] = {"required": True, "content": {media_type: {"schema": schema}}}
        operation["responses"].pop("400", None)  # Litestar's own, which is answered as a problem
        operation["responses"]["default"] = _errors(texts=handler.opt.get("texts", False))
    found: dict[str, Any] = _in_ecma(described)
    return found


def _operations(
    handlers: Sequence[HTTPRouteHandler], described: dict[str, Any]
) -> Iterator[tuple[HTTPRouteHandler, dict[str, Any]]]:
    by_id = {handler.handler_name: handler for handler in handlers}
    for path in described["paths"].values():
        for operation in path.values():
            yield by_id[operation["operationId"]], operation


def _require_described(operation: dict[str, Any]) -> None:
    if not operation.get("description"):
        raise TypeError(f"the handler `{operation['operationId']}` has no docstring, which is its description")


def _errors(*, texts: bool) -> dict[str, Any]:
    content: dict[str, Any] = {errors_over_http.MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
    if texts:
        content["text/plain"] = {"schema": {"type": "string"}}
    return {"description": "An error, as problem details: docs/errors.md lists the codes", "content": content}


def _in_ecma(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: item.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern" and isinstance(item, str)
            else _in_ecma(item)
            for key, item in value.items()
        }
    return [_in_ecma(item) for item in value] if isinstance(value, list) else value
