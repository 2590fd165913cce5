"""``python -m movescu.testing FOLDER``: the test archive as a program, until SIGINT or SIGTERM.

With ``--demo`` instead of a folder, it serves the objects that the pages of the documentation name, under the address
that they use, and knows the move destinations that they name.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
from shlex import quote
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.errors import MovescuError
from movescu.testing.archive import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ENDING_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM}
_LOOK: Final = 0.5
"""Seconds between two looks for a signal where none can be awaited (Windows)."""
DEMO_PORT: Final = 4242
DEMO_DESTINATION: Final = "ME"
DEMO_WORKERS: Final = {f"WORKER{n}": 11112 + n for n in range(1, 5)}
"""Destinations of docs/cluster.md, with their ports."""
THIRD_PARTY: Final = "WORKSTATION"
"""AE title of the second archive of the demonstration."""


def main(arguments: Sequence[str]) -> int:
    """Run the archive. Return the exit code: 0 after a signal has ended it, 1 if it could not start."""
    parser = _parser()
    settings = parser.parse_args(arguments)
    if settings.demo == (settings.folder is not None):
        parser.error("give either a FOLDER or --demo")
    logging.basicConfig(
        level=logging.INFO if settings.verbose else logging.WARNING, format="%(levelname).1s: %(message)s"
    )
    wait = _prepare_end()
    with contextlib.ExitStack() as stack:
        try:
            archive = _demo(settings, stack) if settings.demo else _archive(settings, settings.folder)
            stack.enter_context(archive)
        except MovescuError as error:
            sys.stderr.write(f"{error}\n{error.hint}\n")
            return 1
        place = f"{archive.host} port {archive.port}"
        sys.stdout.write(f"{archive.ae_title} with {len(archive)} objects listens on {place}\n")
        if not len(archive):
            sys.stderr.write(f"W: {settings.folder} has no DICOM files: queries and retrieves will find nothing\n")
        if settings.demo:
            sys.stdout.write(_demo_text(archive))
        sys.stdout.flush()
        wait()
    return 0


def _archive(settings: argparse.Namespace, folder: str) -> Archive:
    return Archive(
        folder,
        dict(settings.destination),
        ae_title=settings.ae_title,
        host=settings.address,
        port=settings.port or 0,
        associations=settings.associations,
        received_folder=settings.received_folder,
    )


def _demo(settings: argparse.Namespace, stack: contextlib.ExitStack) -> Archive:
    """Return the archive of the demonstration; the second one, to which it can send objects, runs already."""
    from movescu.testing.demo_objects import folder_of_objects  # imports pydicom

    folder = stack.enter_context(folder_of_objects())
    third_party = stack.enter_context(Archive(ae_title=THIRD_PARTY))
    here = "::1" if ":" in settings.address else "127.0.0.1"  # movescu listens on the IP version of its archive
    known = {DEMO_DESTINATION: 11112} | DEMO_WORKERS
    places = [(title, (here, port)) for title, port in known.items()]
    third = (THIRD_PARTY, (third_party.host, third_party.port))
    settings.destination = [*places, third, *settings.destination]  # the last one of a title counts
    settings.port = DEMO_PORT if settings.port is None else settings.port
    return _archive(settings, folder)


def _demo_text(archive: Archive) -> str:
    own = archive.destinations[DEMO_DESTINATION][1]
    where = quote(f"{archive.ae_title}@{_host(archive.host)}:{archive.port}")
    shown = [one for one in archive.destinations.items() if one[0] not in DEMO_WORKERS]
    known = ", ".join(f"{title} at {host} port {port}" for title, (host, port) in shown)
    return (
        f"It knows {known}, and WORKER1 to WORKER4 at ports 11113 to 11116. Try in another terminal:\n"
        f"    movescu --query --all -aet ME {where}\n"
        f"    movescu -S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.3 -aet ME --port {own} {where}\n"
        "Press Ctrl-C to stop.\n"
    )


def _host(address: str) -> str:
    """Return the host for a command line on this machine; zsh would expand brackets that are not quoted."""
    if ":" in address:
        return f"[{'::1' if address == '::' else address}]"
    return "localhost" if address in {"", "0.0.0.0", "127.0.0.1"} else address  # noqa: S104 - it is all addresses


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
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", help="folder of the DICOM files to serve, subfolders included"
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help=f"serve the objects that the documentation names, on port {DEMO_PORT}; the archive knows ME at port 11112 "
        "of this machine",
    )
    parser.add_argument("--port", type=int, help="port to listen on (default: the system chooses)")
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
