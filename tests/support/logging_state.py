"""Lets a test set up the log of the command in its own process, and puts everything back behind it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict
    ours = (name for name in known if name == "movescu" or name.startswith("movescu."))
    return [logging.root, *map(logging.getLogger, ours)]


@contextmanager
def restored() -> Iterator[None]:
    """Restore loggers, their handlers, and what is set for all of them; files that were opened are closed."""
    factory, raising = logging.getLogRecordFactory(), logging.raiseExceptions
    before = {logger: (logger.level, list(logger.handlers), logger.propagate) for logger in _loggers()}
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)
        logging.raiseExceptions = raising
        for logger in _loggers():
            level, handlers, propagate = before.get(logger, (logging.NOTSET, [], True))
            for handler in logger.handlers:
                if handler not in handlers:
                    handler.close()
            logger.handlers[:] = handlers
            logger.propagate = propagate
            logger.setLevel(level)
