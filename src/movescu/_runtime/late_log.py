"""Loggers that import ``logging`` with the first message: most retrieves log nothing and can save the import.

If ``logging`` is loaded already, as in a program that has configured it, such a logger takes over the methods of the
real one. Until then, messages from WARNING on are wanted, which is the default of ``logging``. The command states
another level by ``defer``, with a function that configures ``logging`` when the first message of that level is logged.
"""

from __future__ import annotations

import contextlib
import sys
from threading import RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from typing import Any

DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50
"""The levels of ``logging``."""

_METHODS = ("debug", "info", "warning", "error", "critical", "exception", "log", "isEnabledFor", "getEffectiveLevel")

_lock = RLock()
_level = WARNING
_set_up: Callable[[], None] | None = None
_loading = False


def defer(level: int, set_up: Callable[[], None]) -> None:
    """Configure ``logging`` with the first message of this level or above; at once if it is already loaded."""
    global _level, _set_up
    with _lock:
        _level, _set_up = level, set_up
    if "logging" in sys.modules:
        settle()


def settle() -> None:
    """Import ``logging``, and configure it if that was deferred."""
    global _loading, _set_up  # noqa: PLW0603 - logging is configured once for the whole program
    with _lock:  # a second thread waits until logging is configured
        _loading, before = True, _loading
        try:
            import logging  # noqa: F401 - what this is for

            if _set_up is not None:
                set_up, _set_up = _set_up, None
                try:
                    set_up()
                except BaseException:  # interrupted: the next message tries again
                    _set_up = set_up
                    raise
        finally:
            _loading = before


def is_loading() -> bool:
    """Return True while any thread imports ``logging``: a signal handler must not log then."""
    return _loading


def _wanted(level: int) -> bool:
    return level >= _level or "logging" in sys.modules


def _at(name: str, level: int) -> Callable[..., None]:
    """Return the logging method of a level."""

    def method(self: _LateLogger, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - a logger's own
        if _wanted(level):
            try:
                logger = self.load()
            except (ImportError, OSError, MemoryError):  # out of descriptors or memory: no reason to end a thread
                _write_plainly(args)
            else:
                getattr(logger, name)(*args, stacklevel=2, **kwargs)

    return method


def _write_plainly(args: tuple[object, ...]) -> None:
    """Write a message to standard error while ``logging`` cannot be loaded, without what a peer may have put in it."""
    text = str(args[0]) % args[1:] if args[1:] else str(args[0])
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text.encode("unicode_escape").decode() + "\n")


class _LateLogger:
    """Stands in for a logger until ``logging`` is loaded, and has the logger's own methods from then on."""

    def __init__(self, name: str) -> None:
        self._name = name

    def load(self) -> logging.Logger:
        """Return the real logger, and replace the methods below by its own."""
        settle()
        import logging  # what this is for

        logger = logging.getLogger(self._name)
        self.__dict__.update((method, getattr(logger, method)) for method in _METHODS)
        return logger

    debug = _at("debug", DEBUG)
    info = _at("info", INFO)
    warning = _at("warning", WARNING)
    error = _at("error", ERROR)
    exception = _at("exception", ERROR)
    critical = _at("critical", CRITICAL)

    def log(self, level: int, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - a logger's own
        """Log a message if its level is enabled."""
        if _wanted(level):
            self.load().log(level, *args, stacklevel=2, **kwargs)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - a logger's own
        """Return True if messages of a level are logged."""
        return self.load().isEnabledFor(level) if "logging" in sys.modules else level >= _level

    def getEffectiveLevel(self) -> int:  # noqa: N802 - a logger's own
        """Return the lowest level that is logged."""
        return self.load().getEffectiveLevel() if "logging" in sys.modules else _level


def logger_of(name: str) -> logging.Logger:
    """Return a late-loading logger; otherwise like ``logging.getLogger``."""
    return _LateLogger(name)  # type: ignore[return-value] # has the methods this program uses
