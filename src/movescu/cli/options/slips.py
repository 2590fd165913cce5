"""Hints for command lines whose options the grammar accepts, and that mean something else than was typed.

Imported only after a mistake.
"""

from __future__ import annotations

from movescu.cli.options import address
from movescu.cli.options.option import is_number
from movescu.cli.options.suggestions import either
from movescu.cli.options.table import NAMES, PARAMETERS
from movescu.errors import CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final

    from movescu.cli.options.option import Option, Value, Winners

    Check = Callable[[Option, tuple[str, ...]], object]
    """Raises ``CommandLineError`` for a value that an option does not accept."""
    Convert = Callable[[str, Value], tuple[object, str]]
    """Returns the value of a text, and its fault, empty if there is none."""

_NO_RETRIEVE: Final = ("--query", "--status", "--check-files", "--collect")
"""Options that retrieve nothing: what needs ``--port`` is of no use with them."""
_INSTEAD: Final = {
    ("--anonymous-tls", "--port"): "Senders need a certificate of this computer: write +tls KEY CERT, or retrieve "
    "without a port by --retrieve get +tla.",
    ("--query", "--report"): "Write --format json or --format csv, and > FILE at the end.",
}
"""Options that exclude each other -> what to write."""


def swallowed(winners: Winners, converters: Mapping[str, Convert]) -> str:
    """Return a hint if an option's value was most likely meant as something else, as after a value was left out."""
    for option, values in winners.values():
        taken = option.takes * len(values) if option.repeats else option.takes
        for text, value in zip(values, taken, strict=False):
            if text in NAMES or converters[value.kind](text, value)[1]:
                return f"{option.long} has the value {text!r}, the word after it: write {option.usage}."
    return ""


def check_parameters(parameters: Sequence[str], winners: Winners) -> None:
    """Raise ``CommandLineError`` unless there are two parameters, of which the second may be a port."""
    slip = next((o for o, _ in winners.values() if o.long in ("--padding-off", "--patient")), None)
    if slip is not None and len(parameters) > 1 and is_number(parameters[0]) and not is_number(parameters[1]):
        raise CommandLineError(
            f"Invalid parameter value {parameters[1]}",
            hint=f"The port to receive on is +P {parameters[0]} (--port); {slip.short} is {slip.long}.",
        )
    if len(parameters) > 1 and address.parsed(parameters[1]):
        raise CommandLineError(
            f"Invalid parameter value {parameters[1]}",
            hint=f"{parameters[0]} before it is read as the archive's host name, and this as its port.",
        )
    for parameter in PARAMETERS[len(parameters) :]:
        hint = "The command needs the archive's address, as host and port or TITLE@host:port, or --site. See --help."
        if parameters and "://" in parameters[0]:
            hint = "The archive's address is not a URL: write it as host and port or TITLE@host:port."
        elif parameters and ("@" in parameters[0] or ":" in parameters[0]):
            hint = address.problem(parameters[0]) or hint
        raise CommandLineError(f"Missing parameter {parameter.name}", hint=hint)


def not_beside(option: Option, group: Sequence[str]) -> CommandLineError:
    """Return the error of an option that conflicts with a group."""
    hint = next((hint for (one, other), hint in _INSTEAD.items() if one == option.long and other in group), "")
    return CommandLineError(f"{option.long} not allowed with {either(group)}", hint=hint)


def alone(option: Option, in_force: set[str], winners: Winners, check: Check) -> CommandLineError:
    """Return the error of an option without any of those that it needs.

    Raises the error of an option that would meet the need if its value were right.
    """
    for other, values in winners.values():
        if any(set(option.needs) & set(met) for met in (other.stands_for or {}).values()):
            check(other, values)
    obstacle = next((name for name in _NO_RETRIEVE if name in in_force and option.needs[0] == "--port"), "")
    if obstacle:
        return CommandLineError(f"{option.long} not allowed with {obstacle}", hint=f"{obstacle} retrieves nothing.")
    needed = [f"{NAMES[name].usage}: {NAMES[name].sentence}" for name in option.needs]
    add = f"Add {needed[0]}." if len(needed) == 1 else "\n  ".join(("Add one of:", *needed))
    return CommandLineError(f"{option.long} only allowed with {either(option.needs)}", hint=add)
