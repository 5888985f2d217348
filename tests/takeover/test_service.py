"""Taken: the service, its database, its log key and its online key, its disk and its port.

It can delay, and hide what is not in the log yet; it opens nothing, and what it forges stops nobody for good.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from keyturn.formats import dsse, leaf, records, statement, trust_version
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.digest import sha256
from keyturn.trust import signing as trust_signing
from support.hidden import hidden_leaf
from support.lying_log import lying
from support.processes import wait_for
from support.taken_lab import TakenLab, code_of, relabelled, sign

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]


def test_the_honest_way_works(lab: TakenLab) -> None:
    assert lab.judged(lab.releases("first.pack").read_bytes()) == set()


# --- forging -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["log", "online"])
def test_the_services_keys_sign_for_nobody(lab: TakenLab, name: str) -> None:
    stolen, ada = lab.stolen(f"keys/{name}"), lab.key("ada").public.keyid
    honest = lab.ask(submit=False)
    request = statement.parse(honest.payload, AccessRequest, ACCESS_REQUEST)
    made = msgspec.structs.replace(request.predicate, nonce="5" * 32, justification="ship it")
    payload = statement.make(made, ACCESS_REQUEST, request.subject)
    forged = relabelled(sign(payload, stolen), ada)
    approvals = tuple(lab.approval(forged, member, key=stolen) for member in ("bob", "carol"))
    # by the port: admission knows whose key it is
    for one in (forged, *approvals):
        assert code_of(lambda one=one: lab.log.append(dsse.render(one))) == {"signature-invalid"}
    # past it: the disk is his, and the witnesses cosign whatever continues the log
    lab.write(*map(dsse.render, (forged, *approvals)))
    assert code_of(lambda: lab.release(forged, *approvals)) == {"signature-invalid"}


def test_forged_approvals_of_a_real_request_open_nothing_and_stop_nobody(lab: TakenLab) -> None:
    asked = lab.ask()
    stolen = lab.stolen("keys/log")
    forged = tuple(lab.approval(asked, member, key=stolen) for member in ("bob", "carol", "dan"))
    twin = relabelled(sign(asked.payload, stolen), lab.key("ada").public.keyid)
    lab.write(*map(dsse.render, (*forged, twin)))
    assert "signature-invalid" in code_of(lambda: lab.release(asked, *forged))
    assert code_of(lambda: lab.release(asked)) == {"quorum-not-met"}
    request = f"req-{asked.record_digest[:32]}"
    for member in ("bob", "carol"):
        lab.by(member, "approve", request, "--yes")
    lab.by("ada", "release", "model", "--request", request, "--out", "second.pack")


def test_a_lying_key_id_and_a_second_signature_count_for_nothing(lab: TakenLab) -> None:
    asked = lab.ask()
    real, stolen = lab.approval(asked, "bob"), lab.stolen("keys/log")
    twice = msgspec.structs.replace(
        real,
        signatures=(
            *real.signatures,
            relabelled(sign(real.payload, stolen), lab.key("carol").public.keyid).signatures[0],
        ),
    )
    assert code_of(lambda: lab.release(asked, twice)) == {"signature-count"}


def test_what_is_in_no_log_opens_nothing(lab: TakenLab) -> None:
    asked = lab.ask(submit=False)
    approvals = tuple(lab.approval(asked, member) for member in ("bob", "carol"))
    assert code_of(lambda: lab.release(asked, *approvals)) == {"leaf-missing"}


# --- hiding --------------------------------------------------------------------------------------------------------------


def approved(lab: TakenLab) -> tuple[Any, ...]:
    asked = lab.ask()
    approvals = tuple(lab.approval(asked, member) for member in ("bob", "carol"))
    lab.submit(*approvals)
    return asked, *approvals


def test_a_denial_whose_text_is_hidden_closes(lab: TakenLab) -> None:
    asked, *given = approved(lab)
    denial = lab.approval(asked, "dan", decision="deny", reason="the numbers are wrong")
    lab.submit(denial)
    hidden = f"/envelope/{sha256(dsse.render(denial))}"
    with lying(lab.lab, lambda method, path, body: 404 if path == hidden else None):
        assert code_of(lambda: lab.release(asked, *given)) == {"negative-unread"}
    assert code_of(lambda: lab.release(asked, *given)) & {"negative-unread", "request-denied"}


@pytest.mark.parametrize("index", [0, 2**40], ids=["another record's place", "a place beyond the log"])
def test_a_denial_that_was_swallowed_is_told_to_be_not_in_force(lab: TakenLab, index: int) -> None:
    asked, *_ = approved(lab)
    denial = dsse.render(lab.approval(asked, "dan", decision="deny", reason="the numbers are wrong"))
    with lying(lab.lab, lambda method, path, body: b'{"index":%d}' % index if path == "/submit" else None):
        answered = lab.log.append(denial)
        codes = code_of(lambda: lab.witnessed(answered, records.leaf_of(denial), deadline_s=0.5))
        assert codes <= {"not-in-force", "proof-inclusion"}
    lab.submit(dsse.parse_own(denial))


def test_a_person_is_told_by_the_command_line_that_a_denial_is_not_where_the_service_says(lab: TakenLab) -> None:
    asked, *_ = approved(lab)
    words = ("deny", f"req-{asked.record_digest[:32]}", "--reason", "no", "--yes")
    with lying(lab.lab, lambda method, path, body: b'{"index":0}' if path == "/submit" else None):
        done = lab.run("dan", *words)
    assert done.returncode == 1
    assert "[proof-inclusion]" in done.stderr


def test_leaving_a_denial_or_an_approval_out_of_the_bundle_does_not_help(lab: TakenLab) -> None:
    asked, *given = approved(lab)
    assert code_of(lambda: lab.release(asked, given[0])) & {"authorization-withheld", "quorum-not-met"}
    lab.submit(lab.approval(asked, "dan", decision="deny", reason="the numbers are wrong"))
    assert code_of(lambda: lab.release(asked, *given)) == {"request-denied"}


def test_a_denial_is_not_forgotten_with_a_leaf_that_lies_about_when_its_request_ends(lab: TakenLab) -> None:
    asked = lab.ask(submit=False)
    approvals = tuple(lab.approval(asked, member) for member in ("bob", "carol"))
    true, over = records.leaf_of(dsse.render(asked)), int(time.time()) + 6
    lab.write(b"gone", leaves=(hidden_leaf("req", *true.about, number=1, record=true.record, until=over),))
    lab.submit(asked, *approvals, lab.approval(asked, "dan", decision="deny", reason="the numbers are wrong"))
    assert code_of(lambda: lab.release(asked, *approvals)) & {"leaf-missing", "request-denied"}
    assert time.time() < over, "the gate saw the lie before it was over"
    wait_for("the lie to be over", lambda: time.time() > over + 1 or None)
    assert code_of(lambda: lab.release(asked, *approvals)) & {"leaf-missing", "request-denied"}
    raws = [dsse.render(one) for one in (asked, *approvals)]
    lab.write_texts(*((raw, leaf.render(records.leaf_of(raw))) for raw in raws))
    lab.submit(lab.approval(lab.ask(), "bob"))  # so that all of it is witnessed
    assert code_of(lambda: lab.release(asked, *approvals)) == {"request-denied"}


# --- the order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"size": 2**40}, "release-index-ahead", id="a log size that is not there"),
        pytest.param({"as_of": 2**32}, "release-index-ahead", id="a time to come"),
        pytest.param({"size": 3}, "release-subjects", id="a log size before the chain"),
        pytest.param({"model": "dirHash:" + "1" * 64}, "release-subjects", id="another model"),
        pytest.param({"path": "/etc"}, "model-path", id="files outside"),
    ],
)
def test_an_order_cannot_say_what_was_approved(lab: TakenLab, changed: dict[str, Any], code: str) -> None:
    asked, *given = approved(lab)
    assert code_of(lambda: lab.release(asked, *given, **changed)) == {code}


# --- trust and log -------------------------------------------------------------------------------------------------------


def forged_trust(lab: TakenLab) -> dict[str, bytes]:
    online = lab.stolen("keys/online")
    policy = b'@id("model-release") @quorum("1 research") @pending_max("8h") permit (principal, action, resource);'
    newest = trust_version.parse(max((lab.lab / "trust" / "versions").iterdir()).read_bytes())
    files = {**dict(newest.files), "policy/main.cedar": policy}
    raw = trust_signing.make_targets(files, lab="acme.example", version=2, expires_at=2**31)
    signed = trust_signing.add_signature(raw, online)
    made = trust_version.TrustVersion(role="targets", version=2, metadata=signed, files=tuple(sorted(files.items())))
    return {"targets": trust_version.render(made)}


def test_trust_that_the_online_key_signs_is_no_trust_and_stops_nobody(lab: TakenLab) -> None:
    for raw in forged_trust(lab).values():
        assert code_of(lambda raw=raw: lab.log.append(raw)) == {"trust-threshold"}
        lab.write(raw)
    asked = lab.ask()
    assert code_of(lambda: lab.release(asked)) == {"quorum-not-met"}
    lab.releases("after-trust.pack")
