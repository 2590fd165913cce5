"""Classes of named fields that cost nothing to make: what is loaded at each start consists of them.

A subclass names its fields as a dataclass does, and its instances are constructed, compared and shown as those of a
dataclass are; type checkers take it for one. But a dataclass takes 0.8 ms to make, and 8 ms more for ``dataclasses``
and what that imports, a ``NamedTuple`` 0.15 ms and 4 ms for ``typing``: of sixty classes that was half of the time from
the start of a retrieve to its first byte. Such a class takes 10 us to make; an instance takes 1 us by place, where a
frozen dataclass takes 0.6. What is made for each object that comes has an ``__init__`` of its own, of 0.3 us.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, TypeVar, dataclass_transform

    _S = TypeVar("_S", bound="Fields")
else:

    def dataclass_transform(**_: bool) -> object:
        """Do nothing at run time."""
        return lambda kind: kind


class Fields:  # noqa: PLW1641 - those of ``Struct`` may change
    """What ``Struct`` and ``Record`` have in common.

    A default is shared by all instances, so it has to be one that does not change. ``_hidden`` names fields that are
    not shown. A method ``check`` is called when an instance has been made, to raise an error. Annotations have to be
    strings, as ``from __future__ import annotations`` makes them.
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
        values.update(zip(names, args))  # noqa: B905 - the count is looked at below
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
    """Base of classes whose fields may be set."""

    __slots__ = ()


@dataclass_transform(frozen_default=True)
class Record(Fields):
    """Base of classes whose fields are set once."""

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
    """Raise the ``TypeError`` of arguments that do not fit."""
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
    """Give the names of the fields, in their order."""
    return kind._names  # noqa: SLF001 - of this module's own class


def replace(record: _S, **changes: Any) -> _S:  # noqa: ANN401 - the fields have types of their own
    """Give a copy in which some fields have other values."""
    values = {name: getattr(record, name) for name in names_of(type(record))}
    return type(record)(**values | changes)
