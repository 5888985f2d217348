"""The bastion's hands: an SSH server that relays to hosts and records, who watches it, and the keys that it proves there."""

from keyturn.errors import Unavailable

try:
    import asyncssh as _asyncssh  # noqa: F401  # what all modules here speak SSH with
except ImportError as err:  # the client alone was installed
    raise Unavailable(
        "bastion-not-installed",
        "what a bastion speaks SSH with is not installed here: the extra `keyturn[server]`",
        hint="pip install 'keyturn[server]'",
    ) from err
