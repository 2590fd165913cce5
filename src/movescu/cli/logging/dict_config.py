"""Configurations of Python's ``logging``, the schema of ``logging.config.dictConfig``, in JSON or TOML.

The file decides where messages go; it does not get to run code. So of the classes it may name only the handlers of
``logging`` and ``logging.handlers`` in ``_HANDLERS`` are taken, of objects only the standard streams, and factories
not at all; each other one is refused by its name.
"""

from __future__ import annotations

import logging
import logging.config
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime.hex_dump import TRACE
from movescu.cli.logging.level import LEVELS, PROGRESS
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# QueueHandler is not among them: it takes factories.
_FILES: Final = (
    "logging.FileHandler",
    "logging.handlers.RotatingFileHandler",
    "logging.handlers.TimedRotatingFileHandler",
    "logging.handlers.WatchedFileHandler",
)
_HANDLERS: Final = frozenset(
    (
        *_FILES,
        "logging.NullHandler",
        "logging.StreamHandler",
        "logging.handlers.DatagramHandler",
        "logging.handlers.HTTPHandler",
        "logging.handlers.MemoryHandler",
        "logging.handlers.NTEventLogHandler",
        "logging.handlers.SMTPHandler",
        "logging.handlers.SocketHandler",
        "logging.handlers.SysLogHandler",
    )
)
_FORMATTERS: Final = frozenset(("logging.Formatter",))
_STREAMS: Final = frozenset(("ext://sys.stdout", "ext://sys.stderr"))
_OBJECTS: Final = ("ext://", "cfg://")
_CODE: Final = ("()", ".")  # keys: a factory, attributes to be set
_KINDS: Final = {"handlers": _HANDLERS, "formatters": _FORMATTERS, "filters": frozenset[str]()}


def configure_python(text: str, path: str) -> None:
    """Set up the log as the text of a file says. Raises ``UsageError``."""
    configuration = read_python(text, path)
    logging.addLevelName(TRACE, "TRACE")
    logging.addLevelName(LEVELS["off"], "OFF")
    ours = logging.getLogger("movescu")
    ours.handlers.clear()
    ours.propagate = True
    ours.setLevel(logging.NOTSET)
    logging.getLogger(PROGRESS).setLevel(LEVELS["off"])  # dots among what others read: only for who asks for them
    try:
        logging.config.dictConfig(configuration)
    except Exception as error:  # the schema is checked by what reads it, which raises whatever it comes upon
        raise UsageError(f"log configuration {path}: {_reasons(error)}") from error


def _reasons(error: BaseException) -> str:
    """Give an error and what caused it, which says more."""
    cause = error.__cause__
    text = str(error) or type(error).__name__
    return text if cause is None else f"{text}: {_reasons(cause)}"


def read_python(text: str, path: str) -> dict[str, Any]:
    """Read and check a configuration. Raises ``UsageError``."""
    try:
        configuration = _parse(text, path)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"log configuration {path} cannot be read: {error}") from error
    if not isinstance(configuration, dict) or not configuration:
        raise UsageError(f"log configuration {path} does not contain any settings")
    for place, what in _refused(configuration):
        raise UsageError(f"log configuration {path}, {place}: {what} is refused", hint="It could run any code.")
    handlers = configuration.get("handlers")
    for handler in handlers.values() if isinstance(handlers, dict) else ():
        if isinstance(handler, dict) and handler.get("class") in _FILES:
            handler.setdefault("encoding", "utf-8")
            handler.setdefault("errors", "backslashreplace")
    return {"version": 1, "disable_existing_loggers": False, **configuration}


def _parse(text: str, path: str) -> Any:  # noqa: ANN401 - whatever the file holds
    if path.lower().endswith(".toml"):
        import tomllib  # one of the two is read

        return tomllib.loads(text)
    import json

    return json.loads(text)


def _refused(configuration: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give what is refused, each with its place."""
    for section, allowed in _KINDS.items():
        entries = configuration.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            kind = entry.get("class") if isinstance(entry, dict) else None
            if kind is not None and (not isinstance(kind, str) or kind not in allowed):
                yield f"{section}.{name}", f"the class {kind}"
    yield from _refused_objects(configuration)


def _refused_objects(configuration: dict[str, Any]) -> Iterator[tuple[str, str]]:
    pending: list[tuple[str, Any]] = [("", configuration)]
    while pending:
        place, value = pending.pop()
        if isinstance(value, dict):
            yield from ((place, f"the key {key!r}") for key in value if key in _CODE)
            pending += [(f"{place}.{key}".lstrip("."), below) for key, below in value.items()]
        elif isinstance(value, list):
            pending += [(place, below) for below in value]
        elif isinstance(value, str) and value.startswith(_OBJECTS) and value not in _STREAMS:
            yield place, value
