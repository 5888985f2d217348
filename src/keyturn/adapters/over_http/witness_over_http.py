"""Ask a witness over HTTP: `ports.Cosigner`, C2SP tlog-witness. Answers are bounded; callers verify cosignatures."""

from __future__ import annotations

from keyturn.adapters.over_http.bounded_http import BoundedHttp, TooLate, TooLong
from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.formats import add_checkpoint
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.digest import sha256
from keyturn.formats.note import NoteSignature

__all__ = ["WitnessOverHttp"]

_ANSWER_BYTES_MAX = 64 * 1024


class WitnessOverHttp:
    """A witness whose submission and monitoring prefix is `url`. Thread-safe."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._http = BoundedHttp(url, within_s=timeout_s, connections=2)
        self._url = self._http.url

    def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
        status, content = self._send("POST", "/add-checkpoint", add_checkpoint.render(request))
        match status:
            case 200:
                return notes.parse_signature_lines(content)
            case 409:
                return checkpoints.parse_size(content.decode("ascii", "replace").strip(), what="witness size")
            case 422:
                raise Tampered("witness-refused", f"the witness at `{self._url}` says that this log does not continue")
            case 403 | 404 | 400:
                raise Refused("witness-refused", f"the witness at `{self._url}` answered HTTP {status}")
            case _:
                raise Unavailable("witness-answer", f"the witness at `{self._url}` answered HTTP {status}")

    def newest(self, origin: str) -> bytes | None:
        status, content = self._send("GET", f"/{sha256(origin.encode())}/checkpoint", None)
        match status:
            case 200:
                return content
            case 404:
                return None
            case _:
                raise Unavailable("witness-answer", f"the witness at `{self._url}` answered HTTP {status}")

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        try:
            return self._http.exchange(method, path, body, size_bytes_max=_ANSWER_BYTES_MAX)
        except TooLong as err:
            raise Unavailable("witness-answer", f"the witness at `{self._url}` answered more than it may") from err
        except TooLate as err:
            raise Unavailable(
                "no-answer", f"no answer from the witness at `{self._url}`", hint="keyturn up", detail=str(err)
            ) from err
