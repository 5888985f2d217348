"""What is asked at the terminal: whoever does not say yes has said no, and what ends the question ends the command."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest
import typer

from keyturn.cli import main as border
from keyturn.cli.output import confirm
from keyturn.errors import Usage


@pytest.mark.parametrize(
    "answer", ["n\n", "\n", "", "what?\n"], ids=["no", "return", "the end of input", "and then the end"]
)
def test_whoever_does_not_say_yes_at_the_terminal_has_said_no(answer: str) -> None:
    assert asked_with(answer) == "not-confirmed"


def test_ctrl_c_at_the_question_is_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt):
        asked_with(KeyboardInterrupt())


def asked_with(answer: str | KeyboardInterrupt) -> str:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def readline(self, *_: object) -> str:  # type: ignore[override]
            if isinstance(answer, KeyboardInterrupt):
                raise answer
            return super().readline()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", Terminal(answer if isinstance(answer, str) else ""))
        with pytest.raises(Usage) as caught, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            confirm("Sign this?", yes=False)
    return caught.value.code


def test_an_abort_that_nobody_explained_could_not_be_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    def abort() -> object:
        raise typer.Abort

    with pytest.raises(SystemExit) as ended:
        border.ending(abort, border.Invocation())
    assert (ended.value.code, "[input-ended]" in capsys.readouterr().err) == (3, True)
