"""``python -m movescu.testing FOLDER``: the test archive as a program, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.errors import MovescuError
from movescu.testing.archive import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ENDING_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM}
_LOOK: Final = 0.5
"""Seconds between two looks for a signal where none can be awaited (Windows)."""


def main(arguments: Sequence[str]) -> int:
    """Run the archive. Return the exit code: 0 after a signal has ended it, 1 if it could not start."""
    settings = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if settings.verbose else logging.WARNING, format="%(levelname).1s: %(message)s"
    )
    wait = _prepare_end()
    archive = Archive(
        settings.folder,
        dict(settings.destination),
        ae_title=settings.ae_title,
        host=settings.address,
        port=settings.port,
        associations=settings.associations,
        received_folder=settings.received_folder,
    )
    try:
        archive.start()
    except MovescuError as error:
        sys.stderr.write(f"{error}\n{error.hint}\n")
        return 1
    sys.stdout.write(f"{archive.ae_title} with {len(archive)} objects listens on {archive.host} port {archive.port}\n")
    sys.stdout.flush()
    wait()
    archive.close()
    return 0


def _prepare_end() -> Callable[[], object]:
    """Return a function that returns after a signal. Call this before any thread starts."""
    if hasattr(signal, "sigwait"):  # blocked, so that signals wait for sigwait() and interrupt no thread
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
        return lambda: signal.sigwait(_ENDING_SIGNALS)
    arrived: list[int] = []
    for number in _ENDING_SIGNALS:
        signal.signal(number, lambda number, _: arrived.append(number))

    def look() -> None:
        while not arrived:
            clock.sleep(_LOOK)

    return look


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m movescu.testing",
        description="A small DICOM archive for tests: C-ECHO, C-FIND, C-MOVE, C-GET, C-STORE. No access control.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of the DICOM files to serve, subfolders included")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: the system chooses)")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--ae-title", default="ARCHIVE", help="AE title of the archive (default: %(default)s)")
    parser.add_argument(
        "--destination",
        type=_destination,
        action="append",
        default=[],
        metavar="AET=HOST:PORT",
        help="move destination; may be repeated",
    )
    parser.add_argument(
        "--associations",
        type=int,
        default=1,
        metavar="N",
        help="storage associations at once for each C-MOVE (default: %(default)s)",
    )
    parser.add_argument(
        "--received-folder", metavar="FOLDER", help="folder for objects received by C-STORE (default: memory)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log each step")
    return parser


def _destination(text: str) -> tuple[str, tuple[str, int]]:
    ae_title, _, address = text.partition("=")
    host, _, port = address.rpartition(":")
    if not ae_title or not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not AET=HOST:PORT")
    return ae_title, (host.strip("[]"), int(port))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
