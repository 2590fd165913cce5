"""The seam of time and threads: whoever needs the time, waits or starts a thread uses this module's attributes.

A simulation replaces the attributes (``tests/simulated``), so they are used as ``clock.now()``: a name that a module
took from here would be the real one. A retrieve can then last days of simulated time, in an order of threads that a
seed determines. ``transport.network`` and ``storage.files`` are the seams of sockets and of folders.
"""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue import SimpleQueue
    from typing import Any

now = time.monotonic
"""Seconds on the monotonic clock, for durations and deadlines."""
wall = time.time
"""Seconds since the epoch, for dates."""
sleep = time.sleep

Thread = threading.Thread
current_thread = threading.current_thread
Lock = threading.Lock
RLock = threading.RLock
Condition = threading.Condition
Event = threading.Event


def queue() -> SimpleQueue[Any]:
    """Return a new queue between threads."""
    from queue import SimpleQueue  # late: needed with a thread alone

    return SimpleQueue()
