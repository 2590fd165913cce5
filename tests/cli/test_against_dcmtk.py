"""Comparison with DCMTK's movescu: both must accept or refuse the same hundreds of command lines.

DCMTK's program has no mode that only parses. So each line names a port of 127.0.0.1 on which nobody listens: a line
that DCMTK accepts ends with a failed connection, a missing directory, or a port in use. Compared are whether the line
is accepted, the text of the error, whether it is shown, and the log of ``--arguments``. Every difference is marked at
its line, with the reason, and must exist.

DCMTK's program gets a dictionary with the one row that the lines need: it starts in a quarter of the time.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from movescu.cli.logging.properties import read_text
from movescu.cli.options.command_line import arguments_lines, parse
from movescu.cli.options.option import Option, Value
from movescu.cli.options.table import OPTIONS, SECTIONS
from movescu.cli.options.wishes import ShowHelp, ShowVersion
from movescu.errors import CommandLineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(shutil.which("movescu") is None, reason="DCMTK's movescu is not installed"),
    pytest.mark.not_without("utf-8"),  # the tests' own process has to encode the arguments
    pytest.mark.xdist_group("command_lines"),  # DCMTK's program is run once
]

PEER = ("127.0.0.1", "PORT")
QUERY = (*PEER, "-k", "PatientID=1")

STRICT = "a number followed by something else is no number here; DCMTK drops what follows"
NEGATIVE = "a negative number is an underflow here; DCMTK calls it malformed, or lets it wrap to an overflow"
WINNER = "the message names the option that won; DCMTK names the first of the help"
LEVEL = "the message names the level that is wrong; DCMTK's does not"
LOG_CONFIG = "the words for a log configuration that cannot be read"
DIRECTORY = "a directory is no command file; DCMTK reads it as an empty one"
BINARY = "a file with NUL bytes is no command file; DCMTK cuts the words there"
NEWER = ("transport layer security (TLS)", "IP version")  # 3.6.7 has none of these
JOINED = "the value of a long option may follow an equals sign"
LOSER = "the value of an option that lost is not looked at; DCMTK looks at that of --port"


@dataclass(frozen=True)
class Line:
    """A command line, and why we treat it differently if we do."""

    arguments: tuple[str, ...]
    differs: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a command line: taken, refused, help or version; the error shown; the log of the arguments."""

    end: str
    error: str = ""
    logged: str = ""


def dcmtk_options() -> Iterator[Option]:
    for section in SECTIONS[:-1]:
        for group in section.groups:
            if section.heading not in NEWER and group.heading not in NEWER:
                yield from group.options


def names(option: Option) -> Iterator[str]:
    return (name for name in (option.short, option.long) if name)


def sample(value: Value) -> str:
    if value.kind in ("integer", "seconds"):
        return str(value.high or value.low)
    return "info" if value.kind == "choice" else "."


def company(option: Option) -> tuple[str, ...]:
    return ("--port", "PORT") if option.long == "--output-directory" else ()


def lines_with_every_option() -> Iterator[Line]:
    for option in dcmtk_options():
        for name in names(option):
            if option.long == "--key":
                yield Line((*PEER, name, "PatientID"))
            else:
                values = tuple(sample(value) for value in option.takes)
                differs = LOG_CONFIG if option.field == "log_config" else ""
                yield Line((*QUERY, *company(option), name, *values), differs)
                yield Line((name, *values, *company(option), *QUERY), differs)


def lines_without_a_value() -> Iterator[Line]:
    for option in dcmtk_options():
        for name in names(option):
            for count in range(len(option.takes)):
                yield Line((*QUERY, name, *["1"] * count))


def lines_with_numbers() -> Iterator[Line]:
    signed = ("--timeout", "--acse-timeout", "--dimse-timeout", "--cancel")
    for option in dcmtk_options():
        for position, value in enumerate(option.takes):
            if value.kind in ("integer", "seconds"):
                for text, differs in numbers(value, signed=option.long in signed):
                    values = ["1"] * len(option.takes)
                    values[position] = text
                    yield Line((*QUERY, option.long, *values), differs)
    for text, differs in numbers(Value("port", "integer", 1, 65535), signed=False):
        yield Line(("127.0.0.1", text, "-k", "PatientID"), differs)


def numbers(value: Value, *, signed: bool) -> Iterator[tuple[str, str]]:
    low = value.low or 0
    for text in ("", "x", "-", "99999999999999999999999", str(low), f" {low}", f"{low} ", f"+{low}", f"00{low}"):
        yield text, ""
    if low:
        yield str(low - 1), ""
    if value.high:
        yield str(value.high), ""
        yield str(value.high + 1), ""
    for text in ("-1", "-99999"):
        yield text, "" if signed else NEGATIVE
    for text in (f"{low}x", f"{low}.5", f"{low}_0", f"{low},", "0x50", "21x"):
        yield text, STRICT


def lines_with_conflicts() -> Iterator[Line]:
    preferences = [option.short for option in OPTIONS if option.field == "preferred"]
    transfer = ("+t=", "+te", "+tb", "+ti", "+td")
    for option in transfer:
        for preference in preferences:
            yield Line((*QUERY, option, preference))
        yield Line((*QUERY, "+xs", "+x=", option))
        yield Line((*QUERY, "+x=", "+xs", option))
    for option in (*transfer, "+u", "-u", "+g=", "+g", "-g", "+e", "-e", "+F", "-F", "-p"):
        yield Line((*QUERY, option, "+B"))
        yield Line(("+B", option, *QUERY))
        yield Line((*QUERY, option, "+B", "-B"))
        yield Line((*QUERY, "-B", option, "+B"))
    for words in (
        *("+p 2 4 +B", "+B +p 2 4", "+p 2 4 -F", "-F +p 2 4", "+p 2 4 -F +F", "+p 2 4 -p -F", "-p +p 2 4 -F"),
        *(
            "+p 2 4 +B -F",
            "+p x y -p",
            "+te +t= +B",
            "+t= +te +B",
            "+te +B +xs",
            "+p 0 0",
            "+p 3 5",
            "+cl 3",
            "+cl 3 +B",
        ),
        *("+cl 3 +te", "+cl 3 +tb", "+cl 3 +ti", "+cl 3 +td", "+cl 3 +t=", "+cl 3 +te -xd", "+cl 3 +te -xd -x="),
        *("+cl 3 +te -x= -xd", "+cl 3 +xa", "+cl 3 +xd +te", "-od .", "-od . +P PORT", "+P PORT -od nowhere"),
        *("+P PORT --no-port -od .", "--no-port +P PORT -od .", "-od . +te +B", "-pdu 1 +te +B", "-P -S -O -P"),
        *("-pdu 1 -pdu 5000", "-pdu 5000 -pdu 1", "-to x -to 3", "+cl 10 +te", "--repeat 0 --repeat 2"),
        *("-ll info -v", "-ll info -d", "-ll info -q", "-v -ll info", "-d -ll info", "-q -ll info", "-ll x -v"),
        *("-lc x -v", "-lc x -d", "-lc x -q", "-lc x -ll info", "-ll info -lc x", "-lc x -ll info -v", "-v -lc x -d"),
        *("-v -d -q", "-q -v", "-ll warn -ll info", "-ll x -ll info", "-ac +ac -ac", "-dhl -up --abort --ignore"),
    ):
        yield Line((*QUERY, *words.split()))
    yield Line((*QUERY, "+te", "+tb", "+B"), WINNER)
    yield Line((*QUERY, "+u", "-u", "+B"), WINNER)
    yield Line((*QUERY, "+P", "0", "--no-port"), LOSER)
    yield Line((*QUERY, "-lc", "nowhere"), LOG_CONFIG)


def lines_of_grammar() -> Iterator[Line]:
    unknown = ("--", "-vd", "--port=5", "--aetit", "- ", "-.5", "-X", "+", "--help=1", "-é", "-٣", "--Help", "+K")
    for word in unknown:
        differs = JOINED if word == "--port=5" else ""
        yield Line((*QUERY, word), differs)
        yield Line((word, "-h"), differs)
    for peer in ("-", "+", "-5", "+5x", "-1x", "@"):
        yield Line((peer, "0", "-k", "PatientID"))
    for words in (
        *("", "-h", "--help", "--version", "-h --version", "--version --help", "-h a b c", "--version a", "-h -aet"),
        *("--version --nope", "--version -ll x", "-q --version", "-q -h", "-v", "-q", "--arguments", "--arguments -h"),
        *("--arguments --version", "host", "-aet -h", "-aet -h host", "-aet --x --y", "-h @nowhere", "--nope @nowhere"),
        *("@nowhere", "-h 127.0.0.1 0", "--version -pdu 1", "-h +te +B"),
    ):
        yield Line(tuple(words.split()))
    for words in (
        *(
            "",
            "-q",
            "-v -q",
            "-q -v",
            "-ll fatal",
            "-ll off",
            "-ll error",
            "--arguments",
            "--arguments -q",
            "-q --nope",
        ),
        *("-q -pdu", "--arguments --nope", "--arguments -ll info -v", "-aet", "-q -aet", "-S", "--arguments -v -d"),
    ):
        yield Line((*PEER, *words.split()))
    for level in ("fatal", "ERROR", "Warn", "inFo", "debug", "trace", "off", "all"):
        yield Line((*QUERY, "-ll", level))
    for level in ("warning", "", " info", "i", "2", "not_set"):
        yield Line((*QUERY, "-ll", level), LEVEL)
    yield Line(("-q", "127.0.0.1", "0"))
    yield Line(("--arguments", "127.0.0.1", "0"))
    for title in ("", " ", "-X", "+te", "--help", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "a'b\"c"):
        for option in ("-aet", "-aec", "-aem"):
            yield Line((*QUERY, "--arguments", option, title))
    for words in ("-q +te +B", "-v -q +te +B", "-ll fatal +te +B", "-ll off +te +B", "-v +te +B", "--arguments +te +B"):
        yield Line((*QUERY, *words.split()))


COMMAND_FILES = {
    "empty": b"",
    "blank": b" \n\t\r\n",
    "plain": b"-v 127.0.0.1 PORT\n-k PatientID=1\n",
    "crlf": b'127.0.0.1\tPORT\r\n-aet "A B" -aec \'C "D\'\r\n',
    "closing": b'127.0.0.1 PORT a"b c"d e',
    "nothing": b'127.0.0.1 PORT "" x',
    "open": b'127.0.0.1 PORT "open x y\n z\n',
    "open-empty": b'127.0.0.1 PORT "',
    "open-late": b'127.0.0.1 PORT a"',
    "backslash": b'127.0.0.1 PORT \\"a b',
    "escape": b'127.0.0.1 PORT "a\\"b"',
    "comment": b"127.0.0.1 PORT # c",
    "nested": b"127.0.0.1 PORT @empty",
    "feeds": b"127.0.0.1\x0bPORT\x0cx",
    "lines": b'127.0.0.1 PORT "a\nb" "c\r\nd" "\r"',
    "mark": b"\xef\xbb\xbf127.0.0.1 PORT",
    "apostrophe": b"127.0.0.1 PORT it's a",
    "four": b'127.0.0.1 PORT """"',
    "twins": b"127.0.0.1 PORT ''a'' b",
    "bytes": b"127.0.0.1 PORT \xff\xe4 \xc2\xa0 \xa0",
    "returns": b"127.0.0.1\rPORT\r x",
    "unfinished": b"127.0.0.1 PORT -pdu",
    "inner": b'127.0.0.1 PORT "a  b"  ',
    "version": b"127.0.0.1 PORT --version",
    "two": b"A 'B C'",
    "conflict": b"+te +B",
    "nul": b"127.0.0.1 PORT a\x00b c",
}


def lines_with_command_files() -> Iterator[Line]:
    for name in COMMAND_FILES:
        differs = BINARY if name == "nul" else ""
        yield Line(("--arguments", f"@{name}"), differs)
        yield Line((f"@{name}", "-k", "PatientID", "--arguments"), differs)
        yield Line((f"@{name}",), differs)
        yield Line(("--arguments", *QUERY, "-aet", f"@{name}"), differs)
    yield Line(("@.",), DIRECTORY)
    yield Line(("@empty", "@blank"))
    yield Line(("@plain", "@conflict"))


LINES = [
    *lines_with_every_option(),
    *lines_without_a_value(),
    *lines_with_numbers(),
    *lines_with_conflicts(),
    *lines_of_grammar(),
    *lines_with_command_files(),
]


def with_port(arguments: tuple[str, ...], port: int) -> list[str]:
    return [str(port) if argument == "PORT" else argument for argument in arguments]


def of_dcmtk(line: Line, port: int, directory: Path, dictionary: Path) -> Outcome:
    ran = subprocess.run(
        ["movescu", *with_port(line.arguments, port)],
        cwd=directory,
        env=os.environ | {"DCMDICTPATH": str(dictionary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    shown, _, error = os.fsdecode(ran.stderr).partition("error: ")
    # The file is looked for once the line is parsed.
    taken = ran.returncode in (2, 40, 45, 60, 61) or error.startswith("cannot access file")
    logged = shown.partition("\nI: \n")[0] if "I: calling" in shown else ""
    if ran.returncode == 0:
        return Outcome("help" if b"usage:" in ran.stdout else "version", logged=logged)
    return Outcome("taken", logged=logged) if taken else Outcome("refused", error.removesuffix("\n"), logged)


def of_ours(line: Line, port: int) -> Outcome:
    arguments = with_port(line.arguments, port)
    try:
        settings = parse(arguments)
        if settings.log_config is not None:
            read_text(settings.log_config)
    except CommandLineError as error:
        text = "" if error.silent else str(error)
        return Outcome("refused", text, logged(arguments) if error.show_arguments else "")
    except UsageError as error:
        return Outcome("refused", str(error))
    except ShowHelp:
        return Outcome("help")
    except ShowVersion:
        return Outcome("version")
    return Outcome("taken", logged=logged(arguments) if settings.show_arguments else "")


def logged(arguments: list[str]) -> str:
    lines = arguments_lines("movescu", arguments)
    assert lines[-1] == ""
    return "\n".join(f"I: {line}" for line in lines[:-1])


@dataclass(frozen=True)
class Oracle:
    port: int
    directory: Path
    outcomes: dict[Line, Outcome]


@pytest.fixture(scope="module")
def oracle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """What DCMTK's program does with the lines of the tests that are run."""
    calls = [
        item.callspec
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    lines = [line for call in calls if isinstance(line := call.params.get("line"), Line)]
    directory = tmp_path_factory.mktemp("command-files")
    dictionary = tmp_path_factory.mktemp("dictionary") / "dicom.dic"
    dictionary.write_text("(0010,0020)\tLO\tPatientID\t1\tDICOM\n")
    with socket.socket() as unheard, ThreadPoolExecutor(8) as pool:
        unheard.bind(("127.0.0.1", 0))  # taken, but nobody listens: connections are refused
        port = unheard.getsockname()[1]
        for name, content in COMMAND_FILES.items():
            (directory / name).write_bytes(content.replace(b"PORT", str(port).encode()))
        ran = pool.map(lambda line: of_dcmtk(line, port, directory, dictionary), lines)
        outcomes = dict(zip(lines, ran, strict=True))
        yield Oracle(port, directory, outcomes)


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.arguments).encode("unicode_escape").decode())
@pytest.mark.sampled(3)
def test_command_line_is_accepted_or_refused_as_by_dcmtk(
    line: Line, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(oracle.directory)
    ours, theirs = of_ours(line, oracle.port), oracle.outcomes[line]
    if line.differs:
        assert ours != theirs, f"no difference any more: {line.differs}"
    else:
        assert ours == theirs


def test_differences_from_dcmtk_are_refusals_but_two(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(oracle.directory)
    taken = [line for line in LINES if line.differs and of_ours(line, oracle.port).end == "taken"]
    assert {line.differs for line in taken} == {LOSER, JOINED}


def test_comparison_covers_500_command_lines() -> None:
    assert len(LINES) > 500
