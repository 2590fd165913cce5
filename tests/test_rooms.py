"""The rooms of the house: which room may import from which (``docs/architecture.md`` says what each holds, and why).

Imports inside functions and for type checkers count like any other. A room is the package below ``movescu``; its
subpackages are parts of it.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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


pytestmark = pytest.mark.xdist_group("rooms")  # the sources are parsed once


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}


@cache
def nodes(module: str) -> list[ast.AST]:
    return [*ast.walk(trees()[module])]


def room_of(module: str) -> str:
    return module.split(".")[1]


def below(room: str) -> set[str]:
    """All rooms that a room may import from, itself included."""
    return {room}.union(*(below(lower) for lower in ARROWS[room].split()))


def imports(user: str) -> Iterator[str]:
    """The modules of movescu that a module imports."""
    for node in nodes(user):
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
    for module, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}


SEAMS = {
    "movescu._runtime.clock": "time threading queue",
    "movescu.transport.network": "socket select selectors",
    "movescu.storage.files": "fcntl sqlite3 os shutil tempfile",
}
"""Seam -> the modules whose functions it wraps: a simulation replaces its attributes (``docs/architecture.md``)."""

WRAPPED = {
    "time": "monotonic monotonic_ns perf_counter sleep time time_ns",
    "threading": "Barrier Condition Event Lock RLock Semaphore Thread Timer current_thread",
    "queue": "LifoQueue PriorityQueue Queue SimpleQueue",
    "socket": "create_connection create_server getaddrinfo gethostbyname getnameinfo has_dualstack_ipv6 socket "
    "socketpair",
    "select": "epoll kqueue poll select",
    "selectors": "DefaultSelector PollSelector SelectSelector EpollSelector",
    "fcntl": "flock lockf",
    "sqlite3": "connect",
    "os": "access chmod close dup fdatasync fdopen fstat fsync ftruncate link listdir lseek lstat makedirs mkdir open "
    "pread preadv pwrite pwritev read readv remove rename replace rmdir scandir sendfile stat statvfs symlink sync "
    "truncate unlink utime write writev path.exists path.getsize path.isdir path.isfile path.lexists",
    "shutil": "copy copyfile copyfileobj move rmtree",
    "tempfile": "NamedTemporaryFile TemporaryDirectory TemporaryFile mkdtemp mkstemp",
}
"""Module -> the functions and classes that only its seam may use; constants and types in annotations are free."""

BESIDE_THE_SEAMS = {
    "time threading queue": ("movescu.cli.", "movescu.report.", "movescu._runtime.late_log"),
    "socket select selectors": (
        "movescu.cli.logging.",
        "movescu.report.",
        "movescu.testing.demo",
        "movescu.transport.poll_by_select",
    ),
    "fcntl sqlite3 os shutil tempfile": (
        "movescu.cli.",
        "movescu._runtime.",
        "movescu.cohort.cluster.collection",
        "movescu.cohort.hook_process",
        "movescu.dictionary.",
        "movescu.query.",
        "movescu.report.",
        "movescu.storage.files_by_path",
        "movescu.testing.demo",
        "movescu.transport.",
    ),
}
"""Wrapped modules -> the modules that may use them: they show progress, write the log, read the files of options,
move files after a run, or start other programs."""


def direct_calls(module: str) -> Iterator[str]:
    """The wrapped functions that a module uses, or takes by name, outside annotations."""
    annotations = {
        id(inner)
        for node in nodes(module)
        for outer in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if outer is not None
        for inner in ast.walk(outer)
    }
    for node in nodes(module):
        if isinstance(node, ast.Attribute) and id(node) not in annotations:
            name, _, attribute = dotted(node).partition(".")
            if attribute in WRAPPED.get(name, "").split():
                yield f"{name}.{attribute}"
        elif isinstance(node, ast.ImportFrom):
            taken = {alias.name for alias in node.names} & {*WRAPPED.get(node.module or "", "").split()}
            yield from (f"{node.module}.{name}" for name in sorted(taken - {"SimpleQueue"}))


def dotted(node: ast.AST) -> str:
    """A name with its attributes, as it is written; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{before}.{node.attr}" if (before := dotted(node.value)) else ""
    return node.id if isinstance(node, ast.Name) else ""


def test_wrapped_functions_are_called_by_their_seam_alone() -> None:
    direct = []
    calls = {name: [*direct_calls(name)] for name in FILES}
    for seam, wrapped in SEAMS.items():
        others = [name for name in FILES if name != seam and not name.startswith(BESIDE_THE_SEAMS[wrapped])]
        direct += [
            f"{name} uses {call}" for name in others for call in calls[name] if call.split(".")[0] in wrapped.split()
        ]
    assert not direct, "\n".join(direct)


def test_seams_are_used_by_attribute() -> None:
    """A name taken from a seam would be the real function in a simulation, too."""
    taken = [
        f"{user} takes {', '.join(alias.name for alias in node.names)} from {node.module}"
        for user in FILES
        for node in nodes(user)
        if isinstance(node, ast.ImportFrom) and node.module in SEAMS
    ]
    assert not taken, "\n".join(taken)
