"""The walls of the house: a module imports only from lower floors (``docs/architecture.md`` says why).

Within one floor a module may import those of its own package that stand before it in the table, and no others. Imports
inside functions and for type checkers count like any other. A package's ``__init__`` that is not in the table imports
nothing of movescu.
"""

from __future__ import annotations

import ast
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src"

FLOORS = """
0  implementation record late_log late_re errors uids dictionary tracing
1  dictionary_files
1  ul.items ul.user_information ul.pdu ul.states dimse.__init__
1  dimse.status dimse.messages dimse.repeated
1  dataset.vr dataset.elements dataset.encoding dataset.identity dataset.output
1  storage.naming storage.layout storage.durability storage.folders
1  storage.leftovers
2  ul.negotiation ul.association
2  dataset.encoder dataset.nesting dataset.kinds dataset.stretches dataset.scan dataset.recode dataset.peek
2  dataset.filemeta
2  dataset.values dataset.charset dataset.dump_text dataset.json_model dataset.query_files dataset.keys
2  dataset.head dataset.advice dataset.query dataset.dump ul.dump dimse.dump
2  judgement
3  net.transport net.tls net.patience net.access_patterns net.access_rules net.access net.guard
3  matching scope
3  storage.incoming storage.options
3  storage.database storage.examining storage.index storage.writer storage.placing storage.receiver storage.sinks
4  net.connection net.listener options
5  dimse.exchange
6  services.move services.find services.echo services.turns services.store
7  tally awaiting events observer summary asking rows pacing journal reception session inventory pursuit retrieval api
7  campaign check __init__
7  testing.index testing.query testing.faults testing.suboperations testing.move testing.archive testing.__init__
8  cli.option cli.tls_options cli.finish_options cli.options cli.sites cli.settings cli.parser
8  cli.version cli.help cli.completion cli.streams cli.logs cli.log_level cli.exit_codes cli.signals cli.manual
8  cli.dots cli.report cli.wiring cli.accounts cli.listed cli.dry_run cli.check cli.progress
8  cli.log_properties cli.log_layouts cli.log_appenders cli.log_python cli.log_config
9  cli.command cli.main
10 __main__ testing.__main__ testing.demo
"""

MODULES = ["movescu." + name for line in FLOORS.split("\n") for name in line.split()[1:]]
FLOOR = {"movescu." + name: int(line.split()[0]) for line in FLOORS.split("\n") for name in line.split()[1:]}


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts)


def imports(file: Path) -> Iterator[str]:
    """The modules of movescu that a file imports, by the names they have in the table."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = name_of(file).rpartition(".")[0]
            module = resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (module_of(name) for name in names if name.split(".")[0] == "movescu")


def module_of(name: str) -> str:
    """The module that ``import name`` reads: itself, its package, or the module that ``name`` is an attribute of."""
    parent = name.rpartition(".")[0]
    candidates = (name, f"{name}.__init__", parent, f"{parent}.__init__")
    existing = [module for module in candidates if SOURCE.joinpath(*module.split(".")).with_suffix(".py").is_file()]
    return existing[0] if existing else name


def may_import(user: str, used: str) -> bool:
    if FLOOR[user] != FLOOR[used]:
        return FLOOR[user] > FLOOR[used]
    same_package = user.rpartition(".")[0] == used.rpartition(".")[0]
    return same_package and MODULES.index(used) < MODULES.index(user)


FILES = {name_of(file): file for file in sorted(SOURCE.rglob("*.py"))}


def test_every_module_has_its_floor() -> None:
    unlisted = [name for name in FILES if name not in FLOOR and not name.endswith(".__init__")]
    assert not unlisted, "give each a place in the table above, and in docs/architecture.md"


def test_no_module_imports_from_its_own_floor_or_above() -> None:
    climbs = [
        f"{user} ({FLOOR.get(user, 'package')}) imports {used} ({FLOOR.get(used, 'unlisted')})"
        for user, file in FILES.items()
        for used in imports(file)
        if user not in FLOOR or used not in FLOOR or not may_import(user, used)
    ]
    assert not climbs, "\n".join(climbs)
