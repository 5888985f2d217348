"""A recording opens to a quorum of its keyholders, whole or as far as it goes, and to nobody else."""

from __future__ import annotations

import base64
import io
import json
import resource
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.adapters.bastion.side import Side
from keyturn.adapters.recordings.inside import cast_of, events_of
from keyturn.adapters.recordings.sealing import commitment_of, open_share, opened, seal_key
from keyturn.adapters.recordings.shelf import OpenTape
from keyturn.adapters.recordings.tape import BACKLOG_BYTES_MAX, Tape
from keyturn.errors import KeyturnError, Malformed, Refused, Tampered, Unavailable
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


def fails(err: KeyturnError) -> None:
    raise AssertionError(err)


def tape_at(
    path: Path,
    *,
    terminal: bool,
    failed: Callable[[KeyturnError], None] = fails,
    drained: Callable[[], None] = lambda: None,
) -> tuple[Header, Tape]:
    key = secrets.token_bytes(32)
    header = head(key)
    return header, Tape(
        path,
        head=render_head(header),
        key=key,
        cast={"version": 2},
        terminal=terminal,
        failed=failed,
        drained=drained,
    )


def taped(path: Path, *writes: tuple[str, bytes], terminal: bool = True) -> tuple[Header, bytes]:
    header, tape = tape_at(path, terminal=terminal)
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
        st.tuples(
            st.sampled_from(["i", "o", "e", "o2"]),
            st.binary(max_size=40) | st.text(max_size=8).map(str.encode) | st.sampled_from([b"\n\xff" * 4000]),
        ),
        max_size=12,
    ),
    st.booleans(),
    st.integers(1, 5000),
)
def test_every_byte_that_went_through_is_on_the_tape(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[str, bytes]], terminal: bool, cut_at: int
) -> None:
    header, raw = taped(tmp_path_factory.mktemp("tape") / "one", *writes, terminal=terminal)
    inside = plain(header, raw)
    events = list(events_of(inside[at : at + cut_at] for at in range(0, len(inside), cut_at)))
    first, *lines = (json.loads(line) for line in cast_of([inside]))
    assert first == {"version": 2}
    if terminal:
        assert b"".join(cast_of([inside])) == inside, "of a terminal nothing but asciicast is kept"
    for code in ("i", "o", "e", "o2"):
        went = b"".join(data for one, data in writes if one == code)
        assert b"".join(event.data for event in events if event.code == code) == went
        texts = ((one, text) for _, one, text in lines if one.lower() == code)
        assert b"".join(text.encode() if one == code else base64.b64decode(text) for one, text in texts) == went


def test_bulk_is_kept_as_it_is_and_a_frame_that_was_cut_off_as_far_as_it_goes(tmp_path: Path) -> None:
    block = secrets.token_bytes(32 << 10)
    early = (("o", b"\xc3"), ("i", b"x"))  # a character whose rest is still to come
    header, raw = taped(tmp_path / "one", *early, *[("o", block)] * 100, ("m", b"done"), terminal=False)
    inside = plain(header, raw)
    assert len(raw) < 1.01 * 100 * len(block), "nothing of it is base64"
    assert inside.count(b',"O",') < 20, "what comes at once is one event"
    half = b"".join(event.data for event in events_of([inside[: len(inside) // 2]]) if event.code == "o")
    assert len(half) > 45 * len(block)
    assert (b"\xc3" + block * 100).startswith(half)
    assert list(events_of([inside[:-3]]))[-1].code == "o", "a line without its end is left out"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'[1,"o",3]\nabc\n', id="a frame of text"),
        pytest.param(b'[1,"O",3]\nabcd', id="a frame without its end"),
        pytest.param(b'[1,"O",0]\n\n', id="an empty frame"),
        pytest.param(b'[1,"O",-1]\n', id="a frame of less than nothing"),
        pytest.param(b'[1,"O",99999999]\n', id="a frame beyond all"),
        pytest.param(b'[1,"O",true]\n', id="no number"),
        pytest.param(b'[1,"O","*"]\n', id="no base64"),
        pytest.param('[1,"O","ü"]\n'.encode(), id="no ASCII as base64"),
        pytest.param(b'[1,"o","\xff"]\n', id="no UTF-8"),
        pytest.param(b'[1,"o"]\n', id="too little"),
        pytest.param(b"x" * (17 << 20), id="a line beyond all"),
    ],
)
def test_what_is_no_recording_inside_is_refused(line: bytes) -> None:
    with pytest.raises(Malformed) as malformed:
        list(events_of([b"{}\n", line]))
    assert malformed.value.code == "recording-line"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=30) | st.sampled_from([b'[1,"O",2]\n', b'[1,"o","', b'"]\n', b"{}\n"])))
def test_whatever_lies_inside_it_is_read_or_refused(chunks: list[bytes]) -> None:
    for read in (events_of, cast_of):
        with suppress(Malformed):
            list(read(chunks))


class Channel:
    """Takes what a side writes."""

    def __init__(self) -> None:
        self.took = bytearray()
        self.read = True
        self.ended = False

    def write(self, data: bytes, datatype: int | None) -> None:
        self.took += data

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.read = False


def test_behind_a_tape_that_breaks_nothing_is_passed_on_nor_its_end(tmp_path: Path) -> None:
    broke = threading.Event()
    _, tape = tape_at(tmp_path / "one", terminal=False, failed=lambda err: broke.set())
    come, go = (Side(OpenTape(tape, "ab" * 32, "exec", 1), code) for code in "io")
    come.chan, go.chan, come.other, go.other = Channel(), Channel(), go, come
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        while come.chan.read and not broke.wait(0.002):  # it breaks long before it is full
            come.data_received(bytes(32 << 10), None)
        assert broke.wait(20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    passed = len(go.chan.took)
    assert passed <= BACKLOG_BYTES_MAX + 300_000 + (32 << 10)
    come.data_received(b"late", None)
    assert come.eof_received()
    assert not come.chan.read, "there is no room any more"
    assert (len(go.chan.took), go.chan.ended) == (passed, False)
    assert tape.write("o", b"late") is False
    with pytest.raises(Unavailable):
        tape.close()
    assert (tmp_path / "one").stat().st_size <= 300_000


def fill(tape: Tape) -> int:
    """Write until there is no room; how much that was."""
    block = bytes(4 << 20)
    return next(len(block) * count for count in range(1, 500) if not tape.write("o", block))


def test_no_more_waits_for_the_disk_than_the_backlog(tmp_path: Path) -> None:
    """Whoever is not read any more is read again when half of it is written."""
    drained = threading.Event()
    header, tape = tape_at(tmp_path / "one", terminal=False, drained=drained.set)
    went = 0
    for _ in range(3):
        went += fill(tape)
        assert drained.wait(20)
        drained.clear()
    tape.close()
    assert sum(len(event.data) for event in events_of([plain(header, (tmp_path / "one").read_bytes())])) == went


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_tape_whose_thread_ended_by_itself_gets_no_last_chunk(tmp_path: Path) -> None:
    def ends() -> None:
        raise RuntimeError("whatever it is")

    header, tape = tape_at(tmp_path / "one", terminal=False, drained=ends)
    fill(tape)
    with pytest.raises(Unavailable):
        tape.close()
    with pytest.raises(Refused, match="without its last chunk"):
        plain(header, (tmp_path / "one").read_bytes())


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
