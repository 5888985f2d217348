"""Taken: the log's key, to fork it; and fewer root keys than the threshold. Neither opens anything."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.adapters.over_http.witness_over_http import WitnessOverHttp
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import dsse, note, trust_version
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.note import Note
from keyturn.formats.trust_version import TrustVersion
from keyturn.tlog import signing as log_signing
from keyturn.trust import signing as trust_signing
from keyturn.trust.metadata import Holder
from support.commands import KEYTURN
from support.lying_log import lying
from support.old_gate import approved
from support.processes import running, wait_for_file
from support.taken_lab import LAB, TakenLab, code_of

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]

POLICY = b'@id("model-release") @quorum("1 research") @pending_max("8h") permit (principal, action, resource);'


def standing(lab: TakenLab) -> tuple[Note, Checkpoint]:
    found = note.parse(lab.log.checkpoint())
    return found, checkpoints.parse_body(found.text)


# --- the log's key --------------------------------------------------------------------------------------------------------


def test_a_witness_cosigns_no_other_history(lab: TakenLab) -> None:
    stolen, (_, honest) = lab.stolen("keys/log"), standing(lab)
    witness = WitnessOverHttp(lab.url("witness-north"))

    def offer(size: int, root: bytes, old_size: int, proof: tuple[bytes, ...] = ()) -> object:
        made = log_signing.sign_checkpoint(Checkpoint(honest.origin, size, root), stolen)
        answer = witness.add_checkpoint(AddCheckpoint(old_size=old_size, proof=proof, note=made))
        assert isinstance(answer, int), "the witness cosigned"
        return answer

    assert code_of(lambda: offer(honest.size, bytes(32), honest.size)) == {"witness-refused"}
    assert code_of(lambda: offer(honest.size + 1, bytes(32), honest.size, (bytes(32),))) == {"witness-refused"}
    assert code_of(lambda: offer(3, bytes(32), honest.size)) == {"witness-refused"}
    assert offer(3, bytes(32), 0) == honest.size
    assert standing(lab)[1].size >= honest.size


def test_a_fork_that_the_witnesses_did_not_sign_is_seen_by_the_gate(lab: TakenLab) -> None:
    stolen, asked = lab.stolen("keys/log"), lab.ask()
    given = [lab.approval(asked, member) for member in ("bob", "carol")]
    real, honest = standing(lab)  # as large as what the gate has read: a smaller one is refused for that alone
    fork = log_signing.sign_checkpoint(replace(honest, root=bytes(32)), stolen)
    pasted = fork.with_signatures(*(one for one in real.signatures if one.name == "north"))
    forged = fork.with_signatures(
        log_signing.cosign(replace(honest, root=bytes(32)), name="north", key=stolen, at=2**31)
    )
    for made, code in ((fork, "checkpoint-quorum"), (pasted, "checkpoint-signature"), (forged, "checkpoint-quorum")):
        raw = note.render(made)
        with lying(lab.lab, lambda method, path, body, raw=raw: raw if path == "/checkpoint" else None):
            assert code_of(lambda: lab.release(asked, *given)) == {code}


def test_other_leaves_under_an_honest_checkpoint_are_a_fork(lab: TakenLab) -> None:
    asked = lab.ask()
    given = [lab.approval(asked, member) for member in ("bob", "carol")]
    lab.submit(*given)

    def swap(method: str, path: str, body: bytes) -> bytes | None:
        if not path.startswith("/tile/entries/"):
            return None
        real = urllib3.request("GET", honest_url + path).data
        return real.replace(asked.record_digest.encode(), given[0].record_digest.encode())

    honest_url = lab.url("service")
    with lying(lab.lab, swap):
        assert code_of(lambda: lab.release(asked, *given)) == {"log-fork"}
    assert lab.judged(lab.release(asked, *given)) == set()


def test_a_log_that_was_cut_off_writes_nothing_behind_its_witnesses(lab: TakenLab, tmp_path: Path) -> None:
    copy = tmp_path / "lab"
    copy.mkdir()
    with lab.disk():  # no half batch
        for name in ("log", "trust", "keys"):
            shutil.copytree(lab.lab / name, copy / name)
        for name in ("index.sqlite", "keyturn.toml"):
            shutil.copy(lab.lab / name, copy / name)
    (copy / "run").mkdir()
    shutil.copy(lab.lab / "run" / "witness-north.json", copy / "run")
    lab.ask()  # what the copy does not have
    with running([*KEYTURN, "serve", "--lab", copy], environment={"KEYTURN_HOME": str(lab.home("nobody"))}) as process:
        process.wait_for_line("log-behind-witnesses")
        url = json.loads(wait_for_file(copy / "run" / "service.json", process))["url"]
        assert code_of(lambda: LogOverHttp(url).append(dsse.render(lab.ask(submit=False)))) == {"log-behind-witnesses"}


# --- root keys -------------------------------------------------------------------------------------------------------------


def newest_files(lab: TakenLab) -> dict[str, bytes]:
    raw = max((lab.lab / "trust" / "versions").iterdir()).read_bytes()
    return {**dict(trust_version.parse(raw).files), "policy/main.cedar": POLICY}


def targets(lab: TakenLab, version: int, *keys: object) -> bytes:
    files = newest_files(lab)
    raw = trust_signing.make_targets(files, lab=LAB, version=version, expires_at=2**32)
    for key in keys:
        raw = trust_signing.add_signature(raw, key)  # type: ignore[attr-defined]  # keys of the lab
    return trust_version.render(
        TrustVersion(role="targets", version=version, metadata=raw, files=tuple(sorted(files.items())))
    )


def lonely_root(lab: TakenLab) -> bytes:
    """The next root, by which Ada alone is the threshold."""
    ada = lab.trust_key("ada")
    holders = (
        Holder(human="ada", key=ada.public, root=True, targets=True, recovery=False),
        Holder(human="bob", key=lab.trust_key("bob").public, root=True, targets=True, recovery=False),
    )
    raw = trust_signing.make_root(
        lab=LAB,
        profile="demo",
        version=2,
        expires_at=2**32,
        threshold=2,
        targets_threshold=2,
        holders=holders,
        online=lab.stolen("keys/online").public,
    )
    return trust_version.render(TrustVersion(role="root", version=2, metadata=trust_signing.add_signature(raw, ada)))


def test_fewer_root_keys_than_the_threshold_change_nothing(lab: TakenLab) -> None:
    ada, online = lab.trust_key("ada"), lab.stolen("keys/online")
    lies = {
        "one of two": (targets(lab, 2, ada), {"trust-threshold"}),
        "one, and the online key": (targets(lab, 2, ada, online), {"trust-threshold"}),
        "one, and another's key that is not for trust": (targets(lab, 2, ada, lab.key("bob")), {"trust-threshold"}),
        "one, under another's key id": (as_if(targets(lab, 2, ada), ada, lab.trust_key("bob")), {"trust-threshold"}),
        "a version that skips": (targets(lab, 7, ada), {"trust-version-skipped"}),
        "a root": (lonely_root(lab), {"trust-threshold"}),
    }
    for what, (raw, codes) in lies.items():
        assert code_of(lambda raw=raw: lab.log.append(raw)) == codes, what
    lab.write(*(raw for raw, _ in lies.values()))
    asked = lab.ask()
    own = lab.approval(asked, "ada")
    lab.submit(own)
    assert code_of(lambda: lab.release(asked, own)) == {"quorum-not-met"}
    first = sorted((lab.lab / "trust" / "versions").iterdir())
    assert [lab.log.append(path.read_bytes()) for path in first] == [0, 1], "an old version again is the old one"
    asked, given = approved(lab)
    assert lab.judged(lab.release(asked, *given)) == set()


def as_if(raw: bytes, key: object, other: object) -> bytes:
    made = trust_version.parse(raw)
    metadata = made.metadata.replace(
        key.public.keyid.encode(),
        other.public.keyid.encode(),  # type: ignore[attr-defined]  # keys of the lab
    )
    return trust_version.render(TrustVersion(role="targets", version=made.version, metadata=metadata, files=made.files))
