"""Configuration files of the log: those of log4cplus act as in DCMTK, those of Python's logging by their schema."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import corpus
import delivery
import logging_state
import peers
import pytest
import scripted
from command import dcmtk, movescu
from hypothesis import given
from hypothesis import strategies as st

from movescu._runtime.hex_dump import TRACE
from movescu.cli.logging import appenders
from movescu.cli.logging.config_file import configure_from, read_configuration
from movescu.cli.logging.dict_config import read_python
from movescu.cli.logging.layouts import PatternLayout
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command import Outcome

    Configure = Callable[[str], None]

SAMPLES = {"logger.cfg": "the console from INFO on", "filelog.cfg": "the console from ERROR on"}
CONSOLE = "log4cplus.rootLogger = {level}, c\nlog4cplus.appender.c = log4cplus::ConsoleAppender\n"
PATTERN = "log4cplus.appender.c.layout = log4cplus::PatternLayout\nlog4cplus.appender.c.layout.ConversionPattern = "


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Set up the log from the text of a property file, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(text: str) -> None:
        tmp_path.joinpath("log.cfg").write_text(text)
        configure_from("log.cfg")

    with logging_state.restored():
        yield run


def say(level: int = logging.INFO, text: str = "hello", *args: object, name: str = "movescu.cli") -> None:
    logging.getLogger(name).log(level, text, *args)


def refusal(text: str, name: str = "log.cfg") -> str:
    try:
        if name.endswith(".cfg"):
            read_configuration(text, name, lambda _: None)
        else:
            read_python(text, name)
    except UsageError as error:
        return str(error)
    return ""


# The samples of DCMTK's package, beside DCMTK


def shape(line: str) -> str:
    """Return the head of a log line, with 9 for each digit and x for each letter of the logger's name."""
    head = re.match(r"([-0-9 :.]*)(TRACE|DEBUG| INFO| WARN|ERROR|FATAL)(: | - (?:movescu|dcmdata|dcmnet) * - )", line)
    assert head, line
    return re.sub(r"[0-9]", "9", head[1]) + head[2] + re.sub(r"[a-z]", "x", head[3].replace("dcmnet ", "dcmnetx"))


def levels(text: str) -> set[str]:
    return set(re.findall(r"^[-0-9 :.]*(TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b", text, re.MULTILINE))


def retrieved(program: Callable[..., Outcome], sample: str, folder: Path, *, succeeds: bool) -> Outcome:
    folder.mkdir()
    if not succeeds:
        keys = ("-S", "-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.3")
        arguments = ("-lc", f"/etc/dcmtk/{sample}", *keys, peers.HOST, peers.free_port())
        return program(*arguments, folder=folder, **({} if program is dcmtk else {"code": 61}))
    (made,) = corpus.make_study(folder.parent, size=40_000)
    instance = delivery.Delivered(
        "ct", made.sop_class_uid, made.instance_uid, "1.2.840.10008.1.2.1", scripted.data_set(made.path)
    )
    delivered = delivery.deliver(program, [instance], "-S", "-lc", f"/etc/dcmtk/{sample}", folder=folder)
    assert delivered.statuses == {"ct": 0}
    return delivered.outcome


@pytest.mark.parametrize("succeeds", [True, False], ids=["success", "failure"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_files_write_the_same_outputs_as_with_dcmtk(sample: str, tmp_path: Path, *, succeeds: bool) -> None:
    oracle = retrieved(dcmtk, sample, tmp_path / "dcmtk", succeeds=succeeds)
    ours = retrieved(movescu, sample, tmp_path / "ours", succeeds=succeeds)
    assert ours.code == oracle.code
    assert bool(ours.log) == bool(oracle.log) is False  # the samples' spelling of logToStdErr means standard output
    assert levels(ours.output) == levels(oracle.output)
    dots = [[line for line in run.output.splitlines() if line.startswith("RECV")] for run in (oracle, ours)]
    assert dots[0] == dots[1]
    assert bool(dots[0]) == (succeeds and sample == "logger.cfg")
    texts = [run.files["movescu.log"].read_text() for run in (oracle, ours)]
    # What DCMTK tells of an association that never was are its parameters, and that it reads dictionaries.
    assert levels(texts[1]) == levels(texts[0]) - (set() if succeeds else {"DEBUG"})
    heads = [{shape(line) for line in text.splitlines()} for text in texts]
    assert heads[1] <= heads[0]
    assert len(heads[1]) >= 2


def test_log_configuration_is_not_loaded_without_the_option(tmp_path: Path) -> None:
    outcome = movescu("--version", folder=tmp_path, prefix=["env", "PYTHONPROFILEIMPORTTIME=1"])
    assert "movescu.cli.docs.banner" in outcome.log
    refused = movescu(
        *("-k", "0008,0052=STUDY", peers.HOST, peers.free_port()),
        folder=tmp_path,
        code=61,
        prefix=["env", "PYTHONPROFILEIMPORTTIME=1"],
    )
    assert "movescu.cli.logging.console_log" in refused.log
    for module in ("logging.config_file", "logging.layouts", "logging.dict_config", "output.dots"):
        assert f"movescu.cli.{module}" not in refused.log
    assert "logging" not in re.findall(r"\| +(\S+)$", outcome.log, re.MULTILINE)


# Layouts


def test_simple_layout_shows_level_and_message(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure(CONSOLE.format(level="ALL") + "log4cplus.appender.c.layout = log4cplus::SimpleLayout\n")
    for level in (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        say(level, "one\ntwo")
    names = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    assert capsys.readouterr().out == "".join(f"{name} - one\ntwo\n" for name in names)


def test_ttcc_layout_shows_time_thread_level_and_logger(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = "log4cplus.appender.c.layout = log4cplus::TTCCLayout\n"
    configure(CONSOLE.format(level="INFO") + layout)
    say()
    thread = threading.get_ident()
    assert re.fullmatch(rf"[0-9]+ \[{thread}\] INFO dcmtk\.apps\.movescu <> - hello\n", capsys.readouterr().out)
    configure(CONSOLE.format(level="INFO") + layout + "log4cplus.appender.c.layout.DateFormat = %H:%M:%S,%q\n")
    say()
    assert re.match(r"[0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3} \[", capsys.readouterr().out)


CONVERSIONS = {
    "%b": r"test_config_file\.py",
    "%c": r"dcmtk\.apps\.movescu",
    "%c{1}": "movescu",
    "%c{2}": r"apps\.movescu",
    "%c{9}": r"dcmtk\.apps\.movescu",
    "%c{x}": r"dcmtk\.apps\.movescu",
    "%d": "2001-09-09 01:46:40",
    "%d{%q|%Q|%%q|%s}": r"250\|250\.500\|%q\|[0-9]+",
    "%d{%H}x": "01x",
    "%d{}": "2001-09-09 01:46:40",
    "%D": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_000_000_000)),
    "%F": r"/.*/test_config_file\.py",
    "%h": re.escape(socket.gethostname()),
    "%i": str(os.getpid()),
    "%l": r"/.*/test_config_file\.py:[0-9]+",
    "%L": "[0-9]+",
    "%m": "hello",
    "%M": "record",
    "%n": "\n",
    "%p": "WARN",
    "%P": "W",
    "%r": "-?[0-9]+",
    "%t": str(threading.get_ident()),
    "%T": str(threading.get_native_id()),
    "%x": "",
    "%X{a}": "",
    "%%": "%",
    "%7p|": r"   WARN\|",
    "%-7p|": r"WARN   \|",
    "%.2p": "RN",
    "%5.3p": "ARN",
    "%-20.4c{1}": "escu",
    "%E{HOME}": r"%E\{HOME\}",
    "%.p": r"%\.p",
    "%-3.m": r"%-3\.m",
    "%3%": "%3%",
    "100%": "100%",
    "%d{": "2001-09-09 01:46:40",
}
"""Pattern -> what it makes, as a regular expression; each was tried with DCMTK."""


def record(message: str = "hello") -> logging.LogRecord:
    made = logging.getLogger("movescu.cli").makeRecord(
        "movescu.cli", logging.WARNING, __file__, 7, message, (), None, "record"
    )
    made.created = 1_000_000_000.2505
    return made


@pytest.mark.parametrize("pattern", CONVERSIONS)
def test_pattern_conversions_match_log4cplus(pattern: str) -> None:
    text = PatternLayout(pattern, lambda _: None).format(record())
    assert re.fullmatch(CONVERSIONS[pattern], text), text


def test_pattern_shows_the_full_host_name() -> None:
    full = subprocess.run(["hostname", "-f"], check=False, capture_output=True, text=True)
    if full.returncode:  # no name server and no /etc/hosts know this machine, as in a container
        full = subprocess.run(["hostname"], check=True, capture_output=True, text=True)
    assert PatternLayout("%H", lambda _: None).format(record()) == full.stdout.strip()


def test_pattern_applies_to_each_line_of_a_message() -> None:
    assert PatternLayout("%p %m%n", lambda _: None).format(record("a\nb")) == "WARN a\nWARN b\n"


# Appenders


def test_console_is_standard_error_only_with_the_exact_key(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, stream in (("logToStdErr", "err"), ("logToStderr", "out")):
        configure(CONSOLE.format(level="INFO") + f"log4cplus.appender.c.{key} = true\n")
        say()
        captured = capsys.readouterr()
        assert getattr(captured, stream) == "INFO - hello\n"
        assert captured.out + captured.err == "INFO - hello\n"


def file_appender(kind: str, *settings: str) -> str:
    lines = (f"log4cplus.appender.f = log4cplus::{kind}", "log4cplus.appender.f.File = a.log")
    return "\n".join(("log4cplus.rootLogger = INFO, f", *lines, *(f"log4cplus.appender.f.{s}" for s in settings), ""))


@pytest.mark.parametrize(
    ("kind", "settings", "kept"),
    [
        ("FileAppender", [], False),
        ("FileAppender", ["Append = true"], True),
        ("RollingFileAppender", [], True),
        ("RollingFileAppender", ["Append = false"], False),
    ],
)
def test_file_is_appended_to_as_by_dcmtk(
    configure: Configure, tmp_path: Path, kind: str, settings: list[str], *, kept: bool
) -> None:
    tmp_path.joinpath("a.log").write_text("before\n")
    configure(file_appender(kind, *settings))
    say(logging.INFO, "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \udcff")
    text = tmp_path.joinpath("a.log").read_text(encoding="utf-8")
    assert text == ("before\n" if kept else "") + "INFO - gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \\udcff\n"


@pytest.mark.parametrize("kind", ["FileAppender", "RollingFileAppender", "DailyRollingFileAppender"])
@pytest.mark.parametrize("content", [bytes(128) + b"DICM\2\0", b"\x08\0\x05\0CS\n\0ISO_IR 100"], ids=["meta", "bare"])
def test_log_is_written_to_no_object(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, content: bytes
) -> None:
    tmp_path.joinpath("a.log").write_bytes(content)
    configure(file_appender(kind))
    say()
    assert tmp_path.joinpath("a.log").read_bytes() == content
    assert "cannot write 'a.log': it is " in capsys.readouterr().err
    configure(file_appender(kind).replace("a.log", ".movescu.unflushed"))
    assert not tmp_path.joinpath(".movescu.unflushed").exists()
    for name in ("a.log", ".movescu.unflushed"):
        handlers = {"f": {"class": "logging.FileHandler", "filename": str(tmp_path / name)}}
        assert "cannot write " in refusal(json.dumps({"handlers": handlers}), "log.json")


def test_file_of_an_unused_appender_is_created_and_closed(configure: Configure, tmp_path: Path) -> None:
    configure(file_appender("FileAppender").replace("INFO, f", "INFO") + "log4cplus.logger.other = INFO, f\n")
    assert tmp_path.joinpath("a.log").read_text() == ""  # left open, it is a warning, and warnings are errors


def test_rolling_file_keeps_its_number_of_backups(configure: Configure, tmp_path: Path) -> None:
    configure(file_appender("RollingFileAppender", "MaxFileSize = 200 kb", "MaxBackupIndex = 2"))
    for letter in "abcd":
        say(logging.INFO, letter * 205_000)
    say(logging.INFO, "last")
    names = ("a.log", "a.log.1", "a.log.2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "log.cfg"]
    assert [tmp_path.joinpath(name).read_text()[7:9] for name in names] == ["la", "dd", "cc"]


@pytest.mark.parametrize(
    ("schedule", "then", "suffix"),
    [
        ("MONTHLY", "2026-02-01 00:00", "2026-01"),
        ("weekly", "2026-02-02 00:00", "2026-04"),
        ("DAILY", "2026-02-01 00:00", "2026-01-31"),
        ("nonsense", "2026-02-01 00:00", "2026-01-31"),
        ("twice_daily", "2026-02-01 00:00", "2026-01-31-PM"),
        ("hourly", "2026-02-01 00:00", "2026-01-31-23"),
        ("MINUTELY", "2026-02-01 00:00", "2026-01-31-23-59"),
    ],
)
def test_daily_file_rolls_after_its_period_and_at_exit(
    schedule: str, then: str, suffix: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = (time.mktime(time.strptime(t, "%Y-%m-%d %H:%M")) for t in ("2026-01-31 23:59", then))
    now = before
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "time_ns", lambda: int(now * 1e9))  # what a record is dated by, from Python 3.13 on
    configure(file_appender("DailyRollingFileAppender", f"Schedule = {schedule}"))
    say(logging.INFO, "old")
    now = after
    say(logging.INFO, "new")
    assert tmp_path.joinpath("a.log").read_text() == "INFO - new\n"
    assert tmp_path.joinpath(f"a.log.{suffix}").read_text() == "INFO - old\n"
    for handler in logging.getLogger("movescu").handlers:
        handler.close()
    assert tmp_path.joinpath("a.log").read_text() == ""
    assert {path.read_text() for path in tmp_path.glob("a.log.2026*")} == {"INFO - old\n", "INFO - new\n"}


def test_daily_file_numbers_its_backups(configure: Configure, tmp_path: Path) -> None:
    for number in range(4):
        with logging_state.restored():
            configure(file_appender("DailyRollingFileAppender", "Schedule = MONTHLY", "MaxBackupIndex = 2"))
            say(logging.INFO, f"run {number}")
    month = time.strftime("a.log.%Y-%m")
    texts = {path.name: path.read_text() for path in tmp_path.glob("a.log.*")}
    assert texts == {month: "INFO - run 3\n", f"{month}.1": "INFO - run 2\n", f"{month}.2": "INFO - run 1\n"}


def test_syslog_server_receives_datagrams(configure: Configure) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((peers.HOST, 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        appender = "log4cplus.appender.s = log4cplus::SysLogAppender\nlog4cplus.appender.s"
        settings = f"{appender}.host = {peers.HOST}\nlog4cplus.appender.s.port = {port}\n"
        facility = "log4cplus.appender.s.facility = LOCAL3\nlog4cplus.appender.s.ident = me\n"
        configure(f"log4cplus.rootLogger = ALL, s\n{settings}{facility}")
        severities = {TRACE: 7, logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, 50: 2}
        for level, severity in severities.items():
            say(level)
            text = server.recv(9999).decode()
            when = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
            head = rf"<{19 << 3 | severity}>1 {when} {re.escape(socket.gethostname())} me {os.getpid()}"
            assert re.fullmatch(rf"{head} dcmtk\.apps\.movescu - [A-Z]+ - hello\n", text), text


def test_syslog_of_the_machine_receives_lines(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[int, str]] = []
    monkeypatch.setattr("syslog.openlog", lambda identity: lines.append((0, identity)))
    monkeypatch.setattr("syslog.syslog", lambda priority, text: lines.append((priority, text)))
    appender = "log4cplus.appender.s = log4cplus::SysLogAppender\nlog4cplus.appender.s.ident = me\n"
    configure(f"log4cplus.rootLogger = INFO, s\n{appender}")
    say(logging.ERROR)
    assert lines == [(0, "me"), (1 << 3 | 3, "ERROR - hello")]


def test_null_appender_writes_nothing(configure: Configure, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    configure("log4cplus.rootLogger = ALL, n\nlog4cplus.appender.n = log4cplus::NullAppender\n")
    say(logging.CRITICAL)
    assert capsys.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["log.cfg"]


@pytest.mark.parametrize("kind", ["Socket", "Async", "Log4jUdp", "NTEventLog", "Foo"])
def test_unsupported_appender_is_reported_once_and_others_work(
    kind: str, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(
        CONSOLE.format(level="INFO, x")
        + f"log4cplus.appender.x = log4cplus::{kind}Appender\nlog4cplus.logger.dcmtk.dcmnet = INHERIT, x\n"
    )
    say()
    captured = capsys.readouterr()
    assert captured.out == "INFO - hello\n"
    complaint = f"W: log configuration log.cfg, line 3: unsupported appender log4cplus::{kind}Appender\n"
    assert captured.err == complaint


COMPLAINTS = {
    "log4cplus.appender.c.layout = log4cplus::FooLayout": "line 3: unsupported layout log4cplus::FooLayout",
    "log4cplus.appender.c.layout = log4cplus::PatternLayout": "line 3: PatternLayout has no ConversionPattern",
    "log4cplus.appender.c.Threshold = FOO": "line 3: unknown level FOO",
    "log4cplus.logger.dcmtk.apps = FOO": "line 3: unknown level FOO",
    "log4cplus.appender.c.filters.1 = log4cplus::spi::Foo": "line 3: unsupported filter log4cplus::spi::Foo",
    "log4cplus.appender.f = log4cplus::FileAppender": "File is not set",
    "log4cplus.appender.f = log4cplus::FileAppender\nlog4cplus.appender.f.File = no/a": "No such file or directory",
    "log4cplus.logger.dcmtk = INFO, d": "the appender d, which is not set up",
    "include nowhere.cfg": "line 3: log configuration nowhere.cfg cannot be read",
    f"{PATTERN}INFO - %m%n%z": "line 4: unknown conversion '%z'",
    "log4cplus.appender.s = log4cplus::SysLogAppender\nlog4cplus.appender.s.host = no such.host": "cannot set up",
}


@pytest.mark.parametrize("line", COMPLAINTS)
def test_log_configuration_mistakes_that_dcmtk_tolerates_end_no_run(
    line: str, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(CONSOLE.format(level="INFO") + line + "\n")
    say()
    captured = capsys.readouterr()
    assert captured.out.startswith("INFO - hello\n")
    assert COMPLAINTS[line] in captured.err
    assert captured.err.count("\n") == 1


def test_log_on_a_full_disk_fails_no_run(tmp_path: Path) -> None:
    config = tmp_path / "log.cfg"
    config.write_text(
        "log4cplus.rootLogger = ALL, f\nlog4cplus.appender.f = log4cplus::FileAppender\n"
        "log4cplus.appender.f.File = /dev/full\n"
    )
    outcome = movescu("-lc", config, "-k", "0008,0052=STUDY", peers.HOST, peers.free_port(), folder=tmp_path, code=61)
    assert outcome.log == outcome.output == ""


# Filters


FILTERS = {
    "DenyAllFilter": "",
    "LogLevelMatchFilter LogLevelToMatch=INFO AcceptOnMatch=true": "D I W E",
    "LogLevelMatchFilter LogLevelToMatch=INFO AcceptOnMatch=false": "D W E",
    "LogLevelMatchFilter LogLevelToMatch=INFO": "D W E",
    "LogLevelMatchFilter LogLevelToMatch=INFO AcceptOnMatch=true, DenyAllFilter": "I",
    "LogLevelRangeFilter LogLevelMin=info LogLevelMax=warn": "I W",
    "LogLevelRangeFilter LogLevelMin=info LogLevelMax=warn AcceptOnMatch=true, DenyAllFilter": "I W",
    "LogLevelRangeFilter logLevelMin=info logLevelMax=warn AcceptOnMatch=true, DenyAllFilter": "D I W E",
    "StringMatchFilter StringToMatch=ERR AcceptOnMatch=true, DenyAllFilter": "E",
    "StringMatchFilter StringToMatch=ERR": "D I W",
    "StringMatchFilter AcceptOnMatch=true": "D I W E",
    "LogLevelMatchFilter LogLevelToMatch=WARN AcceptOnMatch=false, StringMatchFilter StringToMatch=INFO": "D E",
}
"""Filters, one after the other -> the levels that are logged; the single ones and chains were tried with DCMTK."""


@pytest.mark.parametrize("filters", FILTERS)
def test_filters_decide_in_their_order(filters: str, configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    text = CONSOLE.format(level="DEBUG") + f"{PATTERN}%P%n\n"
    for number, entry in enumerate(filters.split(", "), 1):
        kind, *settings = entry.split()
        name = f"log4cplus.appender.c.filters.{number}"
        text += f"{name} = log4cplus::spi::{kind}\n" + "".join(f"{name}.{setting}\n" for setting in settings)
    configure(text)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        say(level, f"an {logging.getLevelName(level)} of many")
    assert capsys.readouterr().out.split() == FILTERS[filters].split()


def test_appender_drops_messages_below_its_threshold(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure(CONSOLE.format(level="DEBUG") + "log4cplus.appender.c.Threshold = ERROR\n")
    say(logging.WARNING)
    say(logging.ERROR)
    assert capsys.readouterr().out == "ERROR - hello\n"


# Loggers


NAMES = {
    "dcmtk.dcmnet": ["movescu.net", "movescu.dimse", "movescu.ul"],
    "dcmtk.dcmdata": ["movescu.dataset"],
    "dcmtk.apps.movescu": ["movescu.cli", "movescu.move", "movescu.store", "movescu.retrieve"],
    "dcmtk.apps": ["movescu.cli", "movescu.move", "movescu.store", "movescu.retrieve"],
    "movescu.net": ["movescu.net"],
    "movescu.net.tls": [],
}


@pytest.mark.parametrize("name", NAMES)
def test_loggers_are_configured_by_dcmtks_names_and_ours(
    name: str, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(CONSOLE.format(level="WARN") + f"{PATTERN}%m%n\nlog4cplus.logger.{name} = INFO\n")
    every = [each for names in NAMES.values() for each in names]
    for each in dict.fromkeys(every):
        say(logging.INFO, each, name=each)
    assert sorted(capsys.readouterr().out.split()) == sorted(NAMES[name])


def test_appenders_add_up_unless_a_logger_is_not_additive(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CONSOLE.format(level="INFO") + "log4cplus.logger.dcmtk.apps = INHERIT, c\n"
    configure(text)
    say()
    assert capsys.readouterr().out == "INFO - hello\n" * 2
    configure(text + "log4cplus.additivity.dcmtk.apps = false\n")
    say()
    say(name="movescu.net")
    assert capsys.readouterr().out == "INFO - hello\n" * 2


def test_level_may_stand_below_a_root_without_one(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure(CONSOLE.format(level="INHERIT") + "log4cplus.logger.dcmtk = INFO\n")
    say()
    assert capsys.readouterr().out == "INFO - hello\n"


# Reading


def test_include_of_itself_is_an_error(tmp_path: Path) -> None:
    """Ten times in each, eight deep, they would be read for weeks."""
    again = tmp_path / "again.cfg"
    again.write_text(f"include {again}\n" * 10)
    assert "more than 100 files are included" in refusal(f"include {again}\n" + CONSOLE.format(level="INFO"))


def test_variable_chain_is_expanded_to_a_limit(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    chain = "\n".join(f"v{number} = ${{v{number + 1}}}" for number in range(900))
    near = CONSOLE.format(level="${v850}") + chain + "\nv900 = INFO\n"
    configure(near)
    say()
    assert capsys.readouterr().out == "INFO - hello\n"
    assert "unknown level ${v" in refusal(near.replace("{v850}", "{v0}"))


def test_variables_and_includes_are_expanded(
    configure: Configure, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_ENVIRONMENT", "yes")
    tmp_path.joinpath("more.cfg").write_text("own = [${inner}]\ninner = x\n")
    names = "${appname} ${pid} ${hostname} ${date} ${time} ${own} ${OF_THE_ENVIRONMENT} ${nothing} ${self} ${open"
    configure(
        "# a comment\n\n  include more.cfg\nself = ${self}\nletter = c\n"
        "log4cplus.rootLogger=INFO,c\r\n  log4cplus.appender.${letter}  =  log4cplus::ConsoleAppender  \n"
        f"a line that says nothing\n{PATTERN}{names}\n"
    )
    say()
    made = capsys.readouterr().out
    host = re.escape(socket.gethostname())
    expected = rf"movescu {os.getpid()} {host} [0-9]{{8}} [0-9]{{6}} \[x\] yes \$\{{nothing\}} \$\{{self\}} \$\{{open"
    assert re.fullmatch(expected, made), made


ERRORS = {
    "": "log configuration log.cfg does not contain any settings",
    "# only this\n": "log configuration log.cfg does not contain any settings",
    "log4cplus.rootLogger: DEBUG\n": "log configuration log.cfg does not contain any settings",
    "a = b\n": "log configuration log.cfg does not contain any valid settings",
    "log4cplus.x = b\n": "log configuration log.cfg does not set up log4cplus.rootLogger",
    "\nlog4cplus.rootLogger = FOO, c\n": "log configuration log.cfg, line 2: unknown level FOO",
    "log4cplus.rootLogger =\n": "log configuration log.cfg, line 1: the level is missing",
    "log4cplus.rootLogger = INHERIT\n": "log configuration log.cfg, line 1: unknown level INHERIT",
}


@pytest.mark.parametrize("text", ERRORS)
def test_log_configuration_without_required_settings_is_an_error_with_its_path(text: str) -> None:
    assert refusal(text) == ERRORS[text]


@pytest.mark.parametrize("name", ["missing.cfg", "folder", "missing.json", "bad.cfg", "bad.json", "bad.toml"])
def test_log_configuration_that_is_unusable_ends_the_command_first(name: str, tmp_path: Path) -> None:
    tmp_path.joinpath("folder").mkdir()
    tmp_path.joinpath("bad.cfg").write_text("log4cplus.rootLogger = FOO\n")
    tmp_path.joinpath("bad.json").write_text('{"handlers": {"x": {"class": "os.system"}}}')
    tmp_path.joinpath("bad.toml").write_text("[root]\nlevel = 'NONE'\n")
    outcome = movescu("-lc", name, "-k", "0008,0052=STUDY", peers.HOST, peers.free_port(), folder=tmp_path, code=1)
    assert f"error: log configuration {name}" in outcome.log
    assert outcome.output == ""


def test_log_configuration_that_never_ends_is_an_error(tmp_path: Path) -> None:
    outcome = movescu("-lc", "/dev/zero", "-k", "0008,0052=STUDY", "127.0.0.1", "1", folder=tmp_path, code=1)
    assert "has more than" in outcome.log


LINES = st.sampled_from(
    [
        *("log4cplus.rootLogger=INFO, c", "log4cplus.logger.dcmtk=", "log4cplus.additivity.x=", "a=${b}${b}${a}"),
        *("b=${a}${c}${c}", "c=${b}${log4cplus.rootLogger}", "include a", "include log.cfg", "log4cplus.appender."),
        *("log4cplus.appender.c=log4cplus::NullAppender", "log4cplus.appender.c.layout=log4cplus::PatternLayout"),
        *("log4cplus.appender.c.layout.ConversionPattern=", "log4cplus.appender.c.filters.1=log4cplus::spi::"),
        *("log4cplus.appender.c.filters.1.LogLevelMin=", "log4cplus.appender.c.Threshold=", "${", "}", "=", "\n"),
    ]
)


@given(st.lists(LINES | st.text(max_size=30)).map("\n".join) | st.lists(LINES | st.text(max_size=9)).map("".join))
def test_property_file_raises_only_the_documented_error(text: str) -> None:
    try:
        configuration = read_configuration(text, "log.cfg", lambda _: None)
    except UsageError:
        return
    for name in configuration.appenders:
        if configuration.appenders.text(name) in ("log4cplus::NullAppender", "log4cplus::ConsoleAppender"):
            appenders.make_appender(configuration.appenders.below(name))


@given(st.lists(st.sampled_from([*"%%%%{}.-09cdDmnzqQX", "%d{", "%10.3", "%c{"]) | st.text(max_size=5)).map("".join))
def test_pattern_never_raises(pattern: str) -> None:
    PatternLayout(pattern, lambda _: None).format(record("a\nb"))


# Python's own


def python_config(tmp_path: Path, configuration: object, name: str = "log.json") -> str:
    path = tmp_path / name
    path.write_text(configuration if isinstance(configuration, str) else json.dumps(configuration))
    return str(path)


TOML = """
[formatters.plain]
format = "%(levelname)s|%(name)s|%(message)s"
[handlers.console]
class = "logging.StreamHandler"
stream = "ext://sys.stdout"
formatter = "plain"
[handlers.file]
class = "logging.handlers.RotatingFileHandler"
filename = "FILE"
formatter = "plain"
[loggers."movescu.net"]
level = "ERROR"
[root]
level = "TRACE"
handlers = ["console", "file"]
"""


def test_python_configuration_in_toml_is_applied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_state.restored():
        configure_from(python_config(tmp_path, TOML.replace("FILE", str(tmp_path / "a.log")), "log.TOML"))
        say(TRACE, "hello %s", "\x1b[31m\nINFO|forged")
        say(logging.INFO, name="movescu.net")
        text = "TRACE|movescu.cli|hello \\x1b[31m\\nINFO|forged\n"
        assert capsys.readouterr().out == text
        assert tmp_path.joinpath("a.log").read_text() == text


def test_python_configuration_in_json_shows_no_dots_by_default(tmp_path: Path) -> None:
    (made,) = corpus.make_study(tmp_path, size=2048)
    thing = delivery.Delivered(
        "ct", made.sop_class_uid, made.instance_uid, "1.2.840.10008.1.2.1", scripted.data_set(made.path)
    )
    plain = {"handlers": {"c": {"class": "logging.StreamHandler"}}, "root": {"level": "INFO", "handlers": ["c"]}}
    asking = plain | {"loggers": {"movescu.progress": {"level": "INFO"}}}
    for number, (configuration, output) in enumerate(((plain, ""), (asking, "RECV: .\n"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = python_config(tmp_path, configuration)
        run = delivery.deliver(movescu, [thing], "-lc", path, folder=folder).outcome
        assert "received store request" in run.log
        assert run.output == output


def handler(**settings: object) -> dict[str, object]:
    return {"handlers": {"h": settings}}


REFUSED = {
    "handlers.h: the class os.system is refused": handler(**{"class": "os.system"}),
    "handlers.h: the class logging.handlers.QueueHandler is refused": handler(
        **{"class": "logging.handlers.QueueHandler", "queue": "os.getcwd"}
    ),
    "handlers.h: the key '()' is refused": handler(**{"()": "os.getcwd"}),
    "handlers.h.stream: ext://os.environ is refused": handler(
        **{"class": "logging.StreamHandler", "stream": "ext://os.environ"}
    ),
    "handlers.h: the key '.' is refused": handler(**{"class": "logging.NullHandler", ".": {"emit": "x"}}),
    "handlers.h.a: cfg://x is refused": handler(**{"class": "logging.NullHandler", "a": ["cfg://x"]}),
    "formatters.f: the class logging.config.DictConfigurator is refused": {
        "formatters": {"f": {"class": "logging.config.DictConfigurator"}}
    },
    "filters.f: the key '()' is refused": {"filters": {"f": {"()": "ext://sys.stdout"}}},
}


@pytest.mark.parametrize("what", REFUSED)
def test_python_configuration_runs_no_code(what: str) -> None:
    assert refusal(json.dumps(REFUSED[what]), "log.json") == f"log configuration log.json, {what}"


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 100_000, '{"a": 1' + "0" * 5000 + "}", "null"])
def test_python_configuration_that_is_malformed_is_an_error(text: str) -> None:
    assert refusal(text, "log.json").startswith("log configuration log.json ")


VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["logging.NullHandler", "logging.StreamHandler", "ext://sys.stderr", "ext://os", "INFO", "h"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["()", ".", "class", "h", "level", "handlers", "filters", "format", "stream", "propagate"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
SECTIONS = ["version", "formatters", "filters", "handlers", "loggers", "root", "incremental"]


@given(st.dictionaries(st.sampled_from(SECTIONS), VALUES, max_size=4))
def test_python_configuration_raises_only_the_documented_error(
    tmp_path_factory: pytest.TempPathFactory, configuration: dict[str, object]
) -> None:
    path = python_config(tmp_path_factory.getbasetemp(), configuration)
    with logging_state.restored():
        try:
            configure_from(path)
        except UsageError:
            return
        say()


@given(st.text())
def test_python_configuration_text_raises_only_the_documented_error(text: str) -> None:
    for name in ("log.json", "log.toml"):
        assert refusal(text, name).startswith(f"log configuration {name} ")
