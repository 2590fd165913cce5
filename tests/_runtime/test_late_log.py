"""Late-loading loggers lose no enabled message and report the caller's location."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import sys
from movescu._runtime import late_log
log = late_log.logger_of("movescu.test")
def set_up():
    import logging
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(funcName)s %(message)s", level=LEVEL)
def somewhere():
    log.debug("one %d", 1)
    log.info("two")
    log.log(30, "three")
    log.warning("four")
"""


def run(program: str) -> list[str]:
    command = (sys.executable, "-c", BEGIN + program)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()


@pytest.mark.parametrize(("level", "first"), [(10, 0), (20, 1), (30, 2), (40, 4)])
def test_messages_from_the_level_on_are_logged_with_their_location(level: int, first: int) -> None:
    lines = ["DEBUG {} one 1", "INFO {} two", "WARNING {} three", "WARNING {} four"]
    wanted = [line.format("movescu.test somewhere") for line in lines[first:]]
    assert run(f"LEVEL = {level}; late_log.defer(LEVEL, set_up); somewhere()") == wanted


def test_disabled_messages_do_not_load_logging() -> None:
    program = (
        "LEVEL = 40; late_log.defer(LEVEL, set_up); somewhere(); print(log.isEnabledFor(30), log.isEnabledFor(40))"
    )
    assert run(f"{program}; print('logging' in sys.modules, log.getEffectiveLevel())") == ["False True", "False 40"]


def test_program_with_configured_logging_gets_the_messages_it_enabled() -> None:
    assert len(run("LEVEL = 10; set_up(); somewhere()")) == 4


def test_first_messages_of_two_threads_are_both_logged() -> None:
    program = """
import threading
LEVEL = 30
late_log.defer(LEVEL, set_up)
meet = threading.Barrier(8)
def say(number):
    meet.wait()
    late_log.logger_of(f"movescu.{number}").warning("here")
threads = [threading.Thread(target=say, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    assert sorted(run(program)) == [f"WARNING movescu.{number} say here" for number in range(8)]


def test_interrupted_set_up_is_repeated() -> None:
    program = """
LEVEL = 30
attempts = []
def interrupted_at_first():
    attempts.append(late_log.is_loading())
    if len(attempts) == 1:
        raise KeyboardInterrupt
    set_up()
late_log.defer(LEVEL, interrupted_at_first)
try:
    log.warning("lost")
except KeyboardInterrupt:
    print(late_log.is_loading())
somewhere()
print(attempts)
"""
    messages = [f"WARNING movescu.test somewhere {word}" for word in ("three", "four")]
    assert run(program) == ["False", *messages, "[True, True]"]


@pytest.mark.row("98")
@pytest.mark.parametrize("error", ["ImportError", "MemoryError", "OSError"])
def test_message_is_written_plainly_while_logging_cannot_be_loaded(error: str) -> None:
    program = f"""
LEVEL = 30
def failing_at_first():
    late_log.defer(LEVEL, set_up)
    raise {error}("no descriptors")
late_log.defer(LEVEL, failing_at_first)
import sys
sys.stderr = sys.stdout
log.warning("cannot accept from %s", "a\\nb")
"""
    assert run(program)[0] == "cannot accept from a\\nb"
