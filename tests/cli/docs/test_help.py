"""Help texts: a short one on one page, the whole one on request, as wide as the terminal."""

from __future__ import annotations

import io
import re
import shlex
from typing import TYPE_CHECKING

import pytest
import terminal

from movescu.cli.docs.banner import banner, version_text
from movescu.cli.docs.help import help_text, painted, short_help_text, width_of
from movescu.cli.main import main
from movescu.cli.options.command_line import parse
from movescu.cli.options.table import NAMES
from movescu.cli.output.colours import wants_colour

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert not captured.err
    return captured.out


@pytest.mark.parametrize(
    "arguments", [(), ("-h",), ("--help",), ("archive", "-h", "104"), ("all", "-h"), ("-aet", "-h", "-h", "-S", "all")]
)
def test_short_help_is_shown(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> None:
    assert shown(capsys, *arguments) == short_help_text()


@pytest.mark.parametrize(
    "arguments", [("--help", "all"), ("-h", "all"), ("archive", "-h", "all", "+te", "+B"), ("-h", "-h", "all")]
)
def test_help_all_shows_every_option(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> None:
    assert shown(capsys, *arguments) == help_text()


@pytest.mark.parametrize(
    ("topic", "there", "absent"),
    [
        ("tls", ("--enable-tls", "--cipher"), "--query"),
        ("query", ("--query", "--only"), "--enable-tls"),
        ("queries", ("--query", "--only"), "--enable-tls"),
        ("verify", ("--verify",), "--retry"),
        ("P", ("--patient", "--port"), "--no-port"),
        ("--retry", ("--retry N",), "--verify"),
        ("-p", ("--padding-off",), "--port"),
    ],
)
def test_help_on_a_topic_shows_its_options(
    capsys: pytest.CaptureFixture[str], topic: str, there: tuple[str, ...], absent: str
) -> None:
    text = shown(capsys, "--help", topic)
    assert all(word in text for word in there)
    assert f" {absent} " not in text


def test_help_on_an_unknown_topic_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-h", "foo\n")
    assert text.startswith(short_help_text())
    assert r"There is no help on 'foo\n'. Topics are" in text
    assert "tls" in text.rpartition("Topics are")[2]


def test_short_help_has_at_most_40_lines() -> None:
    lines = short_help_text().splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert any("movescu --help all" in line for line in lines)


def test_short_help_examples_are_valid_command_lines() -> None:
    commands = re.findall(r"^    (movescu (?:.*\\\n)?.*)", short_help_text(), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        parse(shlex.split(command.replace("\\\n", ""))[1:])


@pytest.mark.parametrize("width", [50, 80, 93, 100])
def test_help_keeps_to_the_given_width(width: int) -> None:
    text = help_text(width).removeprefix(banner())
    assert max(map(len, text.splitlines())) <= width
    assert width < 93 or len(text.splitlines()) < len(help_text().splitlines())
    assert text.split() == help_text().removeprefix(banner()).split() or width == 50  # which breaks a long word


@pytest.mark.parametrize(
    ("columns", "environment", "width"),
    [(64, {}, 64), (95, {}, 95), (200, {}, 100), (20, {}, 50), (95, {"COLUMNS": "70"}, 70)],
)
@pytest.mark.parametrize("options", [("--help",), ("--help", "all")], ids=" ".join)
def test_help_follows_the_width_of_the_terminal(
    tmp_path: Path, options: tuple[str, ...], columns: int, environment: dict[str, str], width: int
) -> None:
    command = terminal.Terminal(*options, folder=tmp_path, columns=columns, environment=environment)
    with command as run:
        output = re.sub(r"\x1b\[\d*m", "", run.finish()).replace("\r\n", "\n")
    assert output == (help_text if "all" in options else short_help_text)(width)


@pytest.mark.parametrize(
    ("columns", "width"), [("", 80), ("60", 60), ("1000", 100), ("0", 80), ("-5", 80), ("9" * 5000, 100), ("x", 80)]
)
def test_help_in_a_pipe_follows_columns(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert width_of(io.StringIO()) == width
    assert width_of(None) == width


@pytest.mark.parametrize("text", [short_help_text(), help_text()])
def test_colours_leave_the_text_unchanged(text: str) -> None:
    coloured = painted(text)
    assert re.sub(r"\x1b\[\d*m", "", coloured) == text
    names = set(re.findall(r"\x1b\[36m(.+?)\x1b", coloured))
    assert {"--key", "-k", "--port"} < names
    assert names <= set(NAMES)


@pytest.mark.parametrize(
    ("stream", "variables", "colour"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"CLICOLOR_FORCE": "1"}, True),
        (io.StringIO(), {"CLICOLOR_FORCE": "0"}, False),
        (io.StringIO(), {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_follow_terminal_and_environment(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, variables: dict[str, str], *, colour: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wants_colour(stream) is colour


def test_version_has_no_colours(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert shown(capsys, "--version") == version_text()
