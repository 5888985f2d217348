"""Say what went wrong, as one tree of errors with a kind for each thing the caller can do about it.

Every error has a stable `code` (kebab-case, listed in docs/errors.md), a public `message` (lower case, no full
stop, input in backticks, expected then got), a `hint` (what to type or do next) and an internal `detail` that
is logged by whoever runs the process and never shown to a remote caller. `retry_after_s` is there when waiting helps.

This is NOT a place for decisions: a policy's "no" is a value (`policy.decide.Deny`), and becomes `Refused`
only at the border that acts on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

__all__ = [
    "Conflict",
    "KeyturnError",
    "Kind",
    "Malformed",
    "Refused",
    "Tampered",
    "Unavailable",
    "Usage",
    "defect",
    "together",
]

Kind = Literal["malformed", "refused", "tampered", "usage", "unavailable", "conflict"]


class KeyturnError(Exception):
    """Base of every error that Keyturn raises on purpose.

    `kind` is what its class is called wherever it is written down or sent. `exit_status` is what the command line exits with:
    1 verified and refused, 2 usage, 3 could not find out. Which situation is of which kind is a table in docs/cli.md: what was
    typed or lies on this machine is `Usage`, what the lab knows is `Refused`.
    """

    kind: ClassVar[Kind] = "unavailable"
    exit_status: ClassVar[int] = 3

    def __init__(
        self, code: str, message: str, *, hint: str = "", detail: str = "", retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.code = code
        self.message = message
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class Malformed(KeyturnError):
    """The bytes are not what they claim to be: nothing was read from them, nothing was changed."""

    kind: ClassVar[Kind] = "malformed"
    exit_status = 1


class _Reasoned(KeyturnError):
    """A no to something that a person asked for, with all that speaks against it: `reasons` are (code, sentence), never empty."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        reasons: tuple[tuple[str, str], ...] = (),
        hint: str = "",
        detail: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint, detail=detail, retry_after_s=retry_after_s)
        self.reasons = reasons or ((code, message),)


class Refused(_Reasoned):
    """Everything was read and checked, and a rule says no."""

    kind: ClassVar[Kind] = "refused"
    exit_status = 1


class Tampered(KeyturnError):
    """Evidence that something was altered, forked or rolled back: stop, keep the evidence, tell a human."""

    kind: ClassVar[Kind] = "tampered"
    exit_status = 1


class Usage(_Reasoned):
    """The person typed or configured something that cannot be: correct it and try again."""

    kind: ClassVar[Kind] = "usage"
    exit_status = 2


class Unavailable(KeyturnError):
    """Could not find out: a file, process or network that was needed did not answer. Never read as a yes."""

    kind: ClassVar[Kind] = "unavailable"
    exit_status = 3


class Conflict(KeyturnError):
    """Somebody else changed the same thing first, and nothing was changed here: read it again and retry."""

    kind: ClassVar[Kind] = "conflict"
    exit_status = 3


def together(errors: Sequence[KeyturnError]) -> KeyturnError:
    """One error that says what each of `errors` (one at least) says, so that whoever mends it sees all of it at once.

    One alone stays what it is. Of several the first verified no counts, since what could not be found out is no more than that.
    """
    first = next((err for err in errors if not isinstance(err, Unavailable)), errors[0])
    if len(errors) == 1 or isinstance(first, Unavailable):
        return first
    said = dict.fromkeys(
        reason
        for err in errors
        for reason in (err.reasons if isinstance(err, _Reasoned) else ((err.code, err.message),))
    )
    more = f" (and {len(errors) - 1} more)"
    if isinstance(first, Usage):
        return Usage(first.code, first.message + more, reasons=tuple(said), hint=first.hint, detail=first.detail)
    return Refused(first.code, first.message + more, reasons=tuple(said), hint=first.hint, detail=first.detail)


def defect(err: Exception) -> Unavailable:
    """What a process says of an exception that nobody expected. Its type alone: its text may hold what others wrote."""
    return Unavailable("internal-error", f"this is a defect in Keyturn: {type(err).__name__}")
