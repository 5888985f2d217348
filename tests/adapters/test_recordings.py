"""A recording opens to a quorum of its keyholders, whole or as far as it goes, and to nobody else."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.adapters.recordings.sealing import commitment_of, open_share, opened, seal_key
from keyturn.adapters.recordings.tape import Tape
from keyturn.errors import KeyturnError, Refused, Tampered
from keyturn.formats.sealed_recording import Header, parse_head, render_head
from keyturn.trust.keyholders import Keyholder, Keyholders

GATE = "keyturn://acme.example/gate/front"
KEYS = {name: x25519.X25519PrivateKey.generate() for name in ("carol", "dan", "eve")}


def spki(key: x25519.X25519PrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def head(key: bytes, *, request: str = "ab" * 32, quorum: int = 2) -> Header:
    to = Keyholders(quorum, tuple(Keyholder(name, spki(one)) for name, one in KEYS.items()))
    return Header(
        resource="keyturn://acme.example/host/gpu1",
        version=1,
        lab="acme.example",
        gate=GATE,
        request=request,
        host="keyturn://acme.example/gate/gpu1",
        account="ada",
        what="shell",
        begun_at=1,
        targets_version=1,
        quorum=quorum,
        commitment=commitment_of(key),
        shares=seal_key(key, to, gate=GATE, request=request),
    )


def taped(path: Path, *writes: tuple[str, bytes]) -> tuple[Header, bytes]:
    key = secrets.token_bytes(32)
    header = head(key)

    def failed(err: KeyturnError) -> None:
        raise AssertionError(err)

    tape = Tape(path, head=render_head(header), key=key, cast={"version": 2}, failed=failed, drained=lambda: None)
    for code, data in writes:
        tape.write(code, data)
    tape.close()
    return header, path.read_bytes()


def shares(header: Header, *names: str) -> list[bytes]:
    return [open_share(header, name, KEYS[name]) for name in names]


def plain(header: Header, raw: bytes, *names: str) -> bytes:
    return b"".join(opened(io.BytesIO(raw), shares(header, *(names or ("carol", "dan")))))


@pytest.mark.parametrize("names", [("carol", "dan"), ("eve", "carol"), ("dan", "eve"), ("carol", "dan", "eve")])
def test_any_quorum_of_keyholders_opens_a_recording(tmp_path: Path, names: tuple[str, ...]) -> None:
    header, raw = taped(tmp_path / "one", ("o", b"hello\n"))
    lines = [json.loads(line) for line in plain(header, raw, *names).splitlines()]
    assert [line[1:] for line in lines[1:]] == [["o", "hello\n"]]
    assert parse_head(raw)[0] == header


def test_nobody_alone_opens_it_nor_with_a_share_of_another(tmp_path: Path) -> None:
    header, raw = taped(tmp_path / "one", ("o", b"hello\n"))
    for alone in (shares(header, "carol"), [*shares(header, "carol"), *shares(header, "carol")], []):
        with pytest.raises(Refused) as refused:
            list(opened(io.BytesIO(raw), alone))
        assert refused.value.code == "share-quorum"
    other = head(secrets.token_bytes(32))
    with pytest.raises(Tampered) as tampered:
        list(opened(io.BytesIO(raw), [*shares(header, "carol"), *shares(other, "dan")]))
    assert tampered.value.code == "share-other"
    with pytest.raises(Refused) as refused:
        open_share(header, "carol", KEYS["dan"])
    assert refused.value.code == "share-other-key"
    with pytest.raises(Refused) as refused:
        open_share(header, "mallory", KEYS["dan"])
    assert refused.value.code == "share-none"


def test_a_share_is_bound_to_its_request_and_its_holder() -> None:
    key = secrets.token_bytes(32)
    header = head(key)
    first, second, third = header.shares
    for moved in (
        Header(**{name: getattr(header, name) for name in Header.__struct_fields__} | {"request": "cd" * 32}),
        Header(
            **{name: getattr(header, name) for name in Header.__struct_fields__} | {"shares": (second, first, third)}
        ),
    ):
        with pytest.raises(Refused):
            open_share(moved, "carol", KEYS["carol"])


def test_what_was_changed_moved_or_left_out_is_not_shown_as_whole(tmp_path: Path) -> None:
    blocks = tuple(("o", bytes([65 + n]) * 600_000) for n in range(3))
    header, raw = taped(tmp_path / "one", *blocks)
    _, begin = parse_head(raw)
    ends, at = [], begin
    while at < len(raw):
        at += 4 + int.from_bytes(raw[at : at + 4], "big")
        ends.append(at)
    assert len(ends) > 2
    cases = {
        "a changed byte": raw[: begin + 40] + bytes([raw[begin + 40] ^ 1]) + raw[begin + 41 :],
        "a chunk left out": raw[: ends[0]] + raw[ends[1] :],
        "two chunks exchanged": raw[: ends[0]] + raw[ends[1] : ends[2]] + raw[ends[0] : ends[1]] + raw[ends[2] :],
        "bytes behind the end": raw + b"\0",
        "another header": raw.replace(b'"account":"ada"', b'"account":"bob"', 1),
        "a length beyond all": raw[:begin] + b"\xff\xff\xff\xff" + raw[begin + 4 :],
    }
    for name, changed in cases.items():
        with pytest.raises(Tampered):
            plain(header, changed)
            pytest.fail(name)
    for cut in (ends[0], ends[1], ends[1] + 2, len(raw) - 1):
        shown = b""
        with pytest.raises(Refused) as refused:
            for chunk in opened(io.BytesIO(raw[:cut]), shares(header, "carol", "dan")):
                shown += chunk
        assert refused.value.code == "recording-cut"
        assert plain(header, raw).startswith(shown)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ioe"), st.binary(max_size=40) | st.text(max_size=8).map(str.encode)), max_size=12
    )
)
def test_every_byte_that_went_through_is_on_the_tape(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[str, bytes]]
) -> None:
    import base64

    header, raw = taped(tmp_path_factory.mktemp("tape") / "one", *writes)
    _, *lines = (json.loads(line) for line in plain(header, raw).splitlines())
    for code in "ioe":
        went = b"".join(data for one, data in writes if one == code)
        found = b"".join(
            text.encode() if one == code else base64.b64decode(text) for _, one, text in lines if one.lower() == code
        )
        assert found == went


@pytest.mark.parametrize(
    ("library", "words", "code"),
    [
        pytest.param(
            "asyncssh", ("gate", "bastion", "run", "--dir", "bastion"), "bastion-not-installed", id="a bastion"
        ),
        pytest.param(
            "Crypto.Protocol.SecretSharing",
            ("grant", "replay", "recording", "--share", "recording"),
            "recordings-not-installed",
            id="whoever replays",
        ),
    ],
)
def test_where_the_client_alone_is_installed_it_says_what_is_missing(
    tmp_path: Path, library: str, words: tuple[str, ...], code: str
) -> None:
    (tmp_path / "recording").write_bytes(b"")
    program = f"import sys; sys.modules[{library!r}] = None; from keyturn.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done
    assert f"[{code}]" in done.stderr
    assert "keyturn[server]" in done.stderr
