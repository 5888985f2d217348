"""What a session writes reaches the terminal of who watches it as text, colours and cursor; nothing else of it does."""

from __future__ import annotations

import pytest

from keyturn.adapters.safe_screen import SafeScreen


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param("plain text, grün ☃\r\n\ttab\b", id="text"),
        pytest.param("\x1b[1;31mred\x1b[0m \x1b[38;5;200mpink\x1b[m", id="colours"),
        pytest.param("\x1b[2J\x1b[H\x1b[10;20H\x1b[K\x1b[3A\x1b[1;24r\x1b[5L", id="what an editor draws with"),
        pytest.param(
            "\x1b[?1049h\x1b[?25l\x1b7\x1b8\x1bM\x1b(0lqk\x1b(B\x1b[?25h\x1b[?1049l", id="another screen, lines"
        ),
    ],
)
def test_what_draws_is_passed_on_wherever_it_is_cut(shown: str) -> None:
    raw = shown.encode()
    assert SafeScreen().feed(raw) == shown
    screen = SafeScreen()
    assert "".join(screen.feed(raw[at : at + 1]) for at in range(len(raw))) == shown


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"\x1b]0;title\x07", id="a title"),
        pytest.param(b"\x1b]52;c;cm0gLXJmIC8K\x07", id="the clipboard"),
        pytest.param(b"\x1b]8;;https://evil.example\x1b\\", id="a link, ended by ST"),
        pytest.param(
            b"\x1b[6n\x1b[c\x1b[>c\x1b[5n\x1b[21t\x1bZ", id="questions that the terminal would answer as if typed"
        ),
        pytest.param(b'\x1bP$q"p\x1b\\\x1b_x\x1b\\\x1b^x\x1b\\\x1bXx\x1b\\', id="DCS, APC, PM, SOS"),
        pytest.param(b"\x1b[5i\x1b[4i", id="a printer"),
        pytest.param(b"\x1b[?1000h\x1b[?1003h\x1b[?2004h\x1b[>4;2m\x1b[>1u\x1b=", id="mouse and keyboard"),
        pytest.param(b"\x1bc\x1b[!p", id="resets"),
        pytest.param("\u202e\u2066\u200f".encode(), id="text that runs the other way"),
        pytest.param("\x9b6n\x9d0;x\x9c".encode(), id="the same in C1"),
        pytest.param(b"\x07\x00\x0e\x7f", id="bells and other controls"),
        pytest.param(b"\x1b[" + b"1;" * 100, id="a sequence that is too long"),
        pytest.param(b"\x1b]0;a\x1b[6n", id="a question in a title"),
    ],
)
def test_what_acts_on_a_terminal_is_dropped_whole_wherever_it_is_cut(hostile: bytes) -> None:
    for size in (1, 1000):
        screen = SafeScreen()
        raw = b"a" + hostile + b"\x18b"
        shown = "".join(screen.feed(raw[at : at + size]) for at in range(0, len(raw), size))
        assert "\x1b" not in shown
        assert shown.isprintable()
        assert (shown[0], shown[-1]) == ("a", "b")


def test_a_string_that_never_ends_hides_no_more_than_its_line() -> None:
    assert SafeScreen().feed(b"\x1b]0;hidden\nseen") == "\nseen"
    assert SafeScreen().feed(b"\x1b]0;" + b"x" * 5000).strip("x") == ""
    assert SafeScreen().feed(b"\x1b]0;" + b"x" * 5000 + b"seen").endswith("seen")
