"""Ask a registry for manifests and blobs by their digests, over HTTPS (OCI Distribution Specification 1.1, "Pull").

On a loopback address a registry may also speak plain HTTP: what it says to TLS shows which. A registry sends on to where its
blobs lie; that is followed within itself, and to origins that the operator listed (`oci_place`), which are not told who asks.
Names and passwords go with the first request (Basic). What a registry says is believed in nothing: see `oci_input`, which
compares. Tokens (Bearer) are not fetched: they come from another address, by a scheme of their own.

Each exchange has a deadline. Nothing is read past the size that a digest's manifest says.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin

import urllib3
from urllib3.util import parse_url

from keyturn.adapters.inputs.oci_place import OciPlace
from keyturn.adapters.over_http.bounded_http import BoundedHttp, TlsFailed, TooLate, TooLong
from keyturn.errors import Refused, Unavailable
from keyturn.formats.digest import Sha256
from keyturn.formats.input_source import OciRegistryImage
from keyturn.formats.oci_image import MANIFEST_BYTES_MAX, MEDIA_TYPES, Descriptor

__all__ = ["Registry"]

_CHUNK_BYTES = 1 << 20
_WITHIN_S = 3600.0
"""For one blob."""
_HELLO_WITHIN_S = 10.0
_SENT_ON_MAX = 3
_ADDRESS_LENGTH_MAX = 8192
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MOVED = (301, 302, 303, 307, 308)


class Registry:
    """`oci_input.Blobs` of the repository that `source` names."""

    def __init__(self, source: OciRegistryImage, place: OciPlace) -> None:
        self._source = source
        self._place = place
        self._home = _origin_of(source)
        self._authorization = place.authorization(source.host)
        self._servers: dict[str, BoundedHttp] = {}

    @property
    def again(self) -> str:
        return f"ask whoever keeps `{self._source.host}`: it is not the content that this digest names"

    def manifest(self, digest: Sha256) -> bytes:
        raw = bytearray()
        with self._asked(f"manifests/sha256:{digest}", {"Accept": ", ".join(MEDIA_TYPES)}) as parts:
            for part in parts:
                raw += part
                if len(raw) > MANIFEST_BYTES_MAX:
                    break
        return bytes(raw[: MANIFEST_BYTES_MAX + 1])

    def content(self, blob: Descriptor) -> Iterator[bytes]:
        size = 0
        with self._asked(f"blobs/sha256:{blob.digest}", {}) as parts:
            for part in parts:
                size += len(part)
                yield part
        if size < blob.size:
            raise self._failed(f"`sha256:{blob.digest}` broke off after {size} of {blob.size} bytes")

    @contextmanager
    def _asked(self, what: str, headers: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        origin, path = self._home, f"/v2/{self._source.repository}/{what}"
        try:
            for _ in range(_SENT_ON_MAX + 1):
                named = self._authorization if origin == self._home else {}
                server = self._servers.setdefault(origin, BoundedHttp(origin, within_s=_WITHIN_S, connections=1))
                with server.opened("GET", path, headers={**headers, **named}) as answer:
                    if answer.status not in _MOVED:
                        self._require_found(answer, what)
                        yield _parts(answer)
                        return
                    origin, path = self._sent_on(origin + path, answer.headers.get("Location", ""))
        except TooLate as err:
            raise self._failed(str(err)) from err
        raise self._failed(f"it sends on more than {_SENT_ON_MAX} times")

    def _sent_on(self, here: str, said: str) -> tuple[str, str]:
        try:
            url = parse_url(urljoin(here, said[:_ADDRESS_LENGTH_MAX]))
        except (ValueError, urllib3.exceptions.LocationParseError):
            url = parse_url("")
        origin = f"{url.scheme}://{url.netloc}"
        if url.auth is not None or (origin != self._home and not self._place.follows(origin)):
            shown = origin[:200].encode("unicode_escape").decode()
            raise Refused(
                "oci-redirect",
                f"`{self._source.host}` sends on to `{shown}`, where this builder may not go",
                hint=f'its operator adds "{shown}" to `follow` below `[oci]` of builder.toml',
            )
        return origin, url.request_uri

    def _require_found(self, answer: urllib3.BaseHTTPResponse, what: str) -> None:
        host = self._source.host
        if answer.status in (401, 403):
            if answer.headers.get("WWW-Authenticate", "").lower().startswith("bearer"):
                raise Refused(
                    "oci-token",
                    f"`{host}` wants a token that another address gives, and none is fetched",
                    hint=f"skopeo copy --all --preserve-digests docker://{host}/{self._source.repository}@sha256:"
                    f"{self._source.digest} oci:DIRECTORY",
                )
            asked = "does not let in whom `credentials` name" if self._authorization else "wants a name and a password"
            raise Refused(
                "oci-login",
                f"`{host}` {asked} for `{self._source.repository}`",
                hint=f"skopeo login --authfile FILE {host}; FILE is `credentials` below `[oci]` of builder.toml",
            )
        if answer.status == 404:
            raise Unavailable(
                "oci-incomplete",
                f"`{host}` has no `{self._source.repository}`, or lacks `{what}` there",
                hint="look at the digest: skopeo inspect prints it",
            )
        if answer.status != 200:
            raise self._failed(f"status {answer.status}, expected 200")

    def _failed(self, said: str) -> Unavailable:
        return _failed(self._source, said)


def _parts(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    while part := answer.read1(_CHUNK_BYTES, decode_content=False):
        yield part


def _origin_of(source: OciRegistryImage) -> str:
    """With TLS; on a loopback address also without, if what answers there speaks no TLS."""
    origin = f"https://{source.host}"
    if parse_url(origin).host not in _LOOPBACK:
        return origin
    try:
        BoundedHttp(origin, within_s=_HELLO_WITHIN_S, connections=1).exchange("GET", "/v2/", None, size_bytes_max=65536)
    except TlsFailed as err:
        if isinstance(err.cause, ssl.SSLCertVerificationError):
            raise _failed(source, str(err)) from err
        return f"http://{source.host}"
    except (TooLate, TooLong) as err:
        raise _failed(source, str(err)) from err
    return origin


def _failed(source: OciRegistryImage, said: str) -> Unavailable:
    shown = said[:300].encode("unicode_escape").decode("ascii")
    return Unavailable("oci-fetch", f"cannot fetch {source.uri}: {shown}", hint="try again; look at the address")
