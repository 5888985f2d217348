"""The table of commands, and the one place where an error becomes an exit status.

Bare verbs stand for what people do daily; everything else is `keyturn NOUN VERB`. A command's module is imported when
the command runs (or its help is shown). Exit status: 0 done, else that of the error's kind (docs/cli.md says which situation
has which); 130 after Ctrl-C, 141 when nobody reads the output.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

import keyturn
from keyturn.cli.access.host_first import HostFirst
from keyturn.cli.completion import leave_words_as_typed, typed_words
from keyturn.cli.examples import EXAMPLES
from keyturn.cli.options import Invocation
from keyturn.cli.output import show_error
from keyturn.cli.summaries import SUMMARIES
from keyturn.errors import KeyturnError, Unavailable, Usage

__all__ = ["COMMANDS", "build", "ending", "main"]

BROKEN_PIPE = 141
"""Exit status when whoever reads the output went away: as a shell says of a program that SIGPIPE ended."""

_HELP_WIDTH = 120
"""Columns that help takes where the terminal has them: in the parser's own 80 most commands' summaries are cut off."""

COMMANDS: dict[str, str] = {
    "init": "keyturn.cli.lab.init:init",
    "up": "keyturn.cli.lab.up:up",
    "serve": "keyturn.cli.lab.serve:serve",
    "request": "keyturn.cli.access.request:request",
    "approve": "keyturn.cli.access.authorize:approve",
    "deny": "keyturn.cli.access.authorize:deny",
    "ssh": "keyturn.cli.access.ssh:ssh",
    "psql": "keyturn.cli.access.psql:psql",
    "run": "keyturn.cli.custody.run:run",
    "release": "keyturn.cli.custody.release:app",
    "verify": "keyturn.cli.custody.verify:verify",
    "dispose": "keyturn.cli.custody.dispose:dispose",
    "stats": "keyturn.cli.lab.stats:stats",
    "doctor": "keyturn.cli.lab.doctor:doctor",
    "login": "keyturn.cli.lab.login:login",
    "trust": "keyturn.cli.trust.trust:app",
    "policy": "keyturn.cli.trust.policy:app",
    "grant": "keyturn.cli.access.grant:app",
    "recovery": "keyturn.cli.access.recovery:app",
    "gate": "keyturn.cli.gates.gate:app",
    "log": "keyturn.cli.log.log:app",
    "tombstone": "keyturn.cli.log.tombstone:app",
    "notify": "keyturn.cli.lab.notify:app",
    "witness": "keyturn.cli.log.witness:app",
    "builder": "keyturn.cli.custody.builder:app",
    "step": "keyturn.cli.custody.step:app",
    "evidence": "keyturn.cli.custody.evidence:app",
    "source": "keyturn.cli.custody.source:app",
    "lineage": "keyturn.cli.custody.lineage:app",
    "pack": "keyturn.cli.custody.pack:app",
    "scan": "keyturn.cli.gates.scan:app",
    "sign-page": "keyturn.cli.lab.sign_page:app",
}
"""Name -> `module:name` of a function (a bare verb) or of a `typer.Typer` (a noun with verbs)."""


def _show_version(ctx: typer.Context, value: bool) -> None:
    if not value:
        return
    asked = ctx.find_root().obj
    if isinstance(asked, Invocation) and asked.json:
        typer.echo(f'{{"version": "{keyturn.__version__}"}}')
    else:
        typer.echo(f"keyturn {keyturn.__version__}")
    raise typer.Exit


def build(names: Iterable[str], *, overview: bool = False) -> typer.Typer:
    """Make the command line with the commands `names`, importing their modules alone.

    For an `overview` each has its name and its summary, and nothing is imported.
    """
    app = typer.Typer(
        name="keyturn",
        help="Two-party control and chain of custody for AI labs.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"max_content_width": _HELP_WIDTH},
    )
    app.callback()(_root)
    for name in names:
        if overview:
            app.command(name, help=SUMMARIES[name])(lambda: None)
            continue
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            _exemplify(command, name)
            app.add_typer(command, name=name)
        else:
            # Behind the host, words are a command for it, whatever they look like: `rsync -e 'keyturn ssh'` relies on that.
            settings = {"allow_interspersed_args": False} if name == "ssh" else {}
            kind = HostFirst if name == "ssh" else None
            app.command(name, cls=kind, context_settings=settings, epilog=_example(name))(command)
    return app


def _exemplify(group: typer.Typer, name: str) -> None:
    """End the help of each command of `group`, at any depth, with its example."""
    for verb in group.registered_commands:
        assert verb.callback is not None
        verb.epilog = _example(f"{name} {verb.name or verb.callback.__name__.replace('_', '-')}")
    for below in group.registered_groups:
        assert below.typer_instance is not None
        _exemplify(below.typer_instance, f"{name} {below.name}")


def _example(command: str) -> str:
    return f"Example: keyturn {command} {EXAMPLES[command]}"


def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the version as JSON. Commands have a --json of their own.")
    ] = False,
) -> None:
    """Two-party control and chain of custody for AI labs."""
    if json:  # it would have no effect on the command's result, and a script would read text
        raise Usage("command-line", "expected --json behind the command", hint="keyturn --help")


def main() -> NoReturn:
    """Run the command line, and exit with its status."""
    # Looked for in the words themselves: what stands before it may be what is wrong.
    invocation = Invocation(json="--json" in sys.argv[1:])
    if os.environ.get("_KEYTURN_COMPLETE", "").startswith("complete_"):
        leave_words_as_typed()
    words = typed_words()[1:] if "_KEYTURN_COMPLETE" in os.environ else sys.argv[1:]
    named = next((word for word in words if not word.startswith("-")), "")
    # One module is imported for one command; help, misspelt names and completing a name need all of them.
    known = named in COMMANDS
    names = (named,) if known else tuple(COMMANDS)
    ending(
        lambda: build(names, overview=not known)(obj=invocation, prog_name="keyturn", standalone_mode=False), invocation
    )


def ending(command: Callable[[], object], invocation: Invocation) -> NoReturn:
    """Run `command`, show its error if it has one, and exit with the status that says what became of it."""
    try:
        status = command()
    except KeyturnError as err:
        _fail(err, invocation)
    except TyperException as err:
        if err.message.startswith("Usage: "):  # a noun without a verb: the help says what there is
            typer.echo(err.message, err=True)
            sys.exit(2)
        _fail(_mistyped(err), invocation)
    except typer.Abort:
        _fail(Unavailable("input-ended", "the input ended before an answer"), invocation)
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except SystemExit as err:
        # Typer's own answer to a reader that went away is 1, which here means "verified and refused".
        sys.exit(BROKEN_PIPE if isinstance(err.__context__, BrokenPipeError) else err.code)
    except PermissionError as err:
        refused = Unavailable(
            "permission-denied",
            f"this user may not use `{err.filename}`: {err.strerror}",
            hint="run it as the user whose lab it is, or ask the lab's service with --lab http://...",
        )
        _fail(refused, invocation)
    except OSError as err:
        if err.errno != errno.ENOSPC:
            _defect(err, invocation)
        _fail(Unavailable("disk-full", "no space is left where this writes"), invocation)
    except Exception as err:  # noqa: BLE001  # the last border: a defect must not read as "refused" (1) or "usage" (2)
        _defect(err, invocation)
    sys.exit(status if isinstance(status, int) else 0)  # 130 after Ctrl-C


def _defect(err: Exception, invocation: Invocation) -> NoReturn:
    said = KeyturnError(
        "internal-error",
        f"this is a defect in Keyturn: {type(err).__name__}: {err}",
        hint="report it, with the command and this text; set KEYTURN_TRACEBACK=1 to see where it happened",
    )
    _show(said, invocation)
    _show_traceback_if_asked()
    sys.exit(3)


def _fail(err: KeyturnError, invocation: Invocation) -> NoReturn:
    _show(err, invocation)
    sys.exit(err.exit_status)


def _show(err: KeyturnError, invocation: Invocation) -> None:
    """Show why a command failed; a process says it in its own log."""
    if invocation.log_json and not invocation.json:
        from keyturn.adapters import process_log
        from keyturn.cli.next_steps import next_step

        process_log.ended(err, hint=next_step(err))
    else:
        show_error(err, json=invocation.json)


def _mistyped(err: TyperException) -> Usage:
    """Say what the parser of the command line refused in the form of every other error."""
    text = err.format_message().removesuffix(".").replace("Value error, ", "").replace("'", "`")
    context = getattr(err, "ctx", None)
    path = "keyturn" if context is None else context.command_path
    hint = f"{path} --help"
    example = EXAMPLES.get(path.removeprefix("keyturn "))
    if example and text.startswith("Missing"):  # the one that is named is seldom the only one
        hint += f"; as in: {path} {example}"
    return Usage("command-line", f"{text[:1].lower()}{text[1:]}", hint=hint)


def _show_traceback_if_asked() -> None:
    if os.environ.get("KEYTURN_TRACEBACK"):
        traceback.print_exc()
