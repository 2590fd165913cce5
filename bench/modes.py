"""The normal mode against bit preserving mode, for canonical CT objects: what walking the data set costs.

Interleaved runs onto tmpfs; prints medians and the ratio. ``python bench/modes.py [COUNT [SIZE [RUNS]]]``
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile

import sender


def run(work: sender.Work, *options: str) -> tuple[float, float]:
    """Retrieve once; gives the seconds that the storing took, and those of the receiver's processor."""
    with sender.socket.socket() as reserved, tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        reserved.setsockopt(sender.socket.SOL_SOCKET, sender.socket.SO_REUSEADDR, 1)
        reserved.bind((sender.HOST, 0))
        port = reserved.getsockname()[1]
        archive = sender.Archive(work, port)
        command = [sys.executable, "-m", "movescu", "-pdu", "131072", "+P", str(port), "-od", folder, *options]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, "-k", "0008,0052=STUDY", sender.HOST, str(archive.port)], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return archive.finish(), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the figures."""
    count, size, runs = [*map(int, sys.argv[1:]), *(400, 524288, 7)[len(sys.argv) - 1 :]]
    work = sender.Work(count, size)
    pairs = [(run(work), run(work, "+B")) for _ in range(runs)]
    for what, index in (("elapsed", 0), ("processor", 1)):
        normal, preserving = (statistics.median(times[index] for times in runs) for runs in zip(*pairs, strict=True))
        ratio = statistics.median(a[index] / b[index] for a, b in pairs)
        print(f"{count} of {size} bytes, {what}: normal {normal:.3f} s, +B {preserving:.3f} s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
