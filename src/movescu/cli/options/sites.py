"""Sites: what ``--site NAME`` adds to the command line, from ``sites.toml``.

The file is ``$XDG_CONFIG_HOME/movescu/sites.toml``, by default ``~/.config/movescu/sites.toml``. Each table is a site,
and ``[defaults]`` stands behind all of them::

    [defaults]
    aetitle = "WORKSTATION"
    listen-port = 11112

    [pacs]
    peer = "pacs.example.org"
    port = 104
    call = "PACS"
    model = "study"
    output-directory = "~/images"

A key is the long name of an option without its dashes, or one of the few others: ``peer`` and ``port`` are the
archive's, ``listen-port`` is the option ``--port``, ``model`` is ``patient``, ``study`` or ``psonly``. Options without
an argument are ``true``, or ``false`` to leave out what ``[defaults]`` has; options with two arguments, and those that
may be repeated, take lists. What they mean and whether they go together is for the parser.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.cli.options.table import NAMES, OPTIONS, PARAMETERS
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from movescu.cli.options.option import Option

    Values = tuple[str, ...]
    Winners = dict[str, tuple[Option, Values]]

_DEFAULTS: Final = "defaults"
_PARAMETERS: Final = {parameter.name: parameter for parameter in PARAMETERS}
_ALIASES: Final = {"listen-port": "--port"}
_MODELS: Final = {option.long.removeprefix("--"): option for option in OPTIONS if option.field == "model"}
_NOT_IN_A_SITE: Final = ("site", "check", "show_arguments", "")  # fields; "" is that of --help and such
_PATHS: Final = ("file", "directory")
_MOST_BITS: Final = 64  # of whole numbers (TOML 1.0, "Integer")


class Site(NamedTuple):
    """One site: its parameters by name, and its options as the parser has them."""

    path: str
    name: str
    parameters: Mapping[str, str]
    winners: Winners


def sites_file() -> str:
    """Give the name of the file (XDG Base Directory Specification: a relative directory does not count)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.config")
    return os.path.join(base, "movescu", "sites.toml")


def site_names() -> list[str]:
    """Give the names of the sites there are, for shell completion. Raises ``UsageError``."""
    return [name for name in _read(sites_file()) if name != _DEFAULTS]


def read_site(name: str, check: Callable[[Option, Values], object]) -> Site:
    """Read a site; ``check`` raises ``UsageError`` for values that an option cannot have.

    Raises ``UsageError``, which names the file and what is wrong in it.
    """
    path = sites_file()
    parameters: dict[str, str] = {}
    winners: Winners = {}
    for key, value in _entries(_read(path), path, name):
        where = f"{path}: key {key!r} of site {name!r}"
        if key in _PARAMETERS:
            parameters[key] = _parameter(key, value, where)
            continue
        option, values = _option(key, value, where)
        try:
            check(option, values)
        except UsageError as error:
            raise UsageError(f"{where}: {error}", hint=error.hint) from error
        winners[option.group] = option, values
    return Site(path, name, parameters, winners)


def join(site: Site, parameters: list[str], given: Winners) -> tuple[list[str], Winners]:
    """Add a site to what the command line gives; the command line wins.

    Its first two parameters are peer and port if the second one is a number; else all of them are query files. What of
    the site does not go with an option of the command line is passed over. Values of options that may be repeated
    stand behind those of the command line.
    """
    if not (len(parameters) > 1 and parameters[1].strip().isdecimal()):
        missing = next((name for name in _PARAMETERS if name not in site.parameters), "")
        if missing:
            raise UsageError(
                f"{site.path}: site {site.name!r} has no {missing!r}", hint="Enter it there, or give peer and port."
            )
        parameters = [*(site.parameters[name] for name in _PARAMETERS), *parameters]
    merged = site.winners | given
    for group, (option, values) in site.winners.items():
        if group not in given:
            if _clashes(option, given) or (_lacks(option, merged) and not _lacks(option, site.winners)):
                del merged[group]
        elif option.repeats:
            merged[group] = option, given[group][1] + values
    return parameters, merged


def _clashes(option: Option, given: Winners) -> bool:
    longs = {winner.long for winner, _ in given.values()}
    return any(not longs.isdisjoint(names) for names in option.conflicts) or any(
        option.long in names for winner, _ in given.values() for names in winner.conflicts
    )


def _lacks(option: Option, winners: Winners) -> bool:
    """Tell whether an option needs others of which none is there."""
    in_force = {winner.long for winner, _ in winners.values()}
    in_force |= {other.long for other in OPTIONS if other.default and other.group not in winners}
    return bool(option.needs) and in_force.isdisjoint(option.needs)


# -- the file ----------------------------------------------------------------------------------------------------------


def _read(path: str) -> dict[str, object]:
    import tomllib  # takes 10 ms to load

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no file of sites: {path}",
            hint='Make it, with a table for each site: [name], then lines such as peer = "host" and port = 104.',
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # the last: no end of brackets
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _entries(tables: dict[str, object], path: str, name: str) -> Iterator[tuple[str, object]]:
    """Give the entries that are in force for a site, the defaults first."""
    names = [other for other in tables if other != _DEFAULTS]
    if name not in names:
        raise UsageError(
            f"{path}: there is no site {name!r}", hint=_nearest(name, names) or f"It has: {', '.join(names)}."
        )
    for table in (_DEFAULTS, name):
        if not isinstance(tables.get(table, {}), dict):
            raise UsageError(f"{path}: {table!r} is no table", hint=f"Write [{table}] above its settings.")
    defaults, own = tables.get(_DEFAULTS, {}), tables[name]
    assert isinstance(defaults, dict)  # looked at above
    assert isinstance(own, dict)
    entries = {key: value for key, value in defaults.items() if key not in own} | own
    yield from ((key, value) for key, value in entries.items() if value is not False)


def _nearest(name: str, names: list[str]) -> str:
    from difflib import get_close_matches  # costs 3 ms, and only a mistake needs it

    near = get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _parameter(key: str, value: object, where: str) -> str:
    low, high = _PARAMETERS[key].value.low, _PARAMETERS[key].value.high
    if low is None or high is None:
        return _text(value, where)
    if type(value) is not int or not low <= value <= high:
        raise UsageError(f"{where}: {_shown(value)} is no number from {low} to {high}")
    return str(value)


def _option(key: str, value: object, where: str) -> tuple[Option, Values]:
    """Give the option that a key stands for, with its values as they would stand on the command line."""
    if key == "model":
        model = _MODELS.get(_text(value, where))
        if model is None:
            raise UsageError(f"{where}: {_shown(value)} is no model", hint=f"Models: {', '.join(_MODELS)}.")
        return model, ()
    option = NAMES.get(_ALIASES.get(key, f"--{key}"))
    if option is None or option.field in _NOT_IN_A_SITE:
        usable = [other.long.removeprefix("--") for other in OPTIONS if other.field not in _NOT_IN_A_SITE]
        hint = _nearest(key, [*_PARAMETERS, *_ALIASES, "model", *usable])
        raise UsageError(f"{where} is not known", hint=hint or "Keys are the long names of options, without dashes.")
    return option, _values(option, value, where)


def _values(option: Option, value: object, where: str) -> Values:
    if not option.takes:
        if value is not True:
            raise UsageError(f"{where} takes no value", hint="Write true, or false to leave it out.")
        return ()
    parts = value if isinstance(value, list) else [value]
    if not option.repeats and len(parts) != len(option.takes):
        wanted = ", ".join(taken.metavar for taken in option.takes)
        raise UsageError(f"{where} takes {len(option.takes)} values: {wanted}")
    texts = tuple(_text(part, where) for part in parts)
    kinds = [taken.kind for taken in option.takes]
    return tuple(_expanded(text, kinds[min(n, len(kinds) - 1)] in _PATHS) for n, text in enumerate(texts))


def _text(value: object, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UsageError(f"{where}: {_shown(value)} is neither text nor a whole number")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise UsageError(f"{where}: the number is too large")
    return str(value)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # hexadecimal numbers may have more digits than Python writes in decimal
        return "a number of thousands of digits"


def _expanded(text: str, path: bool) -> str:  # noqa: FBT001 - a private function of two arguments
    """Put the home directory for ``~`` where a file is named: no shell does it here."""
    return os.path.expanduser(text) if path and text.startswith("~") else text
