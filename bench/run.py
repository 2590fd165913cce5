"""``make bench``: measure every row of ``bench/RESULTS.md`` in interleaved runs, and write medians and their spread.

``python bench/run.py [--runs N] [--only TEXT] [--servers]`` measures the rows whose name contains TEXT; ``--servers``
adds the stock servers, of which the slowest contender takes minutes.

``python bench/run.py --size BYTES [--count N] [--associations N] [--pdu BYTES] [--undefined] [--syntax UID] [--disk]``
measures all receivers with these objects instead; ``--profile FILE`` profiles ours with them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lists
import receivers
import starts
from receivers import Cost, Receiver
from sender import Work

from movescu.dictionary.uids import TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import corpus
import peers

OURS = Receiver("ours", "ours")
TUNED = Receiver("DCMTK tuned", "dcmtk tuned")
STOCK = Receiver("DCMTK as installed", "dcmtk")
OURS_GET = Receiver("ours by C-GET", "ours by C-GET")
GETSCU = Receiver("getscu as installed", "getscu")
GETSCU_TUNED = Receiver("getscu tuned", "getscu tuned")
PYNETDICOM = Receiver("pynetdicom", "pynetdicom")
FLOOR = Receiver("floor", "floor")
CURL = Receiver("curl", "curl")
BIG_PDU = 131072


@dataclass(frozen=True)
class Row:
    """Two contenders over the same work. The ratio is their time over ours, so more is better."""

    name: str
    ours: tuple[Receiver, Work, int]
    theirs: tuple[Receiver, Work, int]
    target: float
    disk: bool = False


def _against(name: str, work: Work, other: Receiver, target: float, pdu: int = BIG_PDU, mine: Receiver = OURS) -> Row:
    return Row(f"{name}, against {other.name}", (mine, work, pdu), (other, work, pdu), target)


SMALL = Work(3000, 8192)
MIDDLE = Work(600, 524288)
LARGE = Work(6, 200 << 20)
FOUR = Work(4000, 8192, associations=4)
RECODED = Work(3000, 8192, undefined_lengths=True)
QUIET = Work(3000, 8192, pending=False)
VARIED = Work(3000, 8192, varied=True)
_IGNORE = Receiver("ours --ignore", "ours", ("--ignore",))
_TUNED_IGNORE = Receiver("DCMTK tuned --ignore", "dcmtk tuned", ("--ignore",))
_PRESERVING = Receiver("ours +B", "ours", ("+B",))
_TUNED_PRESERVING = Receiver("DCMTK tuned +B", "dcmtk tuned", ("+B",))
_LAYOUT = Receiver("ours --layout study", "ours", ("--layout", "study"))
_OFF = Receiver("ours --durable off", "ours", ("--durable", "off"))

ROWS = (
    _against("8 KB, 1 association", SMALL, TUNED, 1.6),
    _against("8 KB, 1 association", SMALL, FLOOR, 0.7),
    _against("8 KB, 1 association", SMALL, CURL, 0.5),
    _against("8 KB, without pending responses", QUIET, TUNED, 1.5),
    Row("8 KB, lengths that vary, against equal ones", (OURS, VARIED, BIG_PDU), (OURS, SMALL, BIG_PDU), 0.8),
    _against("512 KB, 128 KB PDUs", MIDDLE, TUNED, 1.2),
    _against("512 KB, 128 KB PDUs", MIDDLE, FLOOR, 0.9),
    _against("512 KB, 128 KB PDUs", MIDDLE, CURL, 0.5),
    _against("512 KB, +B", MIDDLE, _TUNED_PRESERVING, 1.1, mine=_PRESERVING),
    _against("200 MB", LARGE, TUNED, 1.8),
    _against("200 MB", LARGE, FLOOR, 1.0),
    _against("512 KB, --ignore", MIDDLE, _TUNED_IGNORE, 1.2, mine=_IGNORE),
    Row("8 KB, 4 associations, against ours with 1", (OURS, FOUR, BIG_PDU), (OURS, Work(4000, 8192), BIG_PDU), 1.0),
    _against("8 KB, 4 associations", FOUR, TUNED, 1.7),
    Row("8 KB, recoding, against ours without", (OURS, RECODED, BIG_PDU), (OURS, SMALL, BIG_PDU), 0.6),
    Row("512 KB, PDUs of 16384, against 128 KB", (OURS, MIDDLE, 16384), (OURS, MIDDLE, BIG_PDU), 0.7),
    Row("8 KB, --durable end against off", (OURS, SMALL, BIG_PDU), (_OFF, SMALL, BIG_PDU), 0.8, disk=True),
    Row("512 KB, --durable end against off", (OURS, MIDDLE, BIG_PDU), (_OFF, MIDDLE, BIG_PDU), 0.8, disk=True),
    Row(
        "512 KB, normal mode against +B",
        (OURS, MIDDLE, BIG_PDU),
        (Receiver("+B", "ours", ("+B",)), MIDDLE, BIG_PDU),
        0.87,
    ),
    Row("8 KB, --layout study against flat", (_LAYOUT, SMALL, BIG_PDU), (OURS, SMALL, BIG_PDU), 0.9),
)

SERVERS = (
    ("orthanc", Work(20, 524288), ((STOCK, 1.0), (TUNED, 1.0))),
    ("dcmqrscp", Work(20, 524288), ((STOCK, 1.0), (TUNED, 1.0))),
    ("orthanc", Work(3000, 8192), ((STOCK, 80.0), (TUNED, 30.0), (PYNETDICOM, 40.0))),
    ("orthanc", Work(600, 524288), ((STOCK, 20.0), (TUNED, 2.5), (PYNETDICOM, 8.0))),
    ("dcmqrscp", Work(3000, 8192), ((STOCK, 50.0),)),
    ("dcmqrscp", Work(600, 524288), ((STOCK, 20.0),)),
)

BY_GET = tuple(
    (kind, work, ((OURS, 0.9), (GETSCU, 1.0), (GETSCU_TUNED, 1.0)))
    for kind in ("orthanc", "dcmqrscp")
    for work in (Work(1000, 8192), Work(300, 524288))
)
"""Rows of C-GET: the archives serve it over one association, as they serve our C-MOVE."""


def measure(row: Row, runs: int) -> tuple[list[Cost], list[Cost]]:
    """Run both contenders in turn, after one run each to warm up."""
    folder = tempfile.gettempdir() if row.disk else receivers.TMPFS
    pairs = [
        tuple(receivers.run_minimal(*contender[:2], folder, contender[2]) for contender in (row.ours, row.theirs))
        for _ in range(runs + 1)
    ][1:]
    ours, theirs = zip(*pairs, strict=True)
    return list(ours), list(theirs)


def report(name: str, target: float, ours: list[Cost], theirs: list[Cost], count: int) -> str:
    """Return a row of the table, and print it."""
    ratios = [b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    cells = (
        name,
        f"{statistics.median(c.seconds for c in ours):.3f}",
        f"{statistics.median(c.seconds for c in theirs):.3f}",
        f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        f"{target:g}",
        "yes" if ratio >= target else "**no**",
        f"{statistics.median(c.processor for c in ours) / count * 1e6:.0f}",
        f"{max(c.peak for c in ours) / 1024:.0f}",
    )
    line = "| " + " | ".join(cells) + " |"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return line


@contextmanager
def server(kind: str, work: Work) -> Iterator[Callable[[Receiver], Cost]]:
    """Start a stock server with a study, and yield a function that retrieves it."""
    port = peers.free_port()
    launch = getattr(peers, kind)
    with tempfile.TemporaryDirectory(dir=receivers.TMPFS) as name, launch({"BENCH": (peers.HOST, port)}) as archive:
        made = corpus.make_study(Path(name), instances=work.count, size=work.size)
        archive.load(corpus.paths(made))
        address = (archive.host, archive.port, archive.aet)
        yield lambda receiver: receivers.run_server(
            receiver, address, port, made[0].study_uid, work.count, receivers.TMPFS
        )


def servers_by_get(only: str) -> Iterator[str]:
    """Measure C-GET from the stock servers: ours by C-MOVE as often as ours by C-GET, the other programs once."""
    for kind, work, contenders in BY_GET:
        name = f"C-GET of {work.count} of {work.size} bytes from stock {kind}"
        if only not in name:
            continue
        with server(kind, work) as retrieve:
            pairs = [(retrieve(OURS_GET), retrieve(OURS)) for _ in range(6)][1:]
            ours, by_move = ([*costs] for costs in zip(*pairs, strict=True))
            best = sorted(ours, key=lambda cost: cost.seconds)[2]
            for other, target in contenders:
                if other is OURS:
                    yield report(f"{name}, against C-MOVE", target, ours, by_move, work.count)
                else:
                    yield report(f"{name}, against {other.name}", target, [best], [retrieve(other)], work.count)


def servers(only: str) -> Iterator[str]:
    """Measure against the stock servers, each contender once, because the slowest take minutes."""
    for kind, work, contenders in SERVERS:
        name = f"{work.count} of {work.size} bytes from stock {kind}"
        if only not in name:
            continue
        with server(kind, work) as retrieve:
            ours = [retrieve(OURS) for _ in range(3)]
            best = sorted(ours, key=lambda cost: cost.seconds)[1]
            for other, target in contenders:
                yield report(f"{name}, against {other.name}", target, [best], [retrieve(other)], work.count)


_REMEMBERED = 16
"""MiB for 100,000 objects: their SOP instance UIDs are known, so that one sent twice makes up for no other."""


def limits(only: str, runs: int) -> Iterator[str]:
    """Measure the rows with a fixed limit instead of another program."""
    rows = ("CPU time for each 8 KB object", "peak memory of 100,000 objects of 8 KB", "start")
    row_of_list = "CPU time for each entry of a list, 1000 studies of 3 objects, --jobs 4 --verify --resume"
    if only in rows[0]:
        costs = [receivers.run_minimal(OURS, Work(10_000, 8192), receivers.TMPFS, BIG_PDU) for _ in range(runs)]
        used = statistics.median(cost.processor for cost in costs) / 10_000 * 1e6
        yield line(rows[0], f"{used:.0f} us", "", "", "300 us at most", reached=used <= 300)
    if only in rows[1]:
        few, many = (
            receivers.run_minimal(_PRESERVING, Work(count, 8192), receivers.TMPFS, BIG_PDU).peak / 1024
            for count in (1000, 100_000)
        )
        cells = f"{many:.1f} MiB", f"{few:.1f} MiB", f"+{many - few:.1f} MiB", "+16 MiB at most"
        yield line(rows[1], *cells, reached=many <= few + _REMEMBERED)
    if only in row_of_list:
        spent = statistics.median(lists.measure(runs))
        yield line(row_of_list, f"{spent:.1f} ms", "", "", "6 ms at most", reached=spent <= 6)
    for name, ours, bare, most in starts.measure(2 * runs + 1) if only in rows[2] else ():
        text = f"{most:g} x at most"
        seconds = f"{ours:.3f}", f"{bare:.3f}"
        yield line(name, *seconds, f"{ours / bare:.2f} x the time", text, reached=ours <= most * bare)


def line(*cells: str, reached: bool) -> str:
    """Return a row of the table with a fixed limit, and print it."""
    text = "| " + " | ".join((*cells, "yes" if reached else "**no**", "", "")) + " |"
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return text


def try_out(chosen: argparse.Namespace) -> None:
    """Measure all receivers with the objects that the command line describes."""
    syntax = TRANSFER_SYNTAXES[chosen.syntax]
    work = Work(chosen.count, chosen.size, chosen.associations, chosen.undefined, syntax)
    folder = tempfile.gettempdir() if chosen.disk else receivers.TMPFS
    if chosen.profile:
        receivers.run_minimal(receivers.profiled(chosen.profile), work, folder, chosen.pdu)
        return
    contenders = (OURS, _PRESERVING, TUNED, STOCK, PYNETDICOM, FLOOR)
    costs: dict[str, list[Cost]] = {contender.name: [] for contender in contenders}
    for _ in range(chosen.runs):
        for contender in contenders:
            costs[contender.name].append(receivers.run_minimal(contender, work, folder, chosen.pdu))
    print("| receiver | s | objects/s | CPU, us/object | peak, MiB |\n|---|---|---|---|---|")
    for name, runs in costs.items():
        seconds = statistics.median(cost.seconds for cost in runs)
        used = statistics.median(cost.processor for cost in runs) / work.count * 1e6
        peak = max(cost.peak for cost in runs) / 1024
        print(f"| {name} | {seconds:.3f} | {work.count / seconds:.0f} | {used:.0f} | {peak:.0f} |")


HEAD = (
    "| work | ours, s | theirs, s | ratio (spread) | at least | reached | CPU, us/object | peak, MiB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--servers", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "RESULTS.md")
    parser.add_argument("--size", type=int, help="bytes of an object: measure such objects instead of the table")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--associations", type=int, default=1)
    parser.add_argument("--pdu", type=int, default=BIG_PDU)
    parser.add_argument("--undefined", action="store_true", help="sequences of undefined length")
    parser.add_argument("--syntax", default="1.2.840.10008.1.2.1", help="a native transfer syntax")
    parser.add_argument("--disk", action="store_true", help="write to the disk instead of tmpfs")
    parser.add_argument("--profile", type=Path, help="write a profile of movescu to this file instead")
    chosen = parser.parse_args()
    if chosen.size:
        try_out(chosen)
        return
    sys.stdout.write(HEAD + "\n")
    lines = [
        report(row.name, row.target, *measure(row, chosen.runs), row.ours[1].count)
        for row in ROWS
        if chosen.only in row.name
    ]
    lines += limits(chosen.only, chosen.runs)
    if chosen.servers:
        lines += servers(chosen.only)
        lines += servers_by_get(chosen.only)
    if not chosen.only:
        version = subprocess.run([receivers.PYTHON, "--version"], capture_output=True, text=True, check=True).stdout
        machine = f"{os.cpu_count()} processors ({platform.machine()}), {version.strip()} ({receivers.PYTHON})"
        text = f"# Results\n\nMade by `make bench` on {machine}, {platform.system()} {platform.release()}, loopback.\n"
        chosen.output.write_text("\n".join([text, HEAD, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
