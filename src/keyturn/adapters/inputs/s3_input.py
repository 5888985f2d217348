"""Hold what lies below a prefix of S3: each object as a file, as it was when the prefix was listed.

S3 has no snapshot of a prefix. So an object is asked for on the condition that its ETag is still the one that was listed, and the
prefix is listed again at the end: what changed, went or came meanwhile is refused, and what is held was there at one time. What
it is, our own digest says; an ETag is the service's word.

1. list: every key below the prefix, its size and ETag; names that have no place in an artifact are refused before a byte is read;
2. get each, on condition of its ETag, and compare its size;
3. list again: the same.

The endpoint and keys are the operator's (`s3_place`). A source names a bucket and a prefix, and nothing of a network. What
answers there may send on within its own host and to no other: the library follows whatever it says, with a session token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from keyturn.adapters.inputs.s3_place import S3Keys, S3Place
from keyturn.bulk.manifest import Progress
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats.input_source import S3Prefix
from keyturn.formats.manifest import FILES_MAX, check_names
from keyturn.formats.provenance import Origin

try:
    import obstore
    from obstore import exceptions as s3_errors
    from obstore.store import S3Store
except ImportError as err:  # the client alone was installed
    raise Unavailable(
        "s3-not-installed",
        "an input is in S3, and what speaks to it is not installed here",
        hint="pip install 'keyturn[s3]'",
    ) from err

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ClientConfig, S3Config, S3Credential

__all__ = ["hold"]

_THREADS = 8
_LISTED_AT_ONCE = 1000
_CHUNK_BYTES_MIN = 1 << 20
_WITHIN = timedelta(hours=1)
"""For one object."""
_CONNECT_WITHIN = timedelta(seconds=5)
_RETRIES_WITHIN = timedelta(seconds=60)
_NOWHERE = "http://127.0.0.1:1"
"""As a proxy: no connection is made through it. Nothing but root could listen there."""


@dataclass(frozen=True, slots=True, order=True)
class _Object:
    path: str
    """Below the prefix."""
    size: int
    etag: str


def hold(
    source: S3Prefix,
    place: S3Place,
    into: Path,
    *,
    progress: Progress | None,
    objects_max: int = FILES_MAX,
    threads: int = _THREADS,
) -> Origin:
    """Copy the objects below `source` to the new directory `into`."""
    store = _store(source, place)
    with _said(source):
        found = _list(store, source, objects_max)  # (1)
        _Copying(store, source, into, found, progress).all(threads)  # (2)
        if _list(store, source, objects_max) != found:  # (3)
            raise _changed(source, "other objects are there than when it was listed")
    return Origin(source.uri)


def _store(source: S3Prefix, place: S3Place) -> S3Store:
    keys = place.read_keys()
    own: S3Config = {
        "endpoint": place.endpoint,
        "aws_endpoint_url_s3": place.endpoint,  # else a variable of the environment would stand above `endpoint`
        "region": place.region,
        "virtual_hosted_style_request": False,
        "skip_signature": keys is None,
    }
    try:
        return S3Store(
            source.bucket,
            config=own,
            client_options=_client(place.endpoint),
            retry_config={"max_retries": 3, "retry_timeout": _RETRIES_WITHIN},
            credential_provider=lambda: _credential(keys),
        )
    except s3_errors.BaseError as err:
        raise _failed(source, err) from err


def _client(endpoint: str) -> ClientConfig:
    options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "timeout": _WITHIN,
        "connect_timeout": _CONNECT_WITHIN,
    }
    # INVARIANT: no request goes to another host than the endpoint's. The library has no setting for what is sent on. With a proxy
    # of the operator's it is that one which decides where anything goes.
    host = urlsplit(endpoint).hostname
    if host and not {"http", "https", "all"} & getproxies().keys():
        options["proxy_url"], options["proxy_excludes"] = _NOWHERE, host
    return options


def _credential(keys: S3Keys | None) -> S3Credential:
    """INVARIANT: what signs is what the operator's file says; without this call variables of the environment would."""
    if keys is None:
        return {"access_key_id": "", "secret_access_key": "", "token": None, "expires_at": None}
    return {
        "access_key_id": keys.access_key_id,
        "secret_access_key": keys.secret_access_key,
        "token": keys.session_token,
        "expires_at": None,
    }


def _list(store: S3Store, source: S3Prefix, objects_max: int) -> list[_Object]:
    found: list[_Object] = []
    before = f"{source.prefix}/" if source.prefix else ""
    for part in obstore.list(store, prefix=source.prefix or None, chunk_size=_LISTED_AT_ONCE):
        for one in part:
            key, etag = one["path"], one["e_tag"]
            if not key.startswith(before) or key == before:
                raise _no_name(source, f"{key!r} is no key below the prefix, or ends in a slash")
            if not etag:
                raise Refused(
                    "s3-etag",
                    f"{source.uri}: {key!r} has no ETag: nobody could say that it did not change",
                    hint="copy the prefix into a directory that the builder allows, and name that",
                )
            found.append(_Object(key.removeprefix(before), one["size"], etag))
        if len(found) > objects_max:
            raise Refused(
                "files-too-many",
                f"{source.uri}: expected at most {objects_max} objects, there are more",
                hint="name a longer prefix",
            )
    if not found:
        raise Refused(
            "s3-empty", f"{source.uri}: expected at least one object, there is none", hint="look at the prefix"
        )
    found.sort()
    try:
        check_names(one.path for one in found)
    except Malformed as err:
        raise _no_name(source, err.message) from err
    return found


class _Copying:
    """Fetches objects in several threads; the first that fails ends it."""

    def __init__(
        self, store: S3Store, source: S3Prefix, into: Path, found: Sequence[_Object], progress: Progress | None
    ) -> None:
        self._store = store
        self._source = source
        self._into = into
        self._found = found
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0
        self._total = sum(one.size for one in found)
        self._failed = threading.Event()

    def all(self, threads: int) -> None:
        for directory in sorted({(self._into / one.path).parent for one in self._found}):
            directory.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(threads, thread_name_prefix="keyturn-s3") as pool:
            for _ in pool.map(self._one, self._found):
                pass

    def _one(self, one: _Object) -> None:
        if self._failed.is_set():
            return
        try:
            self._fetch(one)
        except BaseException:
            self._failed.set()
            raise

    def _fetch(self, one: _Object) -> None:
        try:
            answer = self._asked(one)
            size = 0
            with (self._into / one.path).open("xb") as file:
                for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES_MIN):
                    size += file.write(chunk)
                    self._tell(len(chunk))
                    if self._failed.is_set():
                        return
        except s3_errors.PreconditionError as err:  # also while it is read: what broke off is asked for again
            raise _changed(self._source, f"{one.path!r} was written to after it was listed") from err
        if size != one.size:
            raise _changed(self._source, f"{one.path!r} has {size} bytes, and {one.size} were listed")

    def _asked(self, one: _Object) -> GetResult:
        key = f"{self._source.prefix}/{one.path}" if self._source.prefix else one.path
        try:
            answer = obstore.get(self._store, key, options={"if_match": one.etag})
        except FileNotFoundError as err:
            raise Refused(
                "s3-gone",
                f"{self._source.uri}: {one.path!r} was listed, and is not there",
                hint="run it again; if its key ends in a slash, it stands for a directory in some tools: remove it",
            ) from err
        if answer.meta["e_tag"] != one.etag or answer.meta["size"] != one.size:  # it passed over the condition
            raise _changed(self._source, f"{one.path!r} is another object than was listed")
        return answer

    def _tell(self, size: int) -> None:
        with self._lock:
            self._done += size
            if self._progress is not None:
                self._progress(self._done, self._total)


@contextmanager
def _said(source: S3Prefix) -> Iterator[None]:
    try:
        yield
    except s3_errors.InvalidPathError as err:
        raise _no_name(source, _first(err)) from err
    except s3_errors.BaseError as err:
        raise _failed(source, err) from err


def _failed(source: S3Prefix, err: Exception) -> Unavailable:
    return Unavailable(
        "s3-fetch",
        f"cannot fetch {source.uri}: {_first(err)}",
        hint="look at `[s3]` of builder.toml, and at what its keys may list and get; on your own machine at AWS_ENDPOINT_URL",
    )


def _first(err: Exception) -> str:
    """What the service or its library said, bounded and on one line; what follows is for programmers."""
    return str(err).partition("\n")[0][:400].encode("unicode_escape").decode("ascii")


def _no_name(source: S3Prefix, said: str) -> Refused:
    return Refused(
        "s3-key",
        f"{source.uri}: {said}",
        hint="a key becomes a path: give the object another key, or name a prefix without it",
    )


def _changed(source: S3Prefix, said: str) -> Refused:
    return Refused("s3-changed", f"{source.uri}: {said}", hint="run it again when nobody writes there")
