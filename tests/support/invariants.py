"""What holds after every test with a hostile peer, whatever the peer did.

``Invariants`` is a sandbox: an output directory with an object that was good before, inside a folder that nobody may
write to. ``heard`` is told of every C-STORE response that a test's own storage client got. At the end ``check`` holds
the two against each other: a success means a whole file under its final name; what was good is good; nothing stands
outside the output directory, nothing of ours is left in it, and no thread or descriptor in this process.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from typing import TYPE_CHECKING, Final

import forked
import pydicom

from movescu.dataset.file_meta import decode_file_meta
from movescu.storage.file_names import file_name

if TYPE_CHECKING:
    from pathlib import Path

    from movescu.dimse.messages import CStoreRSP

BOUND: Final = 45.0
"""Seconds that no test takes unless something hangs; the waits of peers end before."""

GOOD: Final = "CT.1.9.9"
"""The name of the object that was there before."""

_successes: list[tuple[str, str]] = []


def heard(response: CStoreRSP) -> None:
    """Note what a storage client was told."""
    if response.status == 0:
        _successes.append((response.affected_sop_class_uid or "", response.affected_sop_instance_uid or ""))


class Invariants:
    """A sandbox below ``folder``, and what has to hold of it in the end.

    ``exact``: for files that pydicom cannot judge, the data set they have to hold.
    """

    def __init__(self, folder: Path) -> None:
        self.outer = folder / "outer"
        self.received = self.outer / "received"
        self.received.mkdir(parents=True)
        (self.outer / "precious").write_bytes(b"nobody's business")
        (self.received / GOOD).write_bytes(b"good before")
        self.exact: dict[str, bytes] = {}
        self.keeps = True
        """Whether successes leave files: not so with ``--ignore``."""
        self._allowed = {"precious", "received", "made"}
        _successes.clear()
        forked.make_ready()
        self._begun = time.monotonic()
        self.begin()

    def begin(self) -> None:
        """Count the descriptors anew: what is open now is the test's own."""
        self._descriptors = descriptors()

    def check(self) -> None:
        """Raise ``AssertionError`` unless everything holds."""
        took = time.monotonic() - self._begun
        assert took < BOUND, f"{took:.0f} s: something hangs"
        self.check_files()
        self.no_temporary_file()
        assert not list(self.received.glob(".movescu-*")), "the lock of a run is left"
        assert not (alive := threads()), f"threads are left: {alive}"
        assert (now := descriptors()) == self._descriptors, f"descriptors left: {now - self._descriptors}"
        _successes.clear()

    def check_files(self) -> None:
        """Hold the files alone; also while something is under way, but for temporary files."""
        self._check_outside()
        names = {path.name for path in self.received.iterdir()}
        successes = {file_name(*uids): uids for uids in _successes} if self.keeps else {}
        assert successes.keys() <= names, f"success, and no file: {successes.keys() - names}"
        for name in names - {GOOD}:
            if not name.startswith(".movescu-"):
                self._check_whole(name, successes.get(name))
        if GOOD not in successes:
            assert (self.received / GOOD).read_bytes() == b"good before"

    def _check_outside(self) -> None:
        assert {path.name for path in self.outer.iterdir()} <= self._allowed
        assert (self.outer / "precious").read_bytes() == b"nobody's business"
        assert {path.name for path in self.outer.parent.iterdir()} == {"outer"}

    def _check_whole(self, name: str, uids: tuple[str, str] | None) -> None:
        content = (self.received / name).read_bytes()
        meta = decode_file_meta(content)
        if name in self.exact:
            assert content[meta.length if meta else 0 :] == self.exact[name], f"{name} is not what was sent"
            return
        with warnings.catch_warnings(action="ignore"):
            dataset = pydicom.dcmread(self.received / name, force=True)
            for _ in dataset.iterall():
                pass
        if uids is not None:
            assert (str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)) == uids

    def no_temporary_file(self) -> None:
        """Raise ``AssertionError`` if a temporary file is there; the lock of a run that goes on is none."""
        found = {path.name for path in self.received.glob(".movescu-*") if path.suffix != ".lock"}
        assert not found, f"temporary files are left: {found}"


def threads() -> set[threading.Thread]:
    """Give the threads of movescu and of the peers of tests that are alive; those of associations get a moment."""
    own = {thread for thread in threading.enumerate() if thread.name.startswith("movescu-")}
    for thread in own:
        thread.join(2.0)
    return {thread for thread in own if thread.is_alive()}


def descriptors() -> set[str]:
    """Give what the descriptors of this process are, as the system names them; a pipe or socket by its number."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # strings are wanted
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:  # the descriptor that lists them
            continue
    return found


def resident() -> int:
    """Give the resident size of this process in bytes, and begin to watch its peak anew."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:  # a file of the system
        file.write("5")
    return _status("VmRSS")


def peak() -> int:
    """Give the peak of the resident size since ``resident`` in bytes."""
    return _status("VmHWM")


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) << 10
