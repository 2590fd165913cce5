"""The command under cProfile: ``python bench/profiled.py REPORT ARGUMENTS...`` writes the time of its threads.

The profiler makes Python calls several times slower, and system calls not at all: compare shares, not times.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import threading
from typing import Final

from movescu.cli.main import main

_ROWS: Final = 60
_profiles: list[cProfile.Profile] = []
_run: Final = threading.Thread.run


def _profiled(thread: threading.Thread) -> None:
    _profiles.append(cProfile.Profile())
    _profiles[-1].runcall(_run, thread)


if __name__ == "__main__":
    threading.Thread.run = _profiled  # type: ignore[method-assign] # every thread of this process
    code = main(sys.argv[2:])
    with open(sys.argv[1], "w", encoding="utf-8") as report:  # a script of twenty lines
        pstats.Stats(*_profiles, stream=report).sort_stats("tottime").print_stats(_ROWS)
    sys.exit(code)
