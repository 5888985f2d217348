"""`notify.toml`: who is told where, read strictly, and no secret in it."""

from __future__ import annotations

import pytest

from keyturn.config import notify
from keyturn.config.notify import NotifyConfig
from keyturn.errors import Usage

GOOD = b"""
version = 1
root = "1111111111111111111111111111111111111111111111111111111111111111"
link = "https://keys.acme.example/request/"
[[receivers]]
name = "bob-mail"
member = "bob"
url_file = "bob-mail.url"
[[receivers]]
name = "security"
group = "security"
url_env = "KEYTURN_SECURITY_URL"
paging = true
[[escalation]]
after_s = 1800
group = "security"
[[away]]
member = "bob"
deputy = "eve"
until = 2026-12-31T01:00:00+01:00
"""


def test_a_configuration_is_read_and_written_again() -> None:
    found = notify.parse(GOOD)
    assert notify.parse(notify.render(found)) == found
    assert found.away[0].until_s == 1798675200
    assert (found.expiring_s, found.receivers[0].paging, found.receivers[1].paging) == (900, False, True)
    bare = NotifyConfig(version=1, root="1" * 64)
    assert notify.parse(notify.render(bare)) == bare


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"version = 1", b"version = 2", id="another version"),
        pytest.param(b'member = "bob"\nurl', b"url", id="a receiver of nobody"),
        pytest.param(b'group = "security"\nurl', b'group = "security"\nmember = "bob"\nurl', id="a receiver of two"),
        pytest.param(b'url_file = "bob-mail.url"', b"", id="a receiver without an address"),
        pytest.param(b'url_file = "bob-mail.url"', b'url = "json://secret"', id="an address in the file itself"),
        pytest.param(b'url_env = "', b'url_file = "x"\nurl_env = "', id="two addresses"),
        pytest.param(b'name = "security"', b'name = "bob-mail"', id="one name twice"),
        pytest.param(
            b"[[away]]",
            b'[[away]]\nmember = "bob"\ndeputy = "x"\nuntil = 2026-12-31T00:00:00Z\n[[away]]',
            id="away twice",
        ),
        pytest.param(b"+01:00", b"", id="a time of no zone"),
        pytest.param(b"after_s = 1800", b"after_s = 0", id="at once"),
        pytest.param(b"after_s = 1800", b"after_s = 1800\nquorum = 1", id="a quorum"),
        pytest.param(b"https://keys", b"javascript:keys", id="a link that runs"),
        pytest.param(b"1111", b"", id="a short root"),
    ],
)
def test_what_cannot_be_is_usage(old: bytes, new: bytes) -> None:
    assert old in GOOD
    with pytest.raises(Usage):
        notify.parse(GOOD.replace(old, new, 1))
