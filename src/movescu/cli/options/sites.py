"""Sites: the part of the command line that ``--site NAME`` reads from ``sites.toml``.

The file is ``$XDG_CONFIG_HOME/movescu/sites.toml``, by default ``~/.config/movescu/sites.toml``. Each table is a site;
``[defaults]`` holds for all of them, and a site's own settings win::

    [defaults]
    aetitle = "WORKSTATION"
    listen-port = 11112

    [pacs]
    peer = "pacs.example.org"
    port = 104
    call = "PACS"
    model = "study"
    output-directory = "~/images"

A key is the long name of an option without its dashes, or one of four others: ``peer`` and ``port`` are the archive's,
``listen-port`` is the option ``--port``, ``model`` is ``patient``, ``study`` or ``psonly``. Options without values are
``true``, or ``false`` to drop a setting of ``[defaults]``; options with two arguments, and those that may be repeated,
take lists. The parser (``command_line``) checks values and conflicts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.cli.options.table import NAMES, OPTIONS, PARAMETERS
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from movescu.cli.options.option import Option, Winners

    Values = tuple[str, ...]

_DEFAULTS: Final = "defaults"
_PARAMETERS: Final = {parameter.name: parameter for parameter in PARAMETERS}
_ALIASES: Final = {"listen-port": "--port"}
_MODELS: Final = {option.long.removeprefix("--"): option for option in OPTIONS if option.field == "model"}
_NOT_IN_A_SITE: Final = ("site", "check", "show_arguments", "")  # fields; "" is the field of --help and its like
_PATHS: Final = ("file", "directory")
_MOST_BITS: Final = 64  # of whole numbers (TOML 1.0, "Integer")


class Site(NamedTuple):
    """One site: its parameters by name, and its options in the parser's form."""

    path: str
    name: str
    parameters: Mapping[str, str]
    winners: Winners


def sites_file() -> str:
    """Return the path of the file (XDG Base Directory Specification: a relative directory is ignored)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.config")
    return os.path.join(base, "movescu", "sites.toml")


def site_names() -> list[str]:
    """Return the names of all sites, for shell completion. Raises ``UsageError``."""
    return [name for name in _read(sites_file()) if name != _DEFAULTS]


def read_site(name: str, check: Callable[[Option, Values], object]) -> Site:
    """Read a site; ``check`` raises ``UsageError`` for a value that an option does not accept.

    Raises ``UsageError``, naming file and key, if the file or a setting in it is invalid.
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
    """Merge a site into the command line; the command line wins.

    The first two parameters are peer and port if the second is a number; otherwise all parameters are query files. A
    setting of the site that conflicts with an option of the command line is ignored. Values of options that may be
    repeated follow those of the command line.

    Raises ``UsageError`` if neither has peer and port.
    """
    if not (len(parameters) > 1 and parameters[1].strip().isdecimal()):
        missing = next((name for name in _PARAMETERS if name not in site.parameters), "")
        if missing:
            raise UsageError(
                f"{site.path}: site {site.name!r} has no {missing!r}", hint="Add it to the site, or type peer and port."
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
    """Return True if an option needs others of which none is in force."""
    in_force = {long for winner, values in winners.values() for long in winner.meets(values)}
    in_force |= {other.long for other in OPTIONS if other.default and other.group not in winners}
    return bool(option.needs) and in_force.isdisjoint(option.needs)


# -- the file ----------------------------------------------------------------------------------------------------------


def _read(path: str) -> dict[str, object]:
    import tomllib  # slow to load, and needed for sites only

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no file of sites: {path}",
            hint="Create it with movescu --setup, or write a table for each site: [name], then lines such as "
            'peer = "host" and port = 104.',
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: brackets nested too deep
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _entries(tables: dict[str, object], path: str, name: str) -> Iterator[tuple[str, object]]:
    """Yield the settings in force for a site, the defaults first."""
    names = [other for other in tables if other != _DEFAULTS]
    if name not in names:
        raise UsageError(
            f"{path}: there is no site {name!r}", hint=_nearest(name, names) or f"Sites: {', '.join(names)}."
        )
    for table in (_DEFAULTS, name):
        if not isinstance(tables.get(table, {}), dict):
            raise UsageError(f"{path}: {table!r} is not a table", hint=f"Write [{table}] above its settings.")
    defaults, own = tables.get(_DEFAULTS, {}), tables[name]
    assert isinstance(defaults, dict)  # checked above
    assert isinstance(own, dict)
    entries = {key: value for key, value in defaults.items() if key not in own} | own
    yield from ((key, value) for key, value in entries.items() if value is not False)


def _nearest(name: str, names: list[str]) -> str:
    from difflib import get_close_matches  # slow to load, and needed only after a mistake

    near = get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _parameter(key: str, value: object, where: str) -> str:
    low, high = _PARAMETERS[key].value.low, _PARAMETERS[key].value.high
    if low is None or high is None:
        return _text(value, where)
    if type(value) is not int or not low <= value <= high:
        raise UsageError(f"{where}: {_shown(value)} is not a number from {low} to {high}")
    return str(value)


def _option(key: str, value: object, where: str) -> tuple[Option, Values]:
    """Return the option that a key names, with its values as on the command line."""
    if key == "model":
        model = _MODELS.get(_text(value, where))
        if model is None:
            raise UsageError(f"{where}: {_shown(value)} is not a model", hint=f"Models: {', '.join(_MODELS)}.")
        return model, ()
    option = NAMES.get(_ALIASES.get(key, f"--{key}"))
    if option is None or option.field in _NOT_IN_A_SITE:
        usable = [other.long.removeprefix("--") for other in OPTIONS if other.field not in _NOT_IN_A_SITE]
        hint = _nearest(key, [*_PARAMETERS, *_ALIASES, "model", *usable])
        raise UsageError(f"{where} is unknown", hint=hint or "Keys are the long names of options, without dashes.")
    return option, _values(option, value, where)


def _values(option: Option, value: object, where: str) -> Values:
    if not option.takes:
        if value is not True:
            raise UsageError(f"{where} takes no value", hint="Write true, or false to drop the default.")
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
    """Expand ``~`` in the path of a file: no shell does it here."""
    return os.path.expanduser(text) if path and text.startswith("~") else text
