"""Runs in which something stands still that no deadline of a socket reaches: they end by signals and --total-timeout.

A log into a pipe that nobody reads, a FIFO in place of a file, a disk that hangs in the system itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

import peers
import pytest
import scripted
from command import Running, running
from setting import KEY, Setting
from wire import black_hole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


LIMIT = 25.0  # seconds; the program gives itself 10 to end in good order

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Objects to send, a port, and a folder."""
    return Setting(tmp_path)


@contextlib.contextmanager
def started(*arguments: object, folder: Path, stderr: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "movescu", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def full_pipe() -> tuple[int, int]:
    """Return the ends of a pipe that takes not one byte more."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"\0")
    os.set_blocking(write, True)
    return read, write


def await_sleep(process: subprocess.Popen[bytes]) -> None:
    """Wait until the program has started its last thread and takes no processor time."""
    until = time.monotonic() + scripted.PATIENCE
    before = ""
    while time.monotonic() < until:
        time.sleep(0.2)
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        if (now := " ".join(fields[11:13])) == before and fields[0] == "S" and int(fields[17]) > 1:
            return
        before = now
    raise AssertionError("the program does not stand still")


@pytest.mark.row("90")
@pytest.mark.parametrize("number", CODES)
def test_run_whose_log_nobody_reads_ends_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    read, write = full_pipe()
    with black_hole() as port, started("-v", "-k", KEY, peers.HOST, port, folder=tmp_path, stderr=write) as process:
        os.close(write)
        await_sleep(process)
        process.send_signal(number)
        assert process.wait(LIMIT) in (CODES[number], -number)  # the latter before a request may have been sent
    os.close(read)


@pytest.mark.row("90")
def test_run_whose_log_nobody_reads_ends_by_the_total_timeout(tmp_path: Path) -> None:
    read, write = full_pipe()
    options = ("-v", "--total-timeout", 1, "-k", KEY)
    with black_hole() as port, started(*options, peers.HOST, port, folder=tmp_path, stderr=write) as process:
        os.close(write)
        assert process.wait(LIMIT) == 62
    os.close(read)


FIFOS = {
    "query file": ("peer", "FIFO"),
    "list": ("--list", "FIFO", "-S", "+P", "PORT", "peer"),
    "log configuration": ("-lc", "FIFO", "-k", KEY, "peer"),
    "events": ("--events", "FIFO", "+P", "PORT", "-k", KEY, "peer"),
}
"""Command lines that open a FIFO; ``peer`` is the archive's address."""


def words(what: str, fifo: Path, port: int) -> list[object]:
    found: list[object] = []
    for word in FIFOS[what]:
        found += [peers.HOST, port] if word == "peer" else [{"FIFO": fifo, "PORT": peers.free_port()}.get(word, word)]
    return found


@pytest.mark.row("91")
@pytest.mark.parametrize("what", FIFOS)
@pytest.mark.parametrize("how", ["INT", "TERM", "total"])
def test_run_that_waits_for_the_other_end_of_a_fifo_ends(tmp_path: Path, what: str, how: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    options = ("--total-timeout", 1) if how == "total" else ()
    with black_hole() as port, started(*options, *words(what, fifo, port), folder=tmp_path) as process:
        if how == "total":
            assert process.wait(LIMIT) == 62
        else:
            await_sleep(process)
            process.send_signal(signal.SIGINT if how == "INT" else signal.SIGTERM)
            assert process.wait(LIMIT) in ((130,) if how == "INT" else (143, -signal.SIGTERM))


HANGING_DISK = """
import ctypes, os, signal, sys

def fsync(fd):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # a disk does not hear of signals
    sys.stderr.write("flushing\\n")
    ctypes.CDLL(None).sleep(600)

os.fsync = fsync
from movescu.cli import last_resort
last_resort._GRACE, last_resort._ANSWER = 2.0, 1.0  # of 10 and 5
from movescu.cli.main import run
sys.argv[1:] = sys.argv[6:]  # behind the words that start the command
run()
"""


@pytest.mark.not_without("hard-links", "signals", "windows")  # without ctypes, or a mask, no disk hangs here
@pytest.mark.row("92")
@pytest.mark.parametrize("number", [*CODES, None])
@pytest.mark.sampled(4)
def test_run_whose_disk_stands_still_ends_and_keeps_whole_files(
    setting: Setting, number: signal.Signals | None
) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        session.accept()
        session.expect_move()
        setting.send(setting.made)
        session.respond(completed=3)
        session.expect_release()
        command.await_log("flushing")
        if number is not None:
            command.signal(number)
        while number is signal.SIGINT and not command.ended(within=1.0):  # the first Ctrl-C may only cancel
            command.signal(number)

    options, code = (("--total-timeout", 2), 62) if number is None else ((), CODES[number])
    prefix = [sys.executable, "-W", "error", "-c", HANGING_DISK]
    started = Future[Running]()
    with scripted.archive(lambda session: script(session, started.result(scripted.PATIENCE))) as archive:
        arguments = ["-k", KEY, "+P", setting.port, *options, *archive.address]
        with running(*arguments, folder=setting.received, prefix=prefix) as command:
            started.set_result(command)
            assert command.end().code == code
    for file in setting.received.glob(".movescu-*"):  # of the index or of the flush: the next run removes them
        file.unlink()
    setting.assert_arrived(setting.made)


@pytest.mark.parametrize("milliseconds", range(0, 400, 40))
@pytest.mark.sampled(3)
def test_interrupt_at_any_moment_of_the_start_shows_no_traceback(tmp_path: Path, milliseconds: int) -> None:
    """From the first line of this program on; Python's own start is its own."""
    arguments = (sys.executable, "-X", "importtime", "-m", "movescu", "-k", KEY, peers.HOST, "1")
    process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "movescu.cli.streams" in line:
            break
    time.sleep(milliseconds / 1000 / 4)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=LIMIT)
    assert "Traceback" not in log
    assert "ignored" not in log
    assert process.returncode in (130, 61, -signal.SIGINT)  # Python's own end is its own, too
