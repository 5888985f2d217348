"""Give notifications to whatever apprise speaks to: mail, chats, pagers, webhooks. `ports.NoticeReceiver`.

The text is sent as plain text: apprise escapes it where a service wants HTML, and reads no emoji, escapes or templates in it. A
URL may hold a password: it is in no error, and what apprise logs by itself is not shown. Nothing is redirected, and apprise keeps
nothing on disk.
"""

from __future__ import annotations

import logging

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


class AppriseReceiver:
    """The receiver `name` at the apprise URL `url`; `Usage` `receiver-url` when apprise knows no such address."""

    def __init__(self, name: str, url: str) -> None:
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
        self._name = name
        self._apprise = Apprise(asset=asset)
        # One URL is one receiver: several in one text could be taken and refused in part, and never be told from each other.
        if any(c.isspace() or c == "," for c in url) or not self._apprise.add(url) or len(self._apprise) != 1:
            raise Usage(
                "receiver-url",
                f"receiver `{name}`: expected one URL of a service that apprise knows",
                hint="write it as apprise has it, as `mailto://...` or `json://...`, with what is special in it as %XX",
            )

    def give(self, title: str, body: str) -> None:
        if not self._apprise.notify(
            body=body, title=title, notify_type=NotifyType.INFO, body_format=NotifyFormat.TEXT, timeout=WITHIN_S
        ):
            raise Unavailable(
                "receiver-failed", f"receiver `{self._name}` took no notification", hint="it is tried again"
            )
