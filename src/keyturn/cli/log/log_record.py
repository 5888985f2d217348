"""What `keyturn log show ENTRY` prints: one record whole, and what followed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from keyturn.cli import output

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.log.judge_record import Judged
    from keyturn.app.log.show_record import Entry, ShownRecord

__all__ = ["as_json", "show"]

_KINDS: Mapping[str, str] = {
    "apr": "approval",
    "brk": "use by break-glass",
    "chk": "check-in of a gate",
    "crt": "evaluation criteria",
    "den": "denial",
    "evd": "evidence from outside",
    "evp": "part of evidence from outside",
    "dep": "deployment",
    "dsp": "disposal",
    "lft": "lift of a suspension",
    "ofr": "offer of less",
    "prv": "provenance",
    "rcd": "recording",
    "rcv": "recovery grant",
    "rel": "release",
    "req": "access request",
    "rev": "revocation",
    "rot": "trust root",
    "rvw": "review",
    "src": "word for a source revision",
    "stp": "step request",
    "sus": "suspension",
    "tgt": "trust targets",
    "tmb": "tombstone",
    "tst": "test result",
    "use": "use",
    "vsa": "verification summary",
}
_WHY = ("reason", "justification", "finding", "ground")


def as_json(found: ShownRecord) -> dict[str, object]:
    """The same for scripts; `statement` is the whole text, as it was signed."""
    return {
        **_entry(found.entry),
        "statement": None if found.entry.judged is None else found.entry.judged.statement,
        "inclusion": {
            "origin": found.origin,
            "size": found.size,
            "cosigned_at": found.cosigned_at,
            "cosigners": found.cosigners,
        },
        "erased_by": found.erased_by,
        "became": found.became,
        "followed_by": [_entry(one) | {"why": _why(one.judged)} for one in found.followed_by],
    }


def show(screen: Console, found: ShownRecord) -> None:
    """Print it for a person: the text first, whole; then who signed, where it stands, and what became of it."""
    entry = found.entry
    lines = [("record", f"{entry.id}, {_KINDS[entry.leaf.kind]}"), ("entry", str(entry.index))]
    lines += [("about", tag) for tag in entry.leaf.about]
    lines += _signed(entry)
    lines.append(("in the log", f"proved under {found.size} entries of {found.origin}"))
    lines.append(("witnessed", f"by {', '.join(found.cosigners)}"))
    if found.became is not None:
        lines.append(("became", found.became))
    if entry.judged is None:
        gone = entry.text == "missing"
        erased = gone and found.erased_by is not None
        why = f"erased by the tombstone at entry {found.erased_by}" if erased else "nobody gives it: keyturn log verify"
        lines.append(("text", why if gone else "FORGED: the leaf is not that of what lies there"))
    _table(screen, lines)
    if entry.judged is not None:
        screen.print("what was signed:")
        _table(screen, list(_flat(entry.judged.statement, "")))
    screen.print("what followed:" if found.followed_by else "nothing followed it")
    if found.followed_by:
        output.rows(
            screen, ("entry", "record", "what", "who", "when", "counts", "why"), list(map(_row, found.followed_by))
        )


def _signed(entry: Entry) -> list[tuple[str, str]]:
    judged = entry.judged
    lines = [("void", "yes: the lab declared it void")] if entry.void else []
    if judged is None:
        return lines
    lines += [("signed by", who) for who in judged.signers]
    lines += [("with key", key) for key in judged.keys]
    said = "valid" if judged.counts else f"NOT VALID: {judged.refused} [{judged.code}]"
    under = f", under trust version {entry.trust_version}" if entry.trust_version else ""
    return [*lines, ("verdict", f"{said}, when it was logged{under}")]


def _row(one: Entry) -> tuple[str, ...]:
    from keyturn.formats.posix_time import rfc3339

    judged = one.judged
    who = "" if judged is None else ", ".join(judged.signers)
    when = "" if judged is None or judged.signed_at is None else rfc3339(judged.signed_at)
    counts = one.text if judged is None else "void" if one.void else "yes" if judged.counts else f"no: {judged.refused}"
    return (str(one.index), one.id, _KINDS[one.leaf.kind], who, when, counts, _why(judged))


def _why(judged: Judged | None) -> str:
    said = (getattr(judged.predicate, name, None) for name in _WHY) if judged is not None else ()
    return next((str(why) for why in said if why), "")


def _entry(one: Entry) -> dict[str, object]:
    judged = one.judged
    return {
        "index": one.index,
        "id": one.id,
        "leaf": one.leaf,
        "text": one.text,
        "void": one.void,
        "trust_version": one.trust_version,
        "signers": () if judged is None else judged.signers,
        "keys": () if judged is None else judged.keys,
        "valid": judged is not None and judged.counts,
        "refused": None if judged is None or judged.counts else {"code": judged.code, "message": judged.refused},
        "signed_at": None if judged is None else judged.signed_at,
    }


def _table(screen: Console, lines: list[tuple[str, str]]) -> None:
    margin = max((len(name) for name, _ in lines), default=0)
    for name, text in lines:
        # On one line each: nothing that somebody wrote passes for a row.
        screen.print(output.plain(f"  {name:<{margin}}  {text}".replace("\n", "\\n")).rstrip())


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each field of `value` by its path, times in words besides."""
    from keyturn.formats.posix_time import rfc3339

    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None or not value:
        time = isinstance(value, int) and path.rpartition(".")[2].endswith(("_at", "_by", "_before", "_after", "until"))
        is_time = time and not isinstance(value, bool) and 0 <= value < 253402300800
        yield path.removeprefix("predicate."), f"{rfc3339(value)} ({value})" if is_time else str(value)
        return
    for key, inner in pairs:
        yield from _flat(inner, f"{path}.{key}" if path else str(key))
