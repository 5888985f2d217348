"""Digests, paths, free text and resource names: one text each, and nothing hidden in them."""

from __future__ import annotations

import dataclasses
import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError, Malformed
from keyturn.formats import digest, text
from keyturn.formats.digest import ArtifactDigest, dir_hash, parse_sha256, sha256
from keyturn.formats.plain_text import plain
from keyturn.formats.uri import Uri

HEX = "0123456789abcdef" * 4

segments = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
uris = st.builds(
    Uri,
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}(\.[a-z0-9][a-z0-9-]{0,20}){0,3}", fullmatch=True),
    st.sampled_from(["host", "model", "gate", "trust"]),
    st.lists(segments, min_size=1, max_size=8).map("/".join),
)


def refused(call):
    with pytest.raises(Malformed) as caught:
        call()
    return caught.value.code


@given(st.sampled_from(["dirHash", "sha256"]), st.binary(min_size=32, max_size=32))
def test_an_artifact_digest_survives_its_text(algorithm, raw):
    value = ArtifactDigest(algorithm, raw.hex())
    assert ArtifactDigest.parse(str(value)) == value


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param("", "digest-algorithm", id="nothing"),
        pytest.param(HEX, "digest-algorithm", id="no algorithm"),
        pytest.param(f"md5:{HEX}", "digest-algorithm", id="another algorithm"),
        pytest.param(f"SHA256:{HEX}", "digest-algorithm", id="another spelling"),
        pytest.param(f"dirhash:{HEX}", "digest-algorithm", id="dirHash in lower case"),
        pytest.param(f"sha256:{HEX.upper()}", "digest-invalid", id="upper case"),
        pytest.param(f"sha256:{HEX[:-1]}", "digest-invalid", id="63 digits"),
        pytest.param(f"sha256:{HEX}0", "digest-invalid", id="65 digits"),
        pytest.param(f"sha256:{HEX}\n", "digest-invalid", id="a newline after it"),
        pytest.param(f"sha256: {HEX[1:]}", "digest-invalid", id="a space"),
        pytest.param(f"sha256:{'٠' * 64}", "digest-invalid", id="digits of another script"),
    ],
)
def test_a_digest_has_one_text(raw, code):
    assert refused(lambda: ArtifactDigest.parse(raw)) == code


def test_dir_hash_and_sha256_of_the_same_digits_are_never_the_same():
    assert ArtifactDigest("dirHash", HEX) != ArtifactDigest("sha256", HEX)


def test_no_digest_of_another_algorithm_is_made():
    assert refused(lambda: ArtifactDigest("md5", HEX)) == "digest-algorithm"
    assert refused(lambda: ArtifactDigest("sha256", HEX[:-1])) == "digest-invalid"


def test_what_was_expected_is_named():
    with pytest.raises(Malformed, match="request: expected"):
        parse_sha256("x", what="request")


def test_dir_hash_is_the_go_module_hash_in_hex():
    # h1 of golang.org/x/mod/sumdb/dirhash: SHA-256 over `sha256sum` lines in order of the names.
    files = {"b.txt": b"two", "a/a.txt": b"one", "é": b"three"}
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in ("a/a.txt", "b.txt", "é"))
    made = dir_hash((name, sha256(content)) for name, content in files.items())
    assert made == ArtifactDigest("dirHash", hashlib.sha256(lines.encode()).hexdigest())


def test_dir_hash_binds_names_and_contents_and_not_order():
    files = [("a", sha256(b"1")), ("b", sha256(b"2"))]
    assert dir_hash(files) == dir_hash(reversed(files))
    swapped = [("a", sha256(b"2")), ("b", sha256(b"1"))]
    renamed = [("a", sha256(b"1")), ("c", sha256(b"2"))]  # the same contents in the same order
    assert len({dir_hash(one) for one in (files, swapped, renamed, files[:1])}) == 4


def test_a_directory_has_files_and_each_once():
    assert refused(lambda: dir_hash([])) == "directory-empty"
    assert refused(lambda: dir_hash([("a", sha256(b"1")), ("a", sha256(b"2"))])) == "path-duplicate"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="nothing"),
        pytest.param("/etc/passwd", id="an absolute path"),
        pytest.param("..", id="the parent"),
        pytest.param("a/../b", id="the parent inside"),
        pytest.param("./a", id="a dot"),
        pytest.param("a//b", id="an empty segment"),
        pytest.param("a/", id="a slash at the end"),
        pytest.param("a\\..\\b", id="backslashes"),
        pytest.param("a\nb", id="a newline"),
        pytest.param("a\x00b", id="a null"),
        pytest.param("\x1b[2Ja", id="a terminal escape"),
        pytest.param("a\x7f", id="delete"),
        pytest.param("a\u009bb", id="a C1 control, which is an escape to some terminals"),
        pytest.param("a\u2028b", id="a line separator"),
        pytest.param("gpj.\u202eexe", id="a direction override"),
        pytest.param("a\u200bb", id="a zero-width space"),
        pytest.param("a\ud800", id="a lone surrogate"),
        pytest.param("a" * 4097, id="4097 bytes"),
        pytest.param("é" * 2049, id="4098 bytes in 2049 characters"),
    ],
)
def test_a_path_stays_in_its_directory_and_shows_itself(path):
    assert refused(lambda: digest.check_path(path)) == "path-invalid"


@pytest.mark.parametrize("path", ["a", "a b/c.d", ".hidden", "...", "été/☃.txt", "é" * 2048, "~", "-rf", "a:b"])
def test_other_paths_are_kept_as_they_are(path):
    assert digest.check_path(path) == path


@pytest.mark.parametrize(
    "character",
    [
        pytest.param("\x00", id="null"),
        pytest.param("\x1b", id="escape"),
        pytest.param("\r", id="carriage return"),
        pytest.param("\t", id="tab"),
        pytest.param("\x7f", id="delete"),
        pytest.param("\u0085", id="next line"),
        pytest.param("\u009b", id="control sequence introducer"),
        pytest.param("\u00ad", id="soft hyphen"),
        pytest.param("\u200b", id="zero-width space"),
        pytest.param("\u200e", id="left-to-right mark"),
        pytest.param("\u202e", id="right-to-left override"),
        pytest.param("\u2066", id="left-to-right isolate"),
        pytest.param("\u2028", id="line separator"),
        pytest.param("\ufeff", id="byte order mark"),
        pytest.param("\ue000", id="private use"),
        pytest.param("\U000e0041", id="tag letter"),
        pytest.param("\ud800", id="lone surrogate"),
    ],
)
def test_what_does_not_show_itself_is_refused_in_free_text(character):
    with pytest.raises(Malformed) as caught:
        text.check_free_text(f"è ok{character}", what="reason")
    assert caught.value.code == "text-control-character"
    assert f"U+{ord(character):04X} at character 4" in caught.value.message


@pytest.mark.parametrize("written", ["", "plain", "two\nlines", "«è» ☃ 日本語", "é" * 1000])
def test_what_people_write_is_kept(written):
    assert text.check_free_text(written, what="reason") == written


def test_free_text_is_bounded_in_bytes():
    assert refused(lambda: text.check_free_text("é" * 1001, what="reason")) == "text-too-long"
    assert refused(lambda: text.check_free_text("a" * 11, what="reason", size_bytes_max=10)) == "text-too-long"


@pytest.mark.parametrize(
    ("kind", "accepted", "others"),
    [
        (
            text.MemberId,
            ["ada", "ada+coder", "a.b-c_d"],
            ["Ada", "ada+", "+ada", "ada+a+b", "ada\n", "1ada", "a" * 64, "а"],
        ),
        (
            text.LabName,
            ["acme.example", "a"],
            ["", "Acme", "acme..example", ".acme", "acme.", "acme\n", "-a", "a" * 64],
        ),
        (text.Name, ["weights-read", "0"], ["", "a b", "-a", "a/b", "a\n", "a" * 64]),
        (text.Nonce, ["0" * 32], ["0" * 31, "0" * 33, "F" * 32, "0" * 32 + "\n"]),
        (text.HexDigest, ["0" * 64], ["0" * 63, "0" * 65, "F" * 64, "0" * 64 + "\n"]),
    ],
)
def test_names_have_one_alphabet_and_an_end(kind, accepted, others):
    for name in accepted:
        assert msgspec.convert(name, kind) == name
    for name in others:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(name, kind)


@pytest.mark.parametrize(
    ("kind", "accepted", "others"),
    [
        (text.PosixTime, [0, 253_402_300_799], [-1, 253_402_300_800, 2**63, 2**64, 1.5, True]),
        (text.Size, [0, 2**53 - 1], [-1, 2**53, 2**63, 1.5]),
    ],
)
def test_numbers_have_bounds(kind, accepted, others):
    for number in accepted:
        assert msgspec.convert(number, kind) == number
    for number in others:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(number, kind)


@given(uris)
def test_a_uri_survives_its_text(uri):
    assert Uri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param("", "uri-invalid", id="nothing"),
        pytest.param("https://acme.example/model/a", "uri-invalid", id="another scheme"),
        pytest.param("KEYTURN://acme.example/model/a", "uri-invalid", id="the scheme in upper case"),
        pytest.param("keyturn://" + "a" * 1100, "uri-invalid", id="too long"),
        pytest.param("keyturn:///model/a", "uri-lab", id="no lab"),
        pytest.param("keyturn://Acme.example/model/a", "uri-lab", id="a lab in upper case"),
        pytest.param("keyturn://acme.example:80/model/a", "uri-lab", id="a port"),
        pytest.param("keyturn://ada@acme.example/model/a", "uri-lab", id="a user"),
        pytest.param("keyturn://acme.example\n/model/a", "uri-lab", id="a newline in the lab"),
        pytest.param("keyturn://acme.example/weights/a", "uri-type", id="another type"),
        pytest.param("keyturn://acme.example", "uri-type", id="no type"),
        pytest.param("keyturn://acme.example/model", "uri-name", id="no name"),
        pytest.param("keyturn://acme.example/model/", "uri-name", id="an empty name"),
        pytest.param("keyturn://acme.example/model/a/", "uri-name", id="an empty last segment"),
        pytest.param("keyturn://acme.example/model/a//b", "uri-name", id="an empty segment"),
        pytest.param("keyturn://acme.example/model/../gate/a", "uri-name", id="a parent directory"),
        pytest.param("keyturn://acme.example/model/a%2fb", "uri-name", id="percent encoding"),
        pytest.param("keyturn://acme.example/model/a?b", "uri-name", id="a query"),
        pytest.param("keyturn://acme.example/model/A", "uri-name", id="upper case"),
        pytest.param("keyturn://acme.example/model/а", "uri-name", id="a letter of another script"),
        pytest.param("keyturn://acme.example/model/a\n", "uri-name", id="a newline after it"),
        pytest.param("keyturn://acme.example/model/\x1b[2J", "uri-name", id="a terminal escape"),
        pytest.param("keyturn://acme.example/model/" + "/".join("a" * 9), "uri-name", id="nine segments"),
        pytest.param("keyturn://acme.example/model/" + "a" * 64, "uri-name", id="a segment of 64 characters"),
    ],
)
def test_a_resource_has_one_text(raw, code):
    assert refused(lambda: Uri.parse(raw)) == code


def test_a_resource_made_in_parts_is_checked_like_one_that_is_read():
    good = Uri.parse("keyturn://acme.example/model/aurora")
    assert refused(lambda: dataclasses.replace(good, lab="acme.example/model")) == "uri-lab"
    assert refused(lambda: dataclasses.replace(good, type="weights")) == "uri-type"
    assert refused(lambda: dataclasses.replace(good, name="../gate")) == "uri-name"


def test_a_resource_is_identified_by_the_digest_of_its_text():
    uri = Uri.parse("keyturn://acme.example/model/aurora")
    assert uri.digest == hashlib.sha256(str(uri).encode()).hexdigest()


def test_an_error_says_its_code():
    assert str(KeyturnError("some-code", "some text")) == "some text [some-code]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain", "plain", id="text stays as it is"),
        pytest.param("gr\u00fcn \u65e5", "gr\u00fcn \u65e5", id="in every language"),
        pytest.param("a\nb", "a\nb", id="and so does a line end"),
        pytest.param("a\x1b[31mb\x9b\x00", r"a\x1b[31mb\x9b\x00", id="terminal escapes"),
        pytest.param("a\u202eb\u200b", r"a\u202eb\u200b", id="what turns or hides text"),
        pytest.param("a\u2028b\u2029\r", r"a\u2028b\u2029\r", id="other line ends"),
        pytest.param(
            "Tie\u0302\u0301ng \u0e17\u0e35\u0e48",
            "Tie\u0302\u0301ng \u0e17\u0e35\u0e48",
            id="marks that languages write",
        ),
        pytest.param("e" + "\u0301" * 6, "e" + "\u0301" * 4 + r"\u0301\u0301", id="a tower of marks"),
        pytest.param(
            "e\u20dd\u0301\u093e\u034f\u0301a\u0301",
            "e\u20dd\u0301\u093e\u034f" + r"\u0301" + "a\u0301",
            id="of any kind",
        ),
        pytest.param("\u0301a\n\u0301", r"\u0301a" + "\n" + r"\u0301", id="marks that stand on nothing"),
        pytest.param("e" + "\U00016af0" * 5, "e" + "\U00016af0" * 4 + r"\U00016af0", id="a mark of another plane"),
    ],
)
def test_what_could_act_on_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert plain(text) == shown
