"""Configuration files of the log (``--log-config``): loggers, their levels and appenders.

A file whose name ends in ``.json`` or ``.toml`` configures Python's ``logging`` (``dict_config``). Any other file is a
property file of log4cplus, as DCMTK's tools read it::

    log4cplus.rootLogger = LEVEL, APPENDER, APPENDER ...
    log4cplus.logger.NAME = LEVEL or INHERIT, APPENDER ...
    log4cplus.additivity.NAME = true or false
    log4cplus.appender.APPENDER = log4cplus::CLASS          and its settings below that name

Loggers have DCMTK's names (``dcmtk.dcmnet``) or ours (``movescu.net``); ours take precedence. Settings that DCMTK's
movescu obeys are obeyed. Settings that it only complains of cause one warning each, on standard error. Settings that
end it, by an error or a crash, are errors here.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.cli import streams
from movescu.cli.logging import console_log
from movescu.cli.logging.appenders import make_appender
from movescu.cli.logging.layouts import DCMTK_NAMES
from movescu.cli.logging.level import secure_streams
from movescu.cli.logging.properties import level_of, parse, read_text
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from movescu.cli.logging.properties import Properties

_PYTHON: Final = (".json", ".toml")
_PREFIX: Final = "log4cplus."
_ROOT: Final = ""
_OURS: Final = "movescu"


class Logger(NamedTuple):
    """Settings of one logger; ``level`` None inherits that of the logger above."""

    level: int | None
    appenders: tuple[str, ...]
    additive: bool = True


class Configuration(NamedTuple):
    """Content of a property file: loggers by name (the root's is empty), and the settings of appenders."""

    loggers: Mapping[str, Logger]
    appenders: Properties


def configure_from(path: str) -> None:
    """Set up the log from a file.

    Raises ``UsageError`` if the file cannot be read or lacks a required setting.
    """
    secure_streams()
    console_log.prepare()
    text = read_text(path)
    if os.path.splitext(path)[1].lower() in _PYTHON:  # the path as typed
        from movescu.cli.logging.dict_config import configure_python  # loaded for files of its kind only

        configure_python(text, path)
        return
    complaints: dict[str, None] = {}
    apply(read_configuration(text, path, complaints.setdefault), complaints.setdefault)
    for complaint in complaints:
        streams.write(sys.stderr, f"W: {complaint}\n")


def read_configuration(text: str, path: str, complain: Callable[[str], None]) -> Configuration:
    """Parse a property file. Raises ``UsageError``."""
    properties = parse(text, path, complain).below(_PREFIX)
    if not len(properties):
        raise UsageError(
            f"log configuration {path} does not contain any valid settings", hint=f"Settings begin with {_PREFIX}"
        )
    if "rootLogger" not in properties:
        raise UsageError(f"log configuration {path} does not set up {_PREFIX}rootLogger")
    loggers = {_ROOT: _logger(properties, "rootLogger", additive=True)}
    for key in properties.below("logger."):
        additive = properties.flag(f"additivity.{key}", default=True)
        loggers[key] = _logger(properties, f"logger.{key}", additive=additive)
    if level_in(loggers, _OURS) is None:
        name = properties.text("rootLogger").partition(",")[0].strip()
        raise UsageError(
            f"{properties.place('rootLogger')}: {f'unknown level {name}' if name else 'the level is missing'}",
            hint="The level is OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE or ALL.",
        )
    return Configuration(loggers, properties.below("appender."))


def _logger(properties: Properties, key: str, *, additive: bool) -> Logger:
    # log4cplus removes all blanks, and takes every word that is not a level for INHERIT.
    name, *appenders = "".join(properties.text(key).split()).split(",")
    level = level_of(name)
    if level is None and name.upper() not in ("INHERIT", "INHERITED") and key != "rootLogger":
        properties.complain(key, f"unknown level {name}; using that of the logger above")
    return Logger(level, tuple(dict.fromkeys(filter(None, appenders))), additive)


# From the loggers of the file to ours


def above(name: str) -> list[str]:
    """Return the names under which a file may configure one of our loggers, the nearest first and the root last."""
    own = [name]
    while "." in own[-1]:
        own.append(own[-1].rpartition(".")[0])
    alias = next((DCMTK_NAMES[nearer] for nearer in own if nearer in DCMTK_NAMES), "")
    alien = [alias] if alias else []
    while alien and "." in alien[-1]:
        alien.append(alien[-1].rpartition(".")[0])
    names = [*own[:-1], *alien[:-1], own[-1], *alien[-1:]] if own[-1] == _OURS else own
    return [*names, _ROOT]


def level_in(loggers: Mapping[str, Logger], name: str) -> int | None:
    """Return the level of one of our loggers, None if no logger above it has one."""
    levels = (loggers[each].level for each in above(name) if each in loggers)
    return next((level for level in levels if level is not None), None)


def appenders_in(loggers: Mapping[str, Logger], name: str) -> list[str]:
    """Return the appenders of one of our loggers and of those above it, with duplicates, which log twice."""
    names: list[str] = []
    for logger in (loggers[each] for each in above(name) if each in loggers):
        names += logger.appenders
        if not logger.additive:
            break
    return names


def apply(configuration: Configuration, complain: Callable[[str], None]) -> None:
    """Set up our loggers, each with all its handlers, so that none propagates; close the appenders without logger."""
    loggers, handlers = configuration.loggers, _handlers(configuration, complain)
    idle = set(handlers)
    for name in _names(loggers):
        logger = logging.getLogger(name)
        found = [appender for appender in appenders_in(loggers, name) if appender in handlers]
        idle.difference_update(found)
        logger.handlers[:] = [handlers[appender] for appender in found] or [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(level_in(loggers, name) or logging.NOTSET)
    for appender in idle:
        handlers[appender].close()


def _names(loggers: Iterable[str]) -> list[str]:
    ours = (name for name in loggers if name.startswith(f"{_OURS}."))
    return list(dict.fromkeys((*DCMTK_NAMES, *ours)))


def _handlers(configuration: Configuration, complain: Callable[[str], None]) -> dict[str, logging.Handler]:
    """Return all appenders of the file: DCMTK creates empty files even for those without logger."""
    appenders = configuration.appenders
    made = {name: make_appender(group) for name, group in appenders.groups().items() if "" in group}
    for name in dict.fromkeys(name for logger in configuration.loggers.values() for name in logger.appenders):
        if name not in made:
            complain(f"log configuration: a logger refers to the appender {name}, which is not set up")
    return {name: handler for name, handler in made.items() if handler is not None}
