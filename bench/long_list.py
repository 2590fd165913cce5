"""``make soak``: one list of 10,000 entries, whose last entries cost what the first ones do.

``python bench/long_list.py [--entries N] [--jobs N] [--traced N]`` retrieves a list, one small object for each entry,
with ``--verify --resume`` from the archive of ``movescu.testing``, in a process of its own. It reads processor time and
resident memory of ours from ``/proc`` as entries end; then a list of ``--traced`` entries is retrieved under strace,
which counts the flushes. The exit code is 1 if an entry of the last tenth costs more than ``RATIO`` times one of the
first, if memory grows by more than ``GROWTH`` for 10,000 entries, or if there are more than ``FLUSHES`` flushes an
entry. Samples begin when the first entry has ended.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import corpus
import peers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RATIO = 1.3
GROWTH = 20 << 20
"""Bytes for 10,000 entries."""
FLUSHES = 0.5

_TICK = os.sysconf("SC_CLK_TCK")
_SIZE = 512


def processor_time(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident(pid: int, field: str = "VmRSS") -> int:
    """Return the resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) << 10


@contextmanager
def archive(folder: Path, port: int) -> Iterator[tuple[str, str]]:
    """Run the archive, and give its title and port."""
    command = [sys.executable, "-m", "movescu.testing", folder, "--destination", f"MOVESCU=127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline().split() if process.stdout else []
        try:
            yield line[0], line[-1]
        finally:
            process.terminate()


def command_of(rows: Path, place: tuple[str, str], port: int, jobs: int, received: Path) -> list[str]:
    """Return our command for a list."""
    title, archives_port = place
    received.mkdir()
    options = ["--list", str(rows), "--jobs", str(jobs), "--verify", "--resume", "--events", "-", "--no-progress"]
    return [
        *(sys.executable, "-m", "movescu", "-S", "-aec", title, "+P", str(port), "-od", str(received), *options),
        *("127.0.0.1", archives_port),
    ]


def measured(command: Sequence[str], number: int) -> list[tuple[float, int]]:
    """Run our command, and return processor time and memory after each tenth of the entries, and at the start."""
    samples: list[tuple[float, int]] = []
    done = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if '"entry"' not in line or json.loads(line).get("state") in ("running", "postponed"):
                continue
            if not samples:
                samples.append((processor_time(process.pid), resident(process.pid)))
            done += 1
            if done % (number // 10) == 0:
                samples.append((processor_time(process.pid), resident(process.pid)))
    if process.returncode or len(samples) != 11:
        raise SystemExit(f"exit code {process.returncode} after {done} entries")
    return samples


def flushes(command: Sequence[str], folder: Path) -> int:
    """Run our command under strace, and return the number of its flushes."""
    calls = "fsync,fdatasync,syncfs,sync_file_range,msync"
    counts = folder / "counts"
    traced = ["strace", "-f", "-qq", "-c", "-e", f"trace={calls}", "-o", str(counts), *command]
    subprocess.run(traced, check=True, stdout=subprocess.DEVNULL)
    rows = (line.split() for line in counts.read_text(encoding="ascii").splitlines())
    found = {row[-1]: int(row[3]) for row in rows if len(row) > 4 and re.fullmatch("[a-z_]*sync[a-z_]*", row[-1])}
    print("flushes: " + ", ".join(f"{count} {name}" for name, count in found.items()))
    return sum(found.values())


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--traced", type=int, default=500)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="long-list.") as name:
        folder = Path(name)
        (folder / "made").mkdir()
        made = corpus.make_study(folder / "made", studies=settings.entries, size=_SIZE)
        rows, few = folder / "rows.csv", folder / "few.csv"
        lines = [f"{one.study_uid}\n" for one in made]
        rows.write_text("".join(["StudyInstanceUID\n", *lines]), encoding="ascii")
        few.write_text("".join(["StudyInstanceUID\n", *lines[: settings.traced]]), encoding="ascii")
        port = peers.free_port()
        with archive(folder / "made", port) as place:
            samples = measured(command_of(rows, place, port, settings.jobs, folder / "received"), settings.entries)
            number = flushes(command_of(few, place, port, settings.jobs, folder / "traced"), folder)
    tenths = [(after[0] - before[0]) * 1e4 / settings.entries for before, after in itertools.pairwise(samples)]
    for tenth, (cost, sample) in enumerate(zip(tenths, samples[1:], strict=True), 1):
        print(f"tenth {tenth:2}: {cost:6.2f} ms of processor time an entry, {sample[1] / 2**20:6.1f} MiB")
    ratio, growth = tenths[-1] / tenths[0], (samples[-1][1] - samples[1][1]) * 10_000 / settings.entries
    print(f"last tenth to the first: {ratio:.2f} (at most {RATIO})")
    print(f"growth from the first tenth, for 10,000 entries: {growth / 2**20:.1f} MiB (at most {GROWTH >> 20})")
    print(f"flushes an entry: {number / settings.traced:.2f} (at most {FLUSHES:g})")
    return int(ratio > RATIO or growth > GROWTH or number > FLUSHES * settings.traced)


if __name__ == "__main__":
    sys.exit(main())
