"""An error reaches whoever asked as what it was: its kind decides what to do, and the exit status of a command."""

from __future__ import annotations

import json

import pytest

from keyturn.adapters.over_http import errors_over_http
from keyturn.adapters.over_http.http_client import _error
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Tampered, Unavailable, Usage

ERRORS = [
    Malformed("json-invalid", "no JSON", hint="look again"),
    Refused("pack-refused", "two failures", reasons=(("a-b", "one"), ("c-d", "two"))),
    Tampered("log-fork", "another root", hint="keep both"),
    Usage("from-step", "no such output"),
    Conflict("file-exists", "it is there"),
    Unavailable("no-answer", "nobody there"),
]


@pytest.mark.parametrize("err", ERRORS, ids=lambda err: type(err).__name__)
def test_an_error_is_what_it_was_at_the_server(err: KeyturnError) -> None:
    raw = errors_over_http.render(errors_over_http.of(err))
    again = _error(409, "/x", raw)
    assert type(again) is type(err)
    assert (again.code, again.message, again.hint) == (err.code, err.message, err.hint)
    assert again.exit_status == err.exit_status
    if isinstance(err, Refused) and isinstance(again, Refused):
        assert again.reasons == err.reasons


def test_an_error_is_problem_details_of_rfc_9457() -> None:
    raw = errors_over_http.render(errors_over_http.of(Refused("a-b", "no", reasons=(("c-d", "why"),), hint="ask")))
    assert json.loads(raw) == {
        "type": "https://keyturn.dev/errors#a-b",
        "title": "refused",
        "status": 403,
        "detail": "no",
        "code": "a-b",
        "hint": "ask",
        "reasons": [{"code": "c-d", "detail": "why"}],
    }


def test_the_detail_stays_at_the_server() -> None:
    err = Unavailable("log-disk", "not appended", detail="/srv/secret/path")
    assert b"secret" not in errors_over_http.render(errors_over_http.of(err))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"type":"a","title":"granted","status":403,"code":"a","detail":"b"}',
        b'{"type":"a","title":"refused","status":403,"code":1,"detail":"b"}',
        b'{"type":"a","title":"refused","status":403,"code":"a","detail":"b","more":1}',
    ],
)
def test_what_is_no_error_of_ours_is_judged_by_its_status(raw: bytes) -> None:
    assert errors_over_http.parse(raw) is None
    assert type(_error(403, "/x", raw)) is Refused
    assert type(_error(404, "/x", raw)) is Unavailable
    assert type(_error(500, "/x", raw)) is Unavailable


def test_a_server_that_talks_without_end_is_cut_short() -> None:
    reason = errors_over_http.Reason(code="d" * 999, detail="e" * 9999)
    said = errors_over_http.Problem(
        type="",
        title="refused",
        status=403,
        code="a" * 999,
        detail="b" * 9999,
        hint="c" * 9999,
        reasons=(reason,) * 999,
    )
    err = errors_over_http.as_raised(said)
    assert isinstance(err, Refused)
    assert len(err.code) + len(err.message) + len(err.hint) < 3000
    assert len(err.reasons) == 64
    assert max(len(code) + len(text) for code, text in err.reasons) < 3000
