"""``make soak``: one retrieve that receives 10,000 bad associations and 100,000 good objects without growing.

``python bench/soak.py [--bad N] [--good N] [--rounds N]`` reads resident memory, threads and descriptors of the process
from ``/proc`` after each round, when all connections have ended. The exit code is 1 if threads or descriptors grow at
all from the first round to the last, if resident memory grows by more than ``GROWTH``, or if an object is missing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import bad_peers
import sender
from receivers import TMPFS, free_port

from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CMoveRSP
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import Transport
from movescu.ul.association import Association
from movescu.ul.negotiation import AcceptorPolicy, answer

GROWTH = 4 << 20
"""Bytes. Largest growth of the median of resident memory from the first third of the rounds to the last."""

_WAIT = 600.0
_HALF_OPEN = 0.1  # share of the bad associations that only connect: ARTIM ends all of them at once
_WORKERS = 8
_EXIT_CODE = 63  # the bad associations send objects that cannot be stored
_SIZE = 8192


@dataclass(frozen=True)
class Sample:
    """The process at the end of a round."""

    resident: int
    threads: int
    descriptors: int
    peak: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        """Read a sample from ``/proc``."""
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        kibibytes = {name: int(fields[name].split()[0]) for name in ("VmRSS", "VmHWM")}
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return cls(kibibytes["VmRSS"] << 10, int(fields["Threads"]), descriptors, kibibytes["VmHWM"] << 10)


class Archive:
    """An SCP that receives the C-MOVE request, and answers it when ``finish`` is called."""

    def __init__(self) -> None:
        self._socket = sender.socket.create_server((sender.HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self._over = threading.Event()
        self.moving = threading.Event()
        self.completed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sock, _ = self._socket.accept()
        self._socket.close()
        connection, deadline = Connection(Transport(sock, "receiver"), Association()), Deadline(_WAIT, "the receiver")
        request = connection.receive_request(_WAIT)
        connection.accept(request, answer(request, AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE,))), deadline)
        exchange = Exchange(connection)
        context_id, message = exchange.receive(deadline) or (0, None)
        for _ in exchange.data_set(deadline):
            pass
        self.moving.set()
        self._over.wait()
        response = CMoveRSP(message.message_id, 0, remaining=0, completed=self.completed, failed=0, warning=0)
        exchange.send(context_id, response, deadline)
        exchange.receive(deadline)
        connection.confirm_release(deadline)

    def finish(self, completed: int) -> None:
        """Send the final response."""
        self.completed = min(completed, 0xFFFF)  # more cannot be said (PS3.7 9.3.4.2: VR US)
        self._over.set()
        self._thread.join(_WAIT)


def bad(port: int, count: int) -> None:
    """Run this number of bad peers."""
    waiting = [bad_peers.half_open(port) for _ in range(min(int(count * _HALF_OPEN), 250))]
    kinds = itertools.islice(itertools.cycle(bad_peers.KINDS), count - len(waiting))
    with ThreadPoolExecutor(_WORKERS) as pool:
        for future in [pool.submit(kind, port) for kind in kinds]:
            future.result()
    for sock in waiting:
        bad_peers.until_answered(sock)


def good(port: int, first: int, count: int, folder: Path) -> int:
    """Send objects over two associations at once. Return the number of arrived ones, after removing them."""
    halves = [(first, count // 2), (first + count // 2, count - count // 2)]
    work = sender.Work(count, _SIZE)
    with ThreadPoolExecutor(len(halves)) as pool:
        for future in [pool.submit(sender._send, port, work, *half) for half in halves]:  # noqa: SLF001 - its sender
            future.result()
    arrived = [path for path in folder.iterdir() if path.name.startswith("CT.")]
    for path in arrived:
        if path.stat().st_size < _SIZE - 100:
            raise SystemExit(f"{path} is incomplete")
        path.unlink()
    return len(arrived)


def settled(pid: int) -> Sample:
    """Wait until threads and descriptors no longer decrease. Return the last sample."""
    sample = Sample.of(pid)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        time.sleep(0.3)
        previous, sample = sample, Sample.of(pid)
        if (previous.threads, previous.descriptors) <= (sample.threads, sample.descriptors):
            break
    return sample


def soak(chosen: argparse.Namespace, folder: Path) -> tuple[list[Sample], int, int]:
    """Run the retrieve. Return a sample for each round, the number of missing objects, and the exit code."""
    archive, port = Archive(), free_port()
    options = ["-q", "-ta", "2", "-od", str(folder), "-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.3"]
    command = [sys.executable, "-m", "movescu", "+P", str(port), *options, sender.HOST, str(archive.port)]
    samples, missing = [], 0
    with subprocess.Popen(command) as process:
        archive.moving.wait(_WAIT)
        share = chosen.good // chosen.rounds
        for number in range(chosen.rounds):
            bad(port, chosen.bad // chosen.rounds)
            missing += share - good(port, number * share, share, folder)
            samples.append(settled(process.pid))
            sys.stdout.write(row(number, samples[-1]))
            sys.stdout.flush()
        archive.finish(share * chosen.rounds)
        code = process.wait(_WAIT)
    return samples, missing, code


def row(number: int, sample: Sample) -> str:
    """Return a row of the table."""
    sizes = f"{sample.resident / 2**20:.1f} | {sample.peak / 2**20:.1f}"
    return f"| {number + 1} | {sizes} | {sample.threads} | {sample.descriptors} |\n"


def complaints(samples: list[Sample], missing: int, code: int, left: list[str]) -> list[str]:
    """Return the statements that do not hold."""
    first, last = samples[0], samples[-1]
    found = [f"{name} grew" for name in ("threads", "descriptors") if getattr(last, name) > getattr(first, name)]
    third = max(len(samples) // 3, 1)
    early, late = (statistics.median(s.resident for s in part) for part in (samples[:third], samples[-third:]))
    if late - early > GROWTH:
        found.append("resident memory grew")
    if missing:
        found.append(f"{missing} objects are missing")
    if code != _EXIT_CODE:
        found.append(f"exit code {code} instead of {_EXIT_CODE}")
    if left:
        found.append(f"left in the folder: {left[:5]}")
    return found


def main() -> None:
    """Run the retrieve, and exit with the statements that do not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bad", type=int, default=10_000)
    parser.add_argument("--good", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=10)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=TMPFS))
    try:
        start = time.monotonic()
        sys.stdout.write("| round | resident, MiB | peak, MiB | threads | descriptors |\n|---|---|---|---|---|\n")
        samples, missing, code = soak(chosen, folder)
        found = complaints(samples, missing, code, [path.name for path in folder.iterdir()])
    finally:
        shutil.rmtree(folder)
    sys.stdout.write(f"{chosen.bad} bad, {chosen.good} good, {time.monotonic() - start:.0f} s\n")
    sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
