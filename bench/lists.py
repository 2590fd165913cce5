"""The cost of a list of small studies: processor time of ours for each entry.

Every study has three objects of 2 KB. The list is retrieved with ``--jobs 4 --verify --resume`` from the archive of
``movescu.testing``, in a process of its own, which uses as much processor time as ours: time elapsed says little.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import receivers

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import corpus
import peers

OBJECTS = 3
SIZE = 2048
OPTIONS = ("--jobs", "4", "--verify", "--resume", "--no-progress")


def measure(runs: int, entries: int = 1000) -> list[float]:
    """Return the milliseconds of processor time for each entry, the start of the program included, in each run."""
    ours = receivers.Receiver("ours", "ours")
    with tempfile.TemporaryDirectory(prefix="bench-lists.", dir=receivers.TMPFS) as name:
        folder, port = Path(name), peers.free_port()
        (folder / "made").mkdir()
        made = corpus.make_study(folder / "made", studies=entries, series=1, instances=OBJECTS, size=SIZE)
        rows = folder / "rows.csv"
        rows.write_text("\n".join(["StudyInstanceUID", *dict.fromkeys(one.study_uid for one in made)]) + "\n")
        command = [receivers.PYTHON, "-m", "movescu.testing", str(folder / "made")]
        command += ["--destination", f"MOVESCU=127.0.0.1:{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ours.environment) as archive:
            title, *_, archives_port = archive.stdout.readline().split() if archive.stdout else []
            try:
                costs = []
                for run in range(runs):
                    received = folder / str(run)
                    received.mkdir()
                    options = ["-S", "-aec", title, "+P", str(port), "-od", str(received), "--list", str(rows)]
                    costs.append(_retrieve([*options, *OPTIONS, "127.0.0.1", archives_port], ours.environment))
                return [cost * 1e3 / entries for cost in costs]
            finally:
                archive.terminate()


def _retrieve(options: list[str], environment: dict[str, str]) -> float:
    """Run our command, and return its processor time in seconds."""
    pid = subprocess.Popen([receivers.PYTHON, "-m", "movescu", *options], env=environment).pid
    _, status, used = os.wait4(pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"the list ended with exit code {code}")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(" ".join(f"{cost:.2f} ms" for cost in measure(3, *map(int, sys.argv[1:]))))
