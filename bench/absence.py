"""An archive that is away for five minutes at the first, a middle and the last entry of a list: exit code 0, all files.

``python bench/absence.py [--seconds N]``, a part of ``make soak``, runs the three lists side by side. The exit code is
1 unless each ends with code 0, without help, and with every object.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import corpus  # noqa: E402 - of the tests, which are no package
from receivers import free_port  # noqa: E402 - behind the path

from movescu.testing import Archive, Faults  # noqa: E402 - as above

STUDIES = 12


def absent(folder: Path, after: int, seconds: float) -> str:
    """Run a list whose archive goes away after some objects; return what is wrong, empty if nothing is."""
    files, received, rows = folder / "archive", folder / "received", folder / "rows.csv"
    files.mkdir(parents=True)
    received.mkdir()
    made = corpus.make_study(files, studies=STUDIES, size=2000)
    rows.write_text("StudyInstanceUID\n" + "".join(f"{one.study_uid}\n" for one in made))
    port = free_port()
    archive = Archive(files, {"MOVESCU": ("127.0.0.1", port)}, faults=Faults(pause=0.2))
    archive.start()
    own = ["-S", "--list", rows, "--jobs", 2, "--port", port, "-od", received, archive.host, archive.port]
    with (folder / "log").open("w") as log:
        command = subprocess.Popen([sys.executable, "-m", "movescu", *map(str, own)], stderr=log)
        while len(list(received.glob("CT.*"))) < after and command.poll() is None:
            time.sleep(0.02)
        archive.close()
        time.sleep(seconds)
        archive.start()
        code = command.wait(seconds + 600)
    archive.close()
    stored = len(list(received.glob("CT.*")))
    told = (folder / "log").read_text()
    return "" if (code, stored) == (0, STUDIES) else f"after {after} objects: code {code}, {stored} stored\n{told}"


def main() -> int:
    """Run the lists and print what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(3) as pool:
        places = (1, STUDIES // 2, STUDIES - 1)
        wrong = [*pool.map(lambda after: absent(Path(folder) / str(after), after, seconds), places)]
    print("\n".join(filter(None, wrong)) or f"away for {seconds:g} s at first, middle and last entry: all stored")
    return int(any(wrong))


if __name__ == "__main__":
    sys.exit(main())
