"""The rooms of the house: which room may import from which (``docs/architecture.md`` says what each holds, and why).

Imports inside functions and for type checkers count like any other. A room is the package below ``movescu``; its
subpackages are parts of it.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src"

ARROWS = {
    "_runtime": "",
    "dictionary": "_runtime",
    "ul": "dictionary",
    "dataset": "dictionary",
    "transport": "ul",
    "dimse": "transport dataset",  # the log shows the data set of a message
    "query": "dataset",
    "storage": "dimse",
    "services": "storage",
    "retrieve": "services query",
    "testing": "services query",  # the archive matches keys as the client does
    "cohort": "retrieve",
    "report": "retrieve",
    "cli": "cohort report",
}
"""Room -> the rooms right below it; what is below those may be imported too."""

EVENTS = {"retrieve", "cohort", "report", "cli"}
"""Rooms that may import ``movescu.events``; everyone may import ``movescu.errors``."""

ROOT = {"__init__", "__main__", "errors", "events"}
"""Modules outside the rooms."""

LONGEST = 450
TABLES = {"movescu.cli.options.table"}
"""Modules of data alone, which may be longer."""


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts)


FILES = {name_of(file): file for file in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}


def room_of(module: str) -> str:
    return module.split(".")[1]


def below(room: str) -> set[str]:
    """All rooms that a room may import from, itself included."""
    return {room}.union(*(below(lower) for lower in ARROWS[room].split()))


def imports(user: str) -> Iterator[str]:
    """The modules of movescu that a module imports."""
    for node in ast.walk(TREES[user]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = user.rpartition(".")[0]
            module = resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (module_of(name) for name in names if name.split(".")[0] == "movescu")


def module_of(name: str) -> str:
    """The module that ``import name`` reads: itself, its package, or the module that ``name`` is an attribute of."""
    parent = name.rpartition(".")[0]
    candidates = (name, f"{name}.__init__", parent, f"{parent}.__init__")
    return next((module for module in candidates if module in FILES), name)


def may_import(user: str, used: str) -> bool:
    if room_of(user) in ("__init__", "__main__") or room_of(used) == "errors":
        return True
    if room_of(used) == "events":
        return room_of(user) in EVENTS
    if room_of(user) == "errors":
        return False
    if room_of(user) == "events":
        return room_of(used) in below("dimse")
    return room_of(used) in below(room_of(user))


def test_every_module_is_in_a_room() -> None:
    homeless = [name for name in FILES if name.count(".") > 1 and room_of(name) not in ARROWS]
    assert not homeless, "give each room a place in the table above, and in docs/architecture.md"


def test_root_holds_no_other_modules() -> None:
    assert {room_of(name) for name in FILES if name.count(".") == 1} == ROOT


def test_imports_follow_arrows() -> None:
    against = [f"{user} imports {used}" for user in FILES for used in imports(user) if not may_import(user, used)]
    assert not against, "\n".join(against)


def test_modules_import_in_no_circle() -> None:
    public = "movescu.__init__"  # its names are loaded when they are used
    graph = {user: set(imports(user)) - {public} for user in FILES if user != public}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from error


def test_packages_import_nothing() -> None:
    public = {"movescu.__init__", "movescu.testing.__init__"}
    loading = [name for name in FILES if name.endswith(".__init__") and name not in public and [*imports(name)]]
    assert not loading


def test_modules_are_short() -> None:
    lengths = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in FILES.items()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST and name not in TABLES}


def test_public_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}
