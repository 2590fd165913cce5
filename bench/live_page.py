"""What the pages cost: a list with and without ``--live``, in CPU time of the command, and 10,000 entries in a browser.

Two figures, with their limits: ``--live`` costs at most 3 %, and a page of 10,000 entries can be used after 2 s. Run it
on a machine that does nothing else.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
sys.path.insert(0, str(ROOT / "tests" / "report"))

import corpus  # noqa: E402 - of the tests, as the following
import test_page  # noqa: E402
from browser import Browser  # noqa: E402

from movescu.testing.archive import Archive  # noqa: E402

RUNS = 15
OBJECTS = 1500
ENTRIES = 10_000


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def cost(archive: Archive, listed: Path, port: int, *options: str) -> float:
    """Return the CPU seconds of one retrieve of the list."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        own = ["-q", "-S", "--list", str(listed), "-aet", "ME", "--port", str(port), "-od", folder, *options]
        command = [sys.executable, "-m", "movescu", *own, "-aec", archive.ae_title, archive.host, str(archive.port)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"movescu failed: {status}")
        return usage.ru_utime + usage.ru_stime


def live() -> tuple[float, float]:
    """Return the least CPU seconds per object of a list, without and with --live, apart from the start."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        made, few, many = Path(name) / "made", Path(name) / "few.csv", Path(name) / "many.csv"
        made.mkdir()
        large = corpus.make_study(made, instances=OBJECTS, size=20_000)
        small = corpus.make_study(made, instances=1, size=2000, seed=1)
        many.write_text(f"{large[0].study_uid}\n")
        few.write_text(f"{small[0].study_uid}\n")
        with Archive(made, {"ME": ("127.0.0.1", port)}) as archive:
            costs: dict[tuple[str, ...], list[float]] = {(): [], ("--live",): []}
            starts: dict[tuple[str, ...], list[float]] = {(): [], ("--live",): []}
            for _ in range(RUNS):
                for options, measured in costs.items():
                    measured.append(cost(archive, many, port, *options))
                    starts[options].append(cost(archive, few, port, *options))
    without, with_live = (min(costs[options]) - min(starts[options]) for options in costs)
    return without / OBJECTS, with_live / OBJECTS


def opened() -> float:
    """Return the least seconds from the request for a page of 10,000 entries until it is drawn, sorted and filtered."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        states = test_page.STATES
        url = test_page.written(
            folder, (test_page.entry(number, states[number % len(states)]) for number in range(1, ENTRIES + 1))
        )
        browser = Browser(folder / "profile")
        best = float("inf")
        for _ in range(3):
            with browser.tab("about:blank?", ready=False) as tab:
                begun = time.perf_counter()
                tab.go(url)
                tab.click("[data-column=size]")
                tab.run("document.querySelector('#rows').offsetHeight")
                best = min(best, time.perf_counter() - begun)
        browser.close()
    return best


def main() -> None:
    """Print both figures."""
    without, with_live = live()
    share = with_live / without - 1
    print(f"an object, us of CPU: {without * 1e6:.0f}; with --live {with_live * 1e6:.0f}: {share:+.1%} (3 %)")
    print(f"a page of {ENTRIES} entries, opened and sorted: {opened():.2f} s (2 s)")


if __name__ == "__main__":
    main()
