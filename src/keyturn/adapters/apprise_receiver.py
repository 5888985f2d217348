"""Give notifications to whatever apprise speaks to: mail, chats, pagers, webhooks. `ports.NoticeReceiver`.

The text is sent as plain text: apprise escapes it where a service wants HTML, and reads no emoji, escapes or templates in it. A
URL may hold a password: it is in no error, and what apprise logs by itself is not shown. Nothing is redirected, and apprise keeps
nothing on disk.

Each notification is given by a process of its own, this file: apprise reads an answer to its end, however long it is and however
slowly it comes. So a receiver that answers without end costs that process its memory or its life, and nobody else anything.
"""

from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
from contextlib import suppress

from keyturn.errors import Unavailable, Usage

try:
    from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, PersistentStoreMode
except ImportError as err:  # the client alone was installed
    raise Unavailable(
        "apprise-not-installed",
        "what tells people is not installed here",
        hint="pip install 'keyturn[server]'",
    ) from err

__all__ = ["AppriseReceiver"]

WITHIN_S = 20.0
_MEMORY_BYTES_MAX = 1 << 30
"""Address space of one process that gives a notification: several times what Python and apprise take."""


class AppriseReceiver:
    """The receiver `name` at the apprise URL `url`; `Usage` `receiver-url` when apprise knows no such address."""

    def __init__(self, name: str, url: str, *, within_s: float = WITHIN_S) -> None:
        # One URL is one receiver: several in one text could be taken and refused in part, and never be told from each other.
        if any(c.isspace() or c == "," for c in url) or len(_apprise(url)) != 1:
            raise Usage(
                "receiver-url",
                f"receiver `{name}`: expected one URL of a service that apprise knows",
                hint="write it as apprise has it, as `mailto://...` or `json://...`, with what is special in it as %XX",
            )
        self._name = name
        self._url = url
        self._within_s = within_s

    def give(self, title: str, body: str) -> None:
        said = json.dumps({"url": self._url, "title": title, "body": body}).encode()
        words = [sys.executable, "-m", "keyturn.adapters.apprise_receiver"]
        try:
            done = subprocess.run(words, input=said, capture_output=True, timeout=self._within_s, check=False)
            given = done.returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            given = False
        if not given:
            raise Unavailable(
                "receiver-failed", f"receiver `{self._name}` took no notification", hint="it is tried again"
            )


def _apprise(url: str) -> Apprise:
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    asset = AppriseAsset(
        app_id="Keyturn",
        app_desc="Keyturn",
        app_url="",
        async_mode=False,
        interpret_emojis=False,
        interpret_escapes=False,
        http_redirects=False,
        allow_templates=False,
        secure_logging=True,
        storage_mode=PersistentStoreMode.MEMORY,
        service_timeout=WITHIN_S,
    )
    found = Apprise(asset=asset)
    found.add(url)
    return found


def _give() -> int:
    """Give what standard input says; 0 when it was taken."""
    with suppress(OSError):  # a unit of systemd may forbid setting limits; the deadline stands
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the URL may be a secret
    said = json.load(sys.stdin.buffer)
    taken = _apprise(said["url"]).notify(
        body=said["body"], title=said["title"], notify_type=NotifyType.INFO, body_format=NotifyFormat.TEXT
    )
    return 0 if taken else 1


if __name__ == "__main__":
    sys.exit(_give())
