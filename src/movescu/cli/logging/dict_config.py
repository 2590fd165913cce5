"""Configuration of Python's ``logging`` in JSON or TOML, by the schema of ``logging.config.dictConfig``.

The file chooses where messages go, but must not run code. So the only classes allowed are the handlers of ``logging``
and ``logging.handlers`` in ``_HANDLERS``, the only objects are the standard streams, and factories are not allowed;
everything else is refused by name.
"""

from __future__ import annotations

import logging
import logging.config
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime.hex_dump import TRACE
from movescu.cli.logging.level import LEVELS, PROGRESS
from movescu.cli.options.output_files import check_name, check_replaced
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Without QueueHandler, which takes factories.
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
    """Set up the log from the text of a file. Raises ``UsageError``."""
    configuration = read_python(text, path)
    logging.addLevelName(TRACE, "TRACE")
    logging.addLevelName(LEVELS["off"], "OFF")
    ours = logging.getLogger("movescu")
    ours.handlers.clear()
    ours.propagate = True
    ours.setLevel(logging.NOTSET)
    logging.getLogger(PROGRESS).setLevel(LEVELS["off"])  # dots would garble the output: only on request
    try:
        logging.config.dictConfig(configuration)
    except Exception as error:  # dictConfig checks the schema as it goes, and raises anything
        raise UsageError(f"log configuration {path}: {_reasons(error)}") from error


def _reasons(error: BaseException) -> str:
    """Return the text of an error and of its causes, which say more."""
    cause = error.__cause__
    text = str(error) or type(error).__name__
    return text if cause is None else f"{text}: {_reasons(cause)}"


def read_python(text: str, path: str) -> dict[str, Any]:
    """Parse and check a configuration. Raises ``UsageError``."""
    try:
        configuration = _parse(text, path)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"log configuration {path} cannot be read: {error}") from error
    if not isinstance(configuration, dict) or not configuration:
        raise UsageError(f"log configuration {path} does not contain any settings")
    for place, what in _refused(configuration):
        raise UsageError(
            f"log configuration {path}, {place}: {what} is refused", hint="A log configuration must not run code."
        )
    handlers = configuration.get("handlers")
    for handler in handlers.values() if isinstance(handlers, dict) else ():
        if isinstance(handler, dict) and handler.get("class") in _FILES:
            handler.setdefault("encoding", "utf-8")
            handler.setdefault("errors", "backslashreplace")
            if isinstance(name := handler.get("filename"), str):
                check_name(name)
                check_replaced(name)
    return {"version": 1, "disable_existing_loggers": False, **configuration}


def _parse(text: str, path: str) -> Any:  # noqa: ANN401 - whatever the file holds
    if path.lower().endswith(".toml"):
        import tomllib  # one of the two is needed

        return tomllib.loads(text)
    import json

    return json.loads(text)


def _refused(configuration: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the place and the name of everything that is refused."""
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
