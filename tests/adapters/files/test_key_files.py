"""Keys in files: nobody else reads them, nothing overwrites them, nothing shows them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from keyturn.adapters.files.key_files import KeyFiles, KeysInTheEnd, read_key, write_key
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Unavailable


def _code(path: Path, *, passphrase: bytes | None = None) -> str:
    with pytest.raises(KeyturnError) as caught:
        read_key(path, passphrase=passphrase)
    return caught.value.code


def test_a_key_is_made_once_with_mode_0600_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys = KeyFiles(lambda name: tmp_path / "keys" / f"{name}.pem", passphrase=None)
        made = keys.create("member")
    finally:
        os.umask(before)
    path = tmp_path / "keys" / "member.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert keys.read("member").public == made.public
    content = path.read_bytes()
    with pytest.raises(Refused, match="key-exists"):
        keys.create("member")
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["member.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o601])
def test_a_key_that_others_could_have_read_or_written_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_key(path, SoftwareKey.generate(), passphrase=None)
    path.chmod(mode)
    assert _code(path) == "key-readable-by-others"


def test_a_key_is_encrypted_when_there_is_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = SoftwareKey.generate()
    write_key(path, key, passphrase=b"correct horse")
    assert b"ENCRYPTED" in path.read_bytes()
    assert read_key(path, passphrase=b"correct horse").public == key.public
    assert _code(path) == "key-passphrase"
    assert _code(path, passphrase=b"wrong") == "key-passphrase"


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    write_key(tmp_path / "key", SoftwareKey.generate(), passphrase=None)
    (tmp_path / "link").symlink_to(tmp_path / "key")
    assert _code(tmp_path / "link") == "key-unreadable"
    with pytest.raises(Refused, match="key-exists"):
        write_key(tmp_path / "link", SoftwareKey.generate(), passphrase=None)


def test_what_is_no_key_file_is_refused(tmp_path: Path) -> None:
    assert _code(tmp_path / "none") == "key-missing"
    (tmp_path / "directory").mkdir()
    assert _code(tmp_path / "directory") == "key-no-file"
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert _code(tmp_path / "pipe") == "key-no-file"
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    assert _code(tmp_path / "text") == "key-invalid"


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="key-unwritable"):
        write_key(tmp_path / "file" / "key", SoftwareKey.generate(), passphrase=None)


def test_no_private_key_is_ever_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = SoftwareKey.generate()
    write_key(path, key, passphrase=None)
    secret = path.read_text().splitlines()[1]
    assert secret not in repr(key)
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{secret[:-4]}\n-----END PRIVATE KEY-----\n")
    with pytest.raises(KeyturnError) as caught:
        read_key(path, passphrase=None)
    shown = f"{caught.value} {caught.value.detail} {caught.value.hint} {caught.value.__cause__}"
    assert secret[:20] not in shown


def test_keys_in_the_end_are_in_no_file_before_and_over_none_after(tmp_path: Path) -> None:
    files = KeyFiles(lambda name: tmp_path / "keys" / f"{name}.pem", passphrase=None)
    keys = KeysInTheEnd(files)
    made = keys.create("member")
    assert not (tmp_path / "keys").exists()
    keys.keep()
    assert files.read("member").public == made.public
    with pytest.raises(Refused) as caught:
        KeysInTheEnd(files).create("member")
    assert caught.value.code == "key-exists"
