"""Read a forge's REST API: `standing.forge.Forge`. Bounded answers, pages joined, and a token that is in no error."""

from __future__ import annotations

import msgspec

from keyturn.adapters.over_http.bounded_http import BoundedHttp, TooLate, TooLong
from keyturn.errors import Refused, Unavailable, Usage

__all__ = ["ForgeOverHttp"]

_ANSWER_BYTES_MAX = 8 << 20
_PAGE = 100
_PAGES_MAX = 50
_WITHIN_S = 30.0


class ForgeOverHttp:
    """The forge whose API is at `api`. `token` is sent as a bearer token, to https or to this machine alone."""

    def __init__(self, api: str, *, token: str | None) -> None:
        if not api.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise Usage(
                "scan-forge-url",
                f"expected an address as https://..., got `{api[:100]}`",
                hint="--api https://api.github.com",
            )
        self._http = BoundedHttp(api, within_s=_WITHIN_S, connections=2)
        self.api = self._http.url
        self._headers = {"Accept": "application/json", "User-Agent": "keyturn-scan"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> bytes | None:
        parts: list[msgspec.Raw] = []
        for page in range(1, _PAGES_MAX + 1):
            content = self._page(f"{path}?per_page={_PAGE}&page={page}")
            if content is None or not content.lstrip().startswith(b"["):
                return content
            try:
                items = msgspec.json.decode(content, type=list[msgspec.Raw])
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return content  # whoever reads it says so
            parts += items
            if len(items) < _PAGE:
                return msgspec.json.encode(parts)
        raise Unavailable(
            "scan-forge", f"`{path}` has more than {_PAGE * _PAGES_MAX} entries", hint="look at it by hand"
        )

    def _page(self, path: str) -> bytes | None:
        try:
            status, content = self._http.exchange(
                "GET", path, None, size_bytes_max=_ANSWER_BYTES_MAX, headers=self._headers
            )
        except (TooLate, TooLong) as err:
            raise Unavailable(
                "scan-forge", f"no answer from `{self.api}`: {type(err).__name__}", hint="try again", detail=str(err)
            ) from err
        if status == 404:
            return None
        if status in (401, 403):
            raise Refused(
                "scan-forge-token",
                f"HTTP {status}: this token may not see it",
                hint="a token that may read administration",
            )
        if not 200 <= status < 300:
            raise Unavailable("scan-forge", f"`{self.api}` answered HTTP {status}", hint="try again")
        return content
