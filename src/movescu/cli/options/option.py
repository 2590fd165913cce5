"""What a row of the option table consists of: ``table`` has the rows.

Two options exclude each other when they set the same field (or share a ``block``): the rightmost one on the command
line wins. Conflicts and needs between options of different fields are tested only after that, between the winners.
"""

from __future__ import annotations

from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    Kind = Literal["text", "file", "directory", "host", "key", "site", "title", "integer", "seconds", "choice"]
    """How a value is read: as it stands (and what of it a shell can complete: a file, a directory, a host, a key, a
    site), as an AE title (cut to 16 characters), as a whole number, as a whole number of seconds, as one of a few words
    in upper or lower case."""


class Value(Record):
    """One argument that follows an option, or a parameter.

    ``low`` and ``high`` bound a number, both inclusive. ``choices`` are the words allowed, and what each stands for;
    of a number, the words allowed beside numbers.
    """

    metavar: str
    kind: Kind = "text"
    low: int | None = None
    high: int | None = None
    choices: Mapping[str, str | int] | None = None


class Option(Record):
    """One option.

    ``field`` is the field of ``Settings`` that it sets, to ``value`` if it takes no argument; while no option of the
    field is given, the field has the ``value`` of the option that is the ``default`` among them, or else ``unset``.
    An option that ``repeats`` collects its arguments.

    ``conflicts`` are groups of long names: the option is refused when one of a group is in force, and the message
    names the whole group. ``needs`` are long names of which one must be in force. An option is in force when it wins
    among those that exclude each other, and the default is when none of them is given.

    ``missing`` says in the help what holds without the option, where ``unset`` does not say it. An option with a
    ``refusal`` is known, and checked, and then refused with these words.
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

    @property
    def group(self) -> str:
        """What options that exclude each other have in common."""
        return self.block or self.field or self.long


class Group(Record):
    """Options under one heading of the help; a group without a heading stands directly in its section."""

    heading: str
    options: tuple[Option, ...]
    note: str = ""


class Section(Record):
    """Groups under one heading of the help."""

    heading: str
    groups: tuple[Group, ...]


class Parameter(Record):
    """An argument that is told by its place, not by an option."""

    name: str
    help: str
    value: Value
