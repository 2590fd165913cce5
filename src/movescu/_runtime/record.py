"""Base classes of records that are cheap to define: the modules loaded at each start consist of them.

A subclass declares its fields as a dataclass does; its instances are constructed, compared and shown like those of a
dataclass, and type checkers treat it as one. Neither ``dataclasses`` nor ``typing`` is imported, and no source code is
generated for a class: with sixty dataclasses, that took half of the time from the start to the first byte sent
(docs/performance.md). In return an instance takes somewhat longer to make; classes of which there is one per received
object define an ``__init__`` of their own. docs/records.md shows how to write a record.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, TypeVar, dataclass_transform

    _S = TypeVar("_S", bound="Fields")
else:

    def dataclass_transform(**_: bool) -> object:
        """Return a decorator that does nothing at run time."""
        return lambda kind: kind


class Fields:  # noqa: PLW1641 - instances of ``Struct`` are mutable
    """Common base of ``Struct`` and ``Record``.

    All instances share a default, so it must be immutable. ``_hidden`` names fields left out of the repr. A method
    ``check`` is called on each new instance, to raise an error. Annotations must be strings, as ``from __future__
    import annotations`` makes them.
    """

    _names: ClassVar[tuple[str, ...]] = ()
    _known: ClassVar[frozenset[str]] = frozenset()
    _needed: ClassVar[frozenset[str]] = frozenset()
    _hidden: ClassVar[frozenset[str]] = frozenset()
    _checked: ClassVar[bool] = False

    __slots__ = ("__dict__",)

    def __init_subclass__(cls) -> None:
        own = (n for n, kind in cls.__annotations__.items() if not kind.startswith("ClassVar"))
        cls._names = tuple(dict.fromkeys((*cls._names, *own)))
        cls._known = frozenset(cls._names)
        type.__setattr__(cls, "__match_args__", cls._names)  # as a dataclass has them, which type checkers assume
        cls._checked = hasattr(cls, "check")
        cls._needed = frozenset(name for name in cls._names if not hasattr(cls, name))

    def __init__(self, *args: object, **kwargs: object) -> None:
        names, values = self._names, self.__dict__
        values.update(zip(names, args))  # noqa: B905 - the count is checked below
        if kwargs or len(args) != len(names):
            values.update(kwargs)
            if len(values) < len(args) + len(kwargs) or not self._needed <= values.keys() <= self._known:
                _refuse(type(self), args, kwargs)
        if self._checked:
            self.check()  # type: ignore[attr-defined] # a subclass has it

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _values(self) == _values(other)

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self._names if name not in self._hidden)
        return f"{type(self).__qualname__}({', '.join(shown)})"


@dataclass_transform()
class Struct(Fields):
    """Base of mutable records."""

    __slots__ = ()


@dataclass_transform(frozen_default=True)
class Record(Fields):
    """Base of immutable, hashable records."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(_values(self))

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete field {name!r}")


def _values(record: Fields) -> tuple[object, ...]:
    return tuple([getattr(record, name) for name in names_of(type(record))])


def _refuse(kind: type[Fields], args: tuple[object, ...], kwargs: dict[str, object]) -> NoReturn:
    """Raise the ``TypeError`` that names the missing, unknown or duplicate arguments."""
    names, what = names_of(kind), f"{kind.__qualname__}()"
    given = dict(zip(names, args, strict=False))
    if len(args) > len(names):
        raise TypeError(f"{what} takes {len(names)} fields, {len(args)} were given")
    for name in kwargs:
        if name not in names:
            raise TypeError(f"{what} has no field {name!r}")
        if name in given:
            raise TypeError(f"{what} got two values for {name!r}")
    missing = [name for name in names if not (name in given or name in kwargs or hasattr(kind, name))]
    raise TypeError(f"{what} needs {', '.join(missing)}")


def names_of(kind: type[Fields]) -> tuple[str, ...]:
    """Return the names of the fields, in order of declaration."""
    return kind._names  # noqa: SLF001 - of this module's own class


def replace(record: _S, **changes: Any) -> _S:  # noqa: ANN401 - the fields have types of their own
    """Return a copy with some fields changed."""
    kind = type(record)
    if kind.__init__ is not Fields.__init__ or not changes.keys() <= kind._known:  # noqa: SLF001 - as above
        values = {name: getattr(record, name) for name in names_of(kind)}
        return kind(**values | changes)
    made = kind.__new__(kind)
    made.__dict__.update(record.__dict__ | changes)
    if kind._checked:  # noqa: SLF001 - as above
        made.check()  # type: ignore[attr-defined] # a subclass has it
    return made
