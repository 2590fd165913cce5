"""Signals that the main thread does not see at once: each is answered, so that associations end by an A-ABORT."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

WAITING = """
import os, signal, time
from movescu.cli.last_resort import LastResort
from movescu.cli.signals import Signals

class Retrieval:
    cancelled, moving = False, True

    def cancel(self):
        self.cancelled = True  # print() is not reentrant: the signal may come while the last one ends
        os.write(1, b"cancelled\\n")

with LastResort(0), Signals() as signals:
    signals.retrieval = Retrieval()
    # The system gives them to another thread: no call of this one is interrupted, as by one that comes just before it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        os.write(1, b"waiting\\n")
        while True:
            time.sleep(600)
    except (KeyboardInterrupt, SystemExit):
        os.write(1, b"ending\\n")
"""


@pytest.mark.not_without("signals", "windows")  # without a mask, no thread can be chosen
@pytest.mark.parametrize("last", [signal.SIGINT, signal.SIGTERM])
def test_each_signal_is_answered_though_it_interrupts_no_call(last: signal.Signals) -> None:
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cancelled\n"
        time.sleep(0.2)  # the handler returns, and the main thread sleeps again
        process.send_signal(last)
        assert process.stdout.readline() == "ending\n"
    assert process.returncode == 0
