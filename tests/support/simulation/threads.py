"""Simulated time and threads: one runs at a time, a seed chooses which, and time passes only while all wait.

The threads are real ones that hand a baton to each other. A thread gives it away where it waits, and now and then where
it calls a seam; so a schedule is the same whenever the seed is. When no thread can go on, the clock jumps to the first
deadline among their waits; without one, the program has deadlocked.
"""

from __future__ import annotations

import random
import threading
import traceback
from collections import deque
from queue import Empty
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HUNG = 200_000
"""Times that one world hands the baton on, or moves the clock, before it counts as hung."""
EPOCH = 1_800_000_000.0


class CrashError(BaseException):
    """The machine has lost its power, or the process was killed: nothing goes on."""


class DeadlockError(BaseException):
    """No thread can go on, and none waits for a point in time."""


class Task:
    """A thread of the world."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.baton = threading.Lock()
        self.baton.acquire()
        self.ready: Callable[[], bool] | None = None
        self.until: float | None = None
        self.done = False


class Scheduler:
    """Hands the baton from task to task. ``switching``: how often a call of a seam is a point to do so."""

    def __init__(self, seed: int, switching: float = 0.1) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.switching = switching
        self.trace = 0
        """A digest of the choices so far: two runs of one seed have the same."""
        self.failures: list[str] = []
        """Tracebacks of exceptions that ended a thread."""
        self.crashed = False
        self.paused = False
        """No switches: whoever has the baton is looking at the world from outside."""
        self._steps = 0
        self._deadlocked = False
        self._main = self._current = Task("main")
        self._tasks = [self._main]

    @property
    def current(self) -> Task:
        return self._current

    def living(self) -> list[str]:
        """The names of the threads that have not ended."""
        return [task.name for task in self._tasks if not task.done and task is not self._main]

    # -- waits -------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Let another thread go on, now and then."""
        if self.crashed:
            raise CrashError
        if self.switching and self.random.random() < self.switching and not self.paused:
            self._switch()

    def wait(self, ready: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until ``ready`` returns true, which is returned; at most ``seconds``."""
        task = self._current
        until = None if seconds is None else self.now + max(seconds, 0.0)
        while True:
            if self.crashed:
                raise CrashError
            if ready():
                return True
            if until is not None and self.now >= until:
                return False
            task.ready, task.until = ready, until
            try:
                self._switch()
            finally:
                task.ready = task.until = None

    def elsewhere(self, times: int) -> None:
        """Hand the baton on a number of times."""
        for _ in range(times):
            self._switch()

    def sleep(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def _able(self) -> list[Task]:
        now = self.now
        return [
            task
            for task in self._tasks
            if not task.done
            and (task.ready is None or self.crashed or (task.until is not None and now >= task.until) or task.ready())
        ]

    def _choose(self) -> Task:
        self._steps += 1
        able = self._able()
        if not able:
            deadlines = [task.until for task in self._tasks if not task.done and task.until is not None]
            if deadlines:
                self.now = max(self.now, min(deadlines))
                able = self._able()
        if not able or self._steps > HUNG:
            self._deadlocked = True
            return self._main
        chosen = able[0] if len(able) == 1 else self.random.choice(able)
        self.trace = hash((self.trace, self._tasks.index(chosen), round(self.now, 6)))
        return chosen

    def _switch(self) -> None:
        own, chosen = self._current, self._choose()
        if chosen is not own:
            self._current = chosen
            chosen.baton.release()
            own.baton.acquire()
        if self._deadlocked and own is self._main:
            waiting = ", ".join(f"{task.name} until {task.until}" for task in self._tasks if not task.done)
            self.crashed = True
            self._deadlocked = False
            raise DeadlockError(f"after {self._steps} steps, at {self.now}: {waiting}")

    # -- threads -----------------------------------------------------------------------------------------------------

    def begin(self, name: str) -> Task:
        task = Task(name)
        self._tasks.append(task)
        return task

    def end(self, task: Task) -> None:
        """Give the baton away for good."""
        task.done = True
        self._current = self._choose()
        self._tasks.remove(task)
        self._current.baton.release()

    def crash(self) -> None:
        """Have every thread raise ``CrashError`` at its next call of a seam."""
        self.crashed = True

    def drain(self) -> None:
        """Let all other threads end."""
        while any(not task.done for task in self._tasks if task is not self._main):
            self._switch()


class Lock:
    """``threading.Lock`` of the scheduler ``world``."""

    world: Scheduler
    reentrant = False

    def __init__(self) -> None:
        self.owner: Task | None = None
        self.depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT002 - as the real one
        world = self.world
        world.pause()
        if self.reentrant and self.owner is world.current:
            self.depth += 1
            return True
        seconds = None if timeout < 0 else timeout
        if self.owner is not None and not (blocking and world.wait(lambda: self.owner is None, seconds)):
            return False
        self.owner, self.depth = world.current, 1
        return True

    def release(self) -> None:
        self.depth -= 1
        if self.depth <= 0:
            self.owner = None

    def locked(self) -> bool:
        return self.owner is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock(Lock):
    reentrant = True


class Condition:
    world: Scheduler

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = bound(RLock, self.world)() if lock is None else lock
        self._waiting: list[list[bool]] = []
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        lock, notified = self._lock, [False]
        self._waiting.append(notified)
        depth, lock.depth, lock.owner = lock.depth, 0, None
        try:
            return self.world.wait(lambda: notified[0], timeout)
        finally:
            self._waiting = [one for one in self._waiting if one is not notified]
            if not self.world.crashed:
                self.world.wait(lambda: lock.owner is None)
            lock.owner, lock.depth = self.world.current, depth

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        until = None if timeout is None else self.world.now + timeout
        while not (result := predicate()):
            if until is not None and self.world.now >= until:
                break
            self.wait(None if until is None else until - self.world.now)
        return result

    def notify(self, n: int = 1) -> None:
        for notified in self._waiting[:n]:
            notified[0] = True
        del self._waiting[:n]

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    world: Scheduler

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        self.world.pause()
        return self.world.wait(lambda: self._set, timeout)


class Thread(threading.Thread):
    world: Scheduler
    task: Task

    def start(self) -> None:
        self.world.pause()
        self.task = self.world.begin(self.name)
        super().start()
        self.world.pause()

    def __hash__(self) -> int:
        return hash(self.name)  # the order of a set of threads, too, is the seed's alone

    def run(self) -> None:
        self.task.baton.acquire()
        try:
            super().run()
        except CrashError:
            pass
        except BaseException:  # noqa: BLE001 - a failure of the test, not of this thread alone
            self.world.failures.append(traceback.format_exc())
        finally:
            self.world.end(self.task)

    def join(self, timeout: float | None = None) -> None:
        self.world.pause()
        self.world.wait(lambda: self.task.done, timeout)

    def is_alive(self) -> bool:
        return not self.task.done


class Queue:
    world: Scheduler

    def __init__(self) -> None:
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self.world.pause()

    def get(self, timeout: float | None = None) -> Any:
        if not self.world.wait(lambda: bool(self._items), timeout):
            raise Empty
        return self._items.popleft()


def bound(kind: type[Any], world: Scheduler) -> type[Any]:
    """Return a class with the scheduler that its objects use."""
    return type(kind.__name__, (kind,), {"world": world})


def replacements(world: Scheduler) -> dict[str, Any]:
    """Return the attributes of ``_runtime.clock``, of this scheduler."""
    kinds = {kind.__name__: bound(kind, world) for kind in (Thread, Lock, RLock, Condition, Event)}
    times = {"now": lambda: world.now, "wall": lambda: EPOCH + world.now, "sleep": world.sleep}
    return {**kinds, **times, "queue": bound(Queue, world)}
