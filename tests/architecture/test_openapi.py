"""docs/openapi/ says what the services take and answer, no more and no less."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tools import openapi

EVERYWHERE = {("/health", "get"), ("/metrics", "get"), ("/openapi.json", "get")}


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((openapi.DOCUMENTS / f"{name}.json").read_bytes())
    return found


def test_every_service_has_its_document_and_no_other_is_there() -> None:
    assert {place.stem for place in openapi.DOCUMENTS.iterdir()} == set(openapi.APPS)


@pytest.mark.parametrize("name", openapi.APPS)
def test_the_document_is_what_the_service_says_of_itself(name: str) -> None:
    written = (openapi.DOCUMENTS / f"{name}.json").read_bytes()
    assert written == openapi.render(openapi.APPS[name]()), "type: make docs"
    assert document(name)["openapi"].startswith("3.1")


@pytest.mark.parametrize("name", openapi.APPS)
def test_every_route_of_the_service_is_in_its_document(name: str) -> None:
    app = openapi.APPS[name]()
    routes = {
        (route.path_format, method.lower())
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method != "OPTIONS"
    }
    operations = {(path, method) for path, methods in document(name)["paths"].items() for method in methods}
    assert operations == routes
    assert operations >= EVERYWHERE


@pytest.mark.parametrize("name", openapi.APPS)
def test_every_operation_says_what_it_takes_and_answers_its_errors_as_problems(name: str) -> None:
    for path, methods in document(name)["paths"].items():
        for method, operation in methods.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], path
            assert ("requestBody" in operation) == (method == "post"), path
            assert operation["description"], path


def test_a_pattern_is_in_words_that_other_languages_read() -> None:
    said = "".join((openapi.DOCUMENTS / f"{name}.json").read_text(encoding="utf-8") for name in openapi.APPS)
    assert "pattern" in said
    assert "\\\\A" not in said
    assert "\\\\Z" not in said
