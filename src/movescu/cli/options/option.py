"""Types of the option table's rows; ``table`` has the rows.

Options that set the same field (or share a ``block``) exclude each other: the rightmost on the command line wins.
Conflicts and needs between options of different fields are checked after that, between the winners.
"""

from __future__ import annotations

from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, TypeAlias

    Kind = Literal[
        "text", "file", "directory", "host", "key", "site", "layout", "title", "integer", "seconds", "choice"
    ]
    """How a value is parsed: verbatim (text, file, directory, host, key, site and layout differ for completion only),
    as an AE title (cut to 16 characters), as a whole number, as whole seconds, or as one of a few words in either
    case."""
    Winners: TypeAlias = "dict[str, tuple[Option, tuple[str, ...]]]"
    """Group of options that exclude each other -> the winner, and its values as typed."""


class Value(Record):
    """One value of an option, or a parameter.

    ``low`` and ``high`` are the bounds of a number, both inclusive. ``choices`` maps the words allowed (for a number,
    the words allowed instead of one; for a layout, the words offered) to their values. Those that are ``internal`` are
    never shown.
    """

    metavar: str
    kind: Kind = "text"
    low: int | None = None
    high: int | None = None
    choices: Mapping[str, str | int] | None = None
    internal: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[str, ...]:
        """The words allowed that are for users."""
        return tuple(word for word in self.choices or () if word not in self.internal)


class Option(Record):
    """One option.

    ``field`` is the field of ``CommandSettings`` that the option sets: to ``value``, if the option takes no argument.
    Without any option of the field, the field has the ``value`` of the ``default`` one among them, or else ``unset``.
    An option that ``repeats`` collects its arguments.

    ``conflicts`` are groups of long names: the option is refused if one of a group is in force, and the message names
    the whole group. Of the long names in ``needs`` one must be in force. An option is in force if it wins among those
    that exclude each other, or if it is the default and none of them is given.

    An option with a value of ``stands_for`` meets the need of the options named there, too; ``*`` is any value.

    ``optional`` is a word that may follow an option without arguments, and replaces ``value``.

    An option that is ``alone`` needs neither an archive nor keys.

    ``missing`` is the default shown in the help where ``unset`` has no words for it. An option with a ``refusal`` is
    parsed and then refused with these words.
    """

    short: str
    long: str
    field: str
    help: str
    value: object = True
    takes: tuple[Value, ...] = ()
    default: bool = False
    unset: object = None
    repeats: bool = False
    block: str = ""
    conflicts: tuple[tuple[str, ...], ...] = ()
    needs: tuple[str, ...] = ()
    missing: str = ""
    refusal: str = ""
    alone: bool = False
    optional: Value | None = None
    stands_for: Mapping[str, tuple[str, ...]] | None = None

    @property
    def usage(self) -> str:
        """The long name and the arguments."""
        values = (*self.takes, *(() if self.optional is None else (self.optional,)))
        return " ".join((self.long, *(value.metavar for value in values)))

    @property
    def sentence(self) -> str:
        """The first part of the help, as in the menus of the shells."""
        return self.help.partition("; ")[0]

    def meets(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return the long names whose need the option meets with these values."""
        others = self.stands_for or {}
        return (self.long, *others.get(values[0].lower() if values else "", others.get("*", ())))

    @property
    def group(self) -> str:
        """Name shared by options that exclude each other."""
        return self.block or self.field or self.long


class Group(Record):
    """Options under one heading of the help; a group without heading stands directly in its section."""

    heading: str
    options: tuple[Option, ...]
    note: str = ""


class Section(Record):
    """Groups under one heading of the help."""

    heading: str
    groups: tuple[Group, ...]


class Parameter(Record):
    """Argument known by its position, not by an option."""

    name: str
    help: str
    value: Value


def is_number(word: str) -> bool:
    """Return True if a word is written as a whole number."""
    return word.strip().isdecimal()
