"""What workers in other processes cost: a study by ``--cluster local:2`` and by ``--jobs 2``, and the driver's memory.

``python bench/cluster.py [--pairs N] [--few N] [--many N] [--entries N] [--jobs N]`` retrieves lists of studies of one
small object each from the archive of ``movescu.testing``. The cost of a study is the difference of the long and the
short list by the difference of their numbers, so the start and the end of the workers are not in it; the median of
several pairs counts. The memory is that of the driver after ``--entries`` entries, without what the engine takes alone.
The exit code is 1 if a study takes more than ``MOST`` ms longer than by one process, or the driver more than
``MEMORY``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import corpus
import peers

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 15.0
"""Milliseconds."""
MEMORY = 100 << 20
TITLES = ("WORKER1", "WORKER2")
_SIZE = 512
_ENGINE = """
import sys
from movescu.cohort.cluster.address import ClusterAddress
from movescu.cohort.cluster.engine import Engine
if __name__ == "__main__":
    engine = Engine(ClusterAddress(local=2), ("WORKER1", "WORKER2"))
    print(open("/proc/self/status").read())
    engine.close()
"""


class Cost(NamedTuple):
    """Seconds of a run. ``driver``, ``workers``: of processor time."""

    wall: float
    driver: float
    workers: float


@contextmanager
def archive(folder: Path, ports: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Run the archive, and give its title and port."""
    known = [word for title, port in ports.items() for word in ("--destination", f"{title}=127.0.0.1:{port}")]
    command = [sys.executable, "-m", "movescu.testing", folder, *known]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline().split() if process.stdout else []
        try:
            yield line[0], line[-1]
        finally:
            process.terminate()


class Bench:
    """A folder with lists, and an archive. ``jobs``: entries at once."""

    def __init__(self, folder: Path, place: tuple[str, str], ports: dict[str, int], jobs: int) -> None:
        self._folder, self._place, self._jobs = folder, place, jobs
        pool = folder / "pool"
        pool.write_text("".join(f"{title} 127.0.0.1 {ports[title]}\n" for title in TITLES), encoding="ascii")
        self._ways = {
            "jobs": ("+P", str(ports["MOVESCU"])),
            "cluster": ("--cluster", "local:2", "--ae-pool", str(pool)),
        }

    def run(self, way: str, rows: Path) -> tuple[Cost, int]:
        """Retrieve a list; return its cost, and the most memory that the command had."""
        title, port = self._place
        with tempfile.TemporaryDirectory(dir=self._folder) as received:
            command = [
                *(sys.executable, "-m", "movescu", "-q", "-S", "-aec", title, "-od", received, "--list", str(rows)),
                *("--jobs", str(self._jobs), "--no-progress", *self._ways[way], "127.0.0.1", port),
            ]
            begun, before = time.perf_counter(), os.times()
            process = subprocess.Popen(command)
            most = 0
            status = Path(f"/proc/{process.pid}/status")
            driver = 0.0
            while process.poll() is None:
                text = status.read_text(encoding="ascii") if status.exists() else ""
                if "VmHWM:" in text:
                    most = int(text.partition("VmHWM:")[2].split()[0]) << 10
                    driver = processor_time(process.pid) or driver
                time.sleep(0.02)
            if process.returncode:
                raise SystemExit(f"exit code {process.returncode}")
            after = os.times()
            total = after.children_user + after.children_system - before.children_user - before.children_system
            return Cost(time.perf_counter() - begun, driver, total - driver), most


def processor_time(pid: int) -> float:
    """Return the processor time of a process in seconds, 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def engine_memory(folder: Path) -> int:
    """Return the most memory of a process that starts two workers and does nothing."""
    script = folder / "engine.py"
    script.write_text(_ENGINE, encoding="ascii")
    text = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True).stdout
    return int(text.partition("VmHWM:")[2].split()[0]) << 10


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=500)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cluster.") as name:
        folder = Path(name)
        (folder / "made").mkdir()
        made = corpus.make_study(folder / "made", studies=max(settings.many, settings.entries), size=_SIZE)
        lists = {number: folder / f"{number}.csv" for number in (settings.few, settings.many, settings.entries)}
        for number, path in lists.items():
            lines = [f"{one.study_uid}\n" for one in made[:number]]
            path.write_text("".join(["StudyInstanceUID\n", *lines]), encoding="ascii")
        ports = {title: peers.free_port() for title in ("MOVESCU", *TITLES)}
        with archive(folder / "made", ports) as place:
            bench = Bench(folder, place, ports, settings.jobs)
            costs: dict[str, list[Cost]] = {"jobs": [], "cluster": []}
            for _ in range(settings.pairs):
                for way, found in costs.items():
                    (few, _), (many, _) = (bench.run(way, lists[one]) for one in (settings.few, settings.many))
                    number = (settings.many - settings.few) / 1000
                    found.append(Cost(*((more - less) / number for less, more in zip(few, many, strict=True))))
            beyond = {}
            for field in Cost._fields:
                own, others = ([getattr(one, field) for one in costs[way]] for way in ("jobs", "cluster"))
                beyond[field] = statistics.median(more - less for less, more in zip(own, others, strict=True))
                print(
                    f"{field}, ms a study: {statistics.median(own):.1f} by --jobs, {statistics.median(others):.1f} by "
                    f"--cluster, {beyond[field]:+.1f}"
                )
            over = beyond["wall"] > MOST
            if settings.entries:
                _, most = bench.run("cluster", lists[settings.entries])
                alone = engine_memory(folder)
                whole, engine, own = (one / 2**20 for one in (most, alone, most - alone))
                print(
                    f"driver after {settings.entries} entries: {whole:.0f} MiB, {engine:.0f} of the engine alone: "
                    f"{own:.0f} (at most {MEMORY >> 20})"
                )
                over = over or most - alone > MEMORY
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
