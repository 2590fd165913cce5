"""The process that holds entries of a journal, and whether it has ended.

On one machine a process is known by its ID and the time at which it started, in ticks since the boot, so that an ID
that was given away again is not taken for it. A process in another PID namespace (a container), or on another machine,
cannot be seen from here: its lease expires. Machines may have one host name; so where a journal can be shared between
machines, a process of another boot is unknown, too.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import Final, NamedTuple

from movescu.storage import files

_ZOMBIES: Final = ("Z", "X")
_STARTED: Final = 19  # place of the start time among the fields of /proc/PID/stat that follow the name


class Owner(NamedTuple):
    """A process; ``born``: boot ID, PID namespace and start time, empty where the system does not tell them."""

    host: str
    pid: int
    born: str

    @property
    def text(self) -> str:
        """Host and process ID, for messages."""
        return f"process {self.pid} on {self.host}"


def this_process() -> Owner:
    """Return the current process."""
    return Owner(platform.node(), os.getpid(), _birth(os.getpid()))


def has_ended(owner: Owner, *, anywhere: bool = False) -> bool:
    """Return True if a process is known to have ended; False if it runs or its state is unknown.

    ``anywhere``: it may have run on another machine of our host name. Default: False.
    """
    here = this_process()
    if owner.host != here.host:
        return False
    if not (owner.born and here.born):
        return not anywhere and _is_missing(owner.pid)
    if owner.born.count("/") != here.born.count("/"):  # not written by us
        return False
    (boot, namespace, _), (own_boot, own_namespace, _) = owner.born.split("/"), here.born.split("/")
    if boot != own_boot:
        return not anywhere
    return namespace == own_namespace and _birth(owner.pid) != owner.born


def _birth(pid: int) -> str:
    """Return ``Owner.born`` of a process, empty if it has ended or the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, *fields = file.read().rpartition(") ")[2].split()
        if state in _ZOMBIES:
            return ""
        return f"{files.boot_id()}/{os.readlink('/proc/self/ns/pid')}/{fields[_STARTED - 1]}"
    except (OSError, ValueError, IndexError):
        return ""


def _is_missing(pid: int) -> bool:
    if sys.platform == "win32":  # where this call would end the process
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it belongs to another user
        return False
    return False
