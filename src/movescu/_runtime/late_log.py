"""Loggers of ``logging`` that load it when there is something to log: it takes 8 ms, and most retrieves log nothing.

Where ``logging`` is loaded already, as in a program that has set it up, such a logger is no more than its methods.
Before that, whoever has not set it up wants to see warnings and errors, and nothing else; the command says by ``defer``
what it wants, and sets ``logging`` up when the first message comes.
"""

from __future__ import annotations

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
    """Have ``logging`` set up when a message of this level or a higher one comes; at once if it is loaded already."""
    global _level, _set_up
    with _lock:
        _level, _set_up = level, set_up
    if "logging" in sys.modules:
        settle()


def settle() -> None:
    """Load ``logging``, and set it up if that was deferred."""
    global _loading, _set_up  # noqa: PLW0603 - logging is set up once for the whole program
    with _lock:  # whoever comes second waits until it is done
        _loading, before = True, _loading
        try:
            import logging  # noqa: F401 - what this is for

            if _set_up is not None:
                set_up, _set_up = _set_up, None
                try:
                    set_up()
                except BaseException:  # an interrupt amid it: the next message sets it up
                    _set_up = set_up
                    raise
        finally:
            _loading = before


def is_loading() -> bool:
    """Tell whether ``logging`` is half loaded now, in whatever thread: no time for a signal handler to log."""
    return _loading


def _wanted(level: int) -> bool:
    return level >= _level or "logging" in sys.modules


def _at(name: str, level: int) -> Callable[..., None]:
    """Make the method of a level."""

    def method(self: _LateLogger, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - a logger's own
        if _wanted(level):
            getattr(self.load(), name)(*args, stacklevel=2, **kwargs)

    return method


class _LateLogger:
    """Stands for a logger until that is loaded, and has its methods from then on."""

    def __init__(self, name: str) -> None:
        self._name = name

    def load(self) -> logging.Logger:
        """Give the logger that this one stands for, and put its methods in the place of those below."""
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
        """Log a message, if the level is wanted."""
        if _wanted(level):
            self.load().log(level, *args, stacklevel=2, **kwargs)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - a logger's own
        """Tell whether messages of a level are wanted."""
        return self.load().isEnabledFor(level) if "logging" in sys.modules else level >= _level

    def getEffectiveLevel(self) -> int:  # noqa: N802 - a logger's own
        """Give the level from which on messages are wanted."""
        return self.load().getEffectiveLevel() if "logging" in sys.modules else _level


def logger_of(name: str) -> logging.Logger:
    """Give the logger of a name, as ``logging.getLogger`` does."""
    return _LateLogger(name)  # type: ignore[return-value] # it has what is used of one
