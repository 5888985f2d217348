"""What a real proxy says of a client's certificate is believed, and nobody else is: HAProxy as the guide configures it."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.wiring.lab.credentials import credentials_for
from keyturn.wiring.lab.login import show_certificate
from keyturn.wiring.lab.places import find_lab
from service.conftest import make_lab_on_disk
from support.lab_on_disk import put_on_disk
from support.labs import make_lab
from support.logins import serving
from support.tls_proxy import PROXY_SECRET, Authority, digest_of, guide_configuration, tls_proxy

__all__ = ["make_lab_on_disk"]

CLOSED = "/index/kinds?kinds=req"
PLAIN = urllib3.PoolManager(retries=False)


@dataclass
class Behind:
    """A closed service at `service`, and the proxy before it at `url`; `listed` may come in."""

    service: str
    url: str
    authority: Authority
    listed: Path

    def get(
        self, certificate: Path | None = None, headers: Any = None, *, url: str | None = None, path: str = CLOSED
    ) -> Any:
        tls = ssl.create_default_context(cafile=str(self.authority.pem))
        if certificate is not None:
            tls.load_cert_chain(certificate)
        http = urllib3.PoolManager(retries=False, ssl_context=tls)
        return http.request("GET", (url or self.url) + path, headers=headers)

    def code(self, certificate: Path | None = None, headers: Any = None, *, url: str | None = None) -> str:
        """The code of the 401 that comes instead of what is asked for; `` when it is given."""
        answer = self.get(certificate, headers, url=url)
        assert answer.status in (200, 401), answer.data
        return str(answer.json()["code"]) if answer.status == 401 else ""


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """One for all tests that change nothing of it."""
    place = tmp_path_factory.mktemp("behind")
    lab = put_on_disk(make_lab(now=int(time.time())), place / "lab")
    authority = Authority(place / "ca")
    listed = authority.issue("gate-release")
    with (
        serving(lab, certificates(digest_of(listed)), "--behind-proxy") as (_, service),
        tls_proxy(service, authority, place) as url,
    ):
        yield Behind(service, url, authority, listed)


def certificates(*digests: str) -> str:
    lines = (f'machine-{number} = "{digest}"' for number, digest in enumerate(digests))
    return "version = 1\n[certificates]\n" + "\n".join(lines) + '\n[proxy]\nsecret_file = "proxy.secret"\n'


def named(pem: Path, **more: str) -> dict[str, str]:
    """The header by which a proxy names the certificate in `pem`."""
    der = x509.load_pem_x509_certificate(pem.read_bytes()).public_bytes(Encoding.DER)
    return {"Client-Cert": f":{base64.b64encode(der).decode()}:", **more}


def test_whose_certificate_is_listed_comes_in_and_everybody_else_is_told_why_not(
    behind: Behind, tmp_path: Path
) -> None:
    def stranger(name: str) -> Path:
        return Authority(tmp_path / name, name=name).issue("gate-release")

    assert behind.code(behind.listed) == ""
    assert behind.code() == "login-needed"
    assert behind.get().json()["hint"] == "keyturn login --certificate FILE --certificate-key FILE"
    for pem, code, words in (
        (behind.authority.issue("unlisted"), "login-certificate-unlisted", "lets nobody in"),
        (behind.authority.issue("expired", days=-1), "login-certificate-refused", "has expired"),
        (stranger("another"), "login-certificate-refused", "of a CA that"),
        (stranger("the lab's CA"), "login-certificate-refused", "by another key"),
    ):
        said = behind.get(pem).json()
        assert (said["code"], words in said["detail"], bool(said["hint"])) == (code, True, True), said


def test_a_listed_certificate_that_has_expired_lets_nobody_in(
    make_lab_on_disk: Callable[..., Any], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    over = authority.issue("gate-release", days=-1)
    with (
        serving(make_lab_on_disk(), certificates(digest_of(over)), "--behind-proxy") as (_, service),
        tls_proxy(service, authority, tmp_path) as url,
    ):
        assert Behind(service, url, authority, over).code(over) == "login-certificate-refused"


def test_what_a_client_writes_into_the_proxys_headers_does_not_arrive(behind: Behind) -> None:
    forged = named(behind.listed)
    for headers in (
        forged,
        forged | {"Keyturn-Proxy": PROXY_SECRET},  # and if he had it
        {name.upper(): text for name, text in forged.items()},
        {"client_cert": forged["Client-Cert"]},
        {"Client-Cert-Error": "0"},
    ):
        assert behind.code(None, headers) == "login-needed"
    unlisted = behind.authority.issue("unlisted")
    assert behind.code(unlisted, forged) == "login-certificate-unlisted"
    assert behind.code(behind.authority.issue("over", days=-1), forged) == "login-certificate-refused"
    assert behind.code(behind.listed, named(unlisted) | {"Client-Cert-Error": "10"}) == ""
    twice = urllib3.HTTPHeaderDict(forged)
    twice.add("Client-Cert", forged["Client-Cert"])
    assert behind.code(None, twice) == "login-needed"
    assert behind.code(unlisted, twice) == "login-certificate-unlisted"


def test_who_goes_round_the_proxy_cannot_say_what_it_says(behind: Behind) -> None:
    at = {"url": behind.service}
    assert behind.code(None, **at) == "login-needed"  # type: ignore[arg-type]
    for headers in (
        named(behind.listed),
        named(behind.listed, **{"Keyturn-Proxy": ""}),
        named(behind.listed, **{"Keyturn-Proxy": PROXY_SECRET[:-1]}),
        named(behind.listed, **{"Keyturn-Proxy": f"{PROXY_SECRET},{PROXY_SECRET}"}),
        named(behind.listed, **{"X-Forwarded-For": "127.0.0.1"}),
    ):
        assert behind.code(None, headers, url=behind.service) == "login-not-the-proxy"
    secrets = urllib3.HTTPHeaderDict(named(behind.listed))
    secrets.add("Keyturn-Proxy", "x")
    secrets.add("Keyturn-Proxy", PROXY_SECRET)
    assert behind.code(None, secrets, url=behind.service) == "login-not-the-proxy"
    # Whoever has the secret is the proxy; and of two certificates, none counts.
    proxy = {"Keyturn-Proxy": PROXY_SECRET}
    assert behind.code(None, named(behind.listed, **proxy), url=behind.service) == ""
    two = urllib3.HTTPHeaderDict(named(behind.listed, **proxy))
    two.add("Client-Cert", named(behind.listed)["Client-Cert"])
    assert behind.code(None, two, url=behind.service) == "login-certificate-header"
    for wrong in ("", "::", ":@:", ":QQ:", "QQ==", ":" + "A" * 40_000 + ":"):
        assert behind.code(None, {"Client-Cert": wrong, **proxy}, url=behind.service) == "login-certificate-header"


def test_a_proxy_that_forgets_to_remove_the_header_lets_nobody_in_by_it(
    make_lab_on_disk: Callable[..., Any], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    listed = authority.issue("gate-release")
    forgetful = "".join(line for line in guide_configuration().splitlines(True) if "del-header" not in line)
    with (
        serving(make_lab_on_disk(), certificates(digest_of(listed)), "--behind-proxy") as (_, service),
        tls_proxy(service, authority, tmp_path, configuration=forgetful) as url,
    ):
        behind = Behind(service, url, authority, listed)
        assert behind.code(listed) == ""
        assert behind.code(None, named(listed)) == "login-not-the-proxy"
        assert behind.code(authority.issue("unlisted"), named(listed)) == "login-certificate-unlisted"
        assert behind.code(authority.issue("over", days=-1), named(listed)) == "login-certificate-refused"


def test_commands_show_their_certificate_and_say_what_to_type_without_one(
    behind: Behind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "home"))
    client = HttpClient(behind.url, credentials=credentials_for(behind.url))
    with pytest.raises(Unavailable, match="server-certificate"):
        client.get(CLOSED)
    monkeypatch.setenv("SSL_CERT_FILE", str(behind.authority.pem))
    client = HttpClient(behind.url, credentials=credentials_for(behind.url))
    with pytest.raises(Unavailable, match="login-needed"):
        client.get(CLOSED)
    place = find_lab(behind.url)
    exposed = behind.authority.issue("exposed")
    exposed.chmod(0o644)
    for pem, code in ((exposed, "login-exposed"), (behind.authority.pem, "login-exposed")):
        with pytest.raises(Refused, match=code):
            show_certificate(place, pem, None)
    other = behind.authority.issue("another's")
    with pytest.raises(Refused, match=r"login-certificate\b"):
        show_certificate(place, behind.listed, other)
    with pytest.raises(Unavailable, match="login-certificate-expired"):
        show_certificate(place, behind.authority.issue("over", days=-1), None)
    assert not (tmp_path / "home" / "logins").exists()
    assert show_certificate(place, other, None) == (behind.url, digest_of(other))
    with pytest.raises(Unavailable, match="login-certificate-unlisted"):
        client.get(CLOSED)  # the same client: what it shows is looked up for each exchange
    other.write_bytes(behind.listed.read_bytes())  # renewed in place
    assert client.get(CLOSED) == b"[]"
    (kept,) = (tmp_path / "home" / "logins").iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"localhost", b"elsewhere"))
    with pytest.raises(Malformed, match="login-file"):
        client.get(CLOSED)


@pytest.mark.parametrize(
    ("issued", "code"),
    [
        (None, "login-needed"),
        ("another", "login-certificate-refused"),
        ("the lab's CA", "login-certificate-refused"),
    ],
    ids=["without one", "of another CA", "of another CA of the same name"],
)
def test_a_proxy_that_ends_the_handshake_is_understood(
    behind: Behind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issued: str | None, code: str
) -> None:
    strict = guide_configuration().replace("verify optional crt-ignore-err all ca-ignore-err all", "verify required")
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SSL_CERT_FILE", str(behind.authority.pem))
    with tls_proxy(behind.service, behind.authority, tmp_path, configuration=strict) as url:
        if issued is not None:
            show_certificate(find_lab(url), Authority(tmp_path / issued, name=issued).issue("gate-release"), None)
        with pytest.raises(Unavailable, match=code):
            HttpClient(url, credentials=credentials_for(url)).get(CLOSED)


def test_no_second_request_is_smuggled_past_the_proxy(behind: Behind) -> None:
    """As if the proxy's secret were known: a request that came to the service as it was written here would be let in."""
    (_, forged), *_ = named(behind.listed).items()
    ours = f"Client-Cert: {forged}\r\nKeyturn-Proxy: {PROXY_SECRET}\r\n"
    inner = f"GET {CLOSED} HTTP/1.1\r\nHost: x\r\n{ours}\r\n"
    assert heard(behind.service, inner).startswith(b"HTTP/1.1 200")
    chunk = f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"
    twice = f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n"
    length, chunked = f"Content-Length: {len(inner)}\r\n", "Transfer-Encoding: chunked\r\n"
    folded, bare = ours.replace("\r\n", "\r\n "), ours.replace("\r\n", "\n")
    attacks = [
        *((head, "0\r\n\r\n" + inner) for head in (length + chunked, chunked + length, chunked * 2)),
        *((f"Content-Length: 4\r\n{te}\r\n", chunk) for te in SMUGGLED_TRANSFER_ENCODINGS),
        *((f"{te}\r\n", "0\r\n\r\n" + inner) for te in SMUGGLED_TRANSFER_ENCODINGS),
        *((f"Content-Length: {said}\r\n", inner) for said in ("+0", "-1", "0x0", "0, 9", "0 9", "", "9" * 30)),
        *((f"X: a{end}{ours}\r\n", "") for end in ("\r", "\n", "\0\r\n", "\x0b", "\x85", "\r\n ", "\r\n\t")),
        *((f"X: a\r\n{name}: {forged}\r\n{ours[ours.index('Keyturn') :]}", "") for name in SMUGGLED_NAMES),
        (twice, inner),
        (length + "Expect: 100-continue\r\n", inner),
        (chunked, f"0\r\n{ours}\r\n"),  # trailers
        (chunked, f"0;x=\n\r\n\r\n{inner}"),
        (chunked, f"10000000000000000\r\n{inner}"),
        (chunked, f"0\n\n{inner}"),
        (chunked, f"\r\n0\r\n\r\n{inner}"),
        (f"X: a\r\n {folded}\r\n", ""),
        (bare, ""),
        ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", inner),
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AA==\r\n",
            inner,
        ),
        (f"Connection: close, Client-Cert-Error, Keyturn-Proxy\r\n{ours}", ""),
    ]
    heads = [f"{line} HTTP/1.1\r\nHost: x\r\n" for line in ("POST /checkpoint", f"GET {CLOSED}")]
    said = [head + more + "\r\n" + body for more, body in attacks for head in heads]
    said += [f"GET {CLOSED} HTTP/1.0\r\n{ours}\r\n", f"GET {behind.service}{CLOSED} HTTP/1.1\r\nHost: x\r\n{ours}\r\n"]
    over = behind.authority.issue("over", days=-1)
    with ThreadPoolExecutor(16) as pool:
        answers = [*pool.map(lambda one: heard(behind.url, one, behind.authority), said)]
        answers += pool.map(lambda one: heard(behind.url, one, behind.authority, over), said)
    for text, answer in zip(said * 2, answers, strict=True):
        assert b"HTTP/1.1 200" not in answer, (text, answer)
        assert b"[]" not in answer, (text, answer)
    assert behind.code(behind.listed) == "", "and who comes next is answered what he asked"


SMUGGLED_TRANSFER_ENCODINGS = (
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding\r\n: chunked",
    "X: a\rTransfer-Encoding: chunked",
    "X: a\nTransfer-Encoding: chunked",
    "transfer_encoding: chunked",
    "Transfer-Encoding: \x00chunked",
)
SMUGGLED_NAMES = ("Client-Cert ", "Client_Cert", " Client-Cert", "\tClient-Cert", "Client-Cert\0", "client-cert\x0b")


def heard(url: str, said: str, authority: Authority | None = None, certificate: Path | None = None) -> bytes:
    """Everything that comes back for the bytes `said`, until nothing comes any more."""
    host, _, port = url.partition("://")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain, ExitStack() as stack:
        connection = plain
        if authority is not None:
            tls = ssl.create_default_context(cafile=str(authority.pem))
            if certificate is not None:
                tls.load_cert_chain(certificate)
            connection = stack.enter_context(tls.wrap_socket(plain, server_hostname="localhost"))
        connection.sendall(said.encode("latin-1"))
        answer = b""
        with suppress(OSError):  # it hung up, or says no more
            while part := connection.recv(65536):
                answer += part
                connection.settimeout(0.3)
        return answer
