"""Mutation test of the modules that decide: change one expression at a time, and see whether a test fails.

    python tools/mutants.py [MODULE ...]    such as retrieve/judgement; default: all of ``MODULES``

Each module has tests of its own, quick ones. They run once to learn which of them enter which function; then each
mutant of a function runs in a process forked after collection, which gives the function its changed code: some
milliseconds for a mutant, where a new test run would take seconds. Commands of ``tests/support/forked.py`` get the same
code. Changes of tables, defaults and constants, and of functions that only make these, need a new import, and so a test
run of their own.

Not changed: text for people (messages, log lines, hints), annotations, docstrings. A mutant that hangs is killed by its
deadline and counts as noticed. Survivors are printed and kept in ``mutants/``.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import gc
import importlib
import importlib.machinery
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src" / "movescu"

_WORLD: Final = (
    "tests/simulated/test_retrieve.py",
    "tests/simulated/test_close.py",
    "tests/simulated/test_timeouts.py",
)
_ROUNDS: Final = (
    *("tests/retrieve/test_request_state.py", "tests/retrieve/test_tally.py", "tests/retrieve/test_judgement.py"),
    "tests/retrieve/test_liars.py",
)
_LISTS: Final = ("tests/query/test_request_list.py",)
_HOOKS: Final = ("tests/cohort/test_hooks.py",)
_JOURNAL: Final = ("tests/cohort/test_journal.py",)
_FILES: Final = (
    "tests/simulated/test_writer.py",
    *("tests/storage/test_writer.py", "tests/storage/test_naming.py", "tests/storage/test_durability.py"),
)
_PLACES: Final = ("tests/storage/test_ledger.py", "tests/storage/layout/test_placement.py")

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "cli/exit_codes": ("tests/cli/test_exit_codes.py", "tests/retrieve/test_judgement.py", *_WORLD),
    "cohort/admission": ("tests/cohort/test_admission.py",),
    "cohort/cluster/collection": ("tests/cohort/test_collection.py",),
    "cohort/entries": ("tests/cohort/test_entries.py",),
    "cohort/entry_verdict": ("tests/cohort/test_entry_verdict.py", *_JOURNAL),
    "cohort/held_ends": ("tests/cohort/test_held_ends.py",),
    "cohort/hook_journal": _HOOKS,
    "cohort/hooks": _HOOKS,
    "cohort/journal": _JOURNAL,
    "cohort/journal_directory": _JOURNAL,
    "cohort/journal_file": _JOURNAL,
    "cohort/journal_opening": _JOURNAL,
    "cohort/overlap": ("tests/cohort/test_overlap.py",),
    "cohort/postponed": ("tests/cohort/test_postponed.py",),
    "cohort/request_end": ("tests/cohort/test_request_end.py",),
    "query/levels": ("tests/query/test_identifier.py", "tests/query/test_selection.py"),
    "query/list_columns": _LISTS,
    "query/list_text": _LISTS,
    "query/matching": ("tests/query/test_matching.py",),
    "query/request_list": _LISTS,
    "query/scope": (
        *("tests/query/test_scope.py", "tests/query/test_matching.py", "tests/retrieve/test_resolution.py"),
        *_LISTS,
    ),
    "query/selection": ("tests/query/test_selection.py", "tests/retrieve/test_resolution.py"),
    "retrieve/answers": ("tests/retrieve/test_answers.py", "tests/retrieve/test_liars.py"),
    "retrieve/attempts": ("tests/retrieve/test_attempts.py", "tests/retrieve/test_liars.py"),
    "retrieve/belonging": ("tests/retrieve/test_tally.py",),
    "retrieve/catalogue": ("tests/retrieve/test_catalogue.py", "tests/retrieve/test_liars.py"),
    "retrieve/causes": ("tests/retrieve/test_causes.py", "tests/test_causes_document.py"),
    "retrieve/earlier_request": (
        *("tests/retrieve/test_earlier_request.py", "tests/retrieve/test_request_state.py"),
        *("tests/cohort/test_job_json.py", "tests/cohort/test_task.py"),
    ),
    "retrieve/evidence": _ROUNDS,
    "retrieve/inventory": (
        *("tests/retrieve/test_inventory.py", "tests/retrieve/test_catalogue.py", "tests/retrieve/test_liars.py"),
    ),
    "retrieve/judgement": ("tests/retrieve/test_judgement.py",),
    "retrieve/request_state": _ROUNDS,
    "retrieve/requests": ("tests/retrieve/test_requests.py", "tests/retrieve/test_storage_plan.py"),
    "retrieve/resolution": ("tests/retrieve/test_resolution.py",),
    "retrieve/search": ("tests/retrieve/test_search.py", "tests/retrieve/test_resolution.py"),
    "retrieve/stragglers": ("tests/retrieve/test_stragglers.py",),
    "retrieve/tally": _ROUNDS,
    "storage/directory_check": _FILES,
    "storage/durability": _FILES,
    "storage/failed_flushes": ("tests/storage/test_failed_flushes.py", "tests/simulated/test_writer.py"),
    "storage/index/database": ("tests/storage/index",),
    "storage/index/examination": ("tests/storage/index", *_PLACES),
    "storage/index/flat": ("tests/storage/index",),
    "storage/index/index": ("tests/storage/index", "tests/storage/test_ledger.py"),
    "storage/index/states": ("tests/storage/index",),
    "storage/ledger": ("tests/storage/test_ledger.py",),
    "storage/manifest_lines": ("tests/storage/test_manifest_lines.py",),
    "storage/naming": _FILES,
    "storage/writer": (
        *(*_FILES, *_PLACES),
        *("tests/storage/test_failed_flushes.py", "tests/storage/test_leftovers.py"),
    ),
}
"""Module -> its tests."""

_SLOW: Final = ("orthanc", "qrscp", "[server", "-server")
"""In the name of a test: it starts a server for each mutant."""
_NOTICED: Final = 1
"""Exit code of a run in which a test failed."""
_UNPATCHED: Final = 3
"""Exit code of a run without a failure, in which no function was changed."""
_EXAMPLES: Final = 40
"""Examples of a property."""
_LARGE: Final = 12
"""Elements of a table from which on its numbers are not changed."""


class Mutant(NamedTuple):
    """A changed module. ``function``: qualified name of the function that is changed, empty for the module's own."""

    line: int
    function: str
    before: str
    after: str
    code: types.CodeType

    def __str__(self) -> str:
        return f"{self.line}: {self.function or 'module'}: {_difference(self.before, self.after)}"


# -- changes -----------------------------------------------------------------------------------------------------------

_SWAPPED: Final[dict[type[ast.AST], tuple[type[Any], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,),
    ast.FloorDiv: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
_CALLS: Final = {
    "any": "all",
    "all": "any",
    "min": "max",
    "max": "min",
    "issubset": "issuperset",
    "isdisjoint": "__eq__",
}
_SPEAKS: Final = frozenset(("_log", "print", "quoted", "warn"))


def _replacements(node: ast.AST) -> Iterator[ast.AST | None]:  # noqa: PLR0912 - as above
    """Yield what may stand in a node's place; None: nothing at all."""
    match node:
        case ast.Compare(ops=[op], left=left, comparators=right):
            for other in _SWAPPED.get(type(op), ()):
                yield ast.Compare(left, [other()], right)
        case ast.Compare(ops=[first, second]):
            for at, op in enumerate((first, second)):
                for other in _SWAPPED.get(type(op), ()):
                    ops = list(node.ops)
                    ops[at] = other()
                    yield ast.Compare(node.left, ops, node.comparators)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for at in range(len(values)):
                rest = values[:at] + values[at + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if not _is_text(left) and not _is_text(right):
            for other in _SWAPPED.get(type(op), ()):
                yield ast.BinOp(left, other(), right)
            if isinstance(op, (ast.BitOr, ast.Add, ast.Sub)):
                yield left
                yield right
        case ast.AugAssign(target=target, op=op, value=value):
            for other in _SWAPPED.get(type(op), ()):
                yield ast.AugAssign(target, other(), value)
            yield ast.Pass()
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Constant(value=str() as text) if " " not in text:
            yield ast.Constant(f"XX{text}")
        case ast.Constant(value=bytes() as data):
            yield ast.Constant(b"XX" + data)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.If(test=test, body=body, orelse=orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
            yield ast.If(ast.Constant(value=False), body, orelse)
            if orelse:
                yield ast.If(test, body, [])
        case ast.While(test=test, body=body) if not isinstance(test, ast.Constant):
            yield ast.While(ast.Constant(value=False), body, [])
        case ast.comprehension(target=target, iter=source, ifs=ifs, is_async=is_async):
            for at, one in enumerate(ifs):
                rest = ifs[:at] + ifs[at + 1 :]
                yield ast.comprehension(target, source, rest, is_async)
                yield ast.comprehension(target, source, [*rest, ast.UnaryOp(ast.Not(), one)], is_async)
        case ast.Return(value=value) if value is not None and not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Raise() | ast.Assert() | ast.Delete():
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
            yield ast.Pass()
        case ast.ExceptHandler(type=type_, name=name) if type_ is not None:
            yield ast.ExceptHandler(type_, name, [ast.Raise()])
        case ast.Call(func=func, args=args, keywords=keywords):
            called = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
            if called in _CALLS:
                other_func: ast.expr = (
                    ast.Name(_CALLS[called], ast.Load())
                    if isinstance(func, ast.Name)
                    else ast.Attribute(func.value, _CALLS[called], ast.Load())  # type: ignore[attr-defined]
                )
                yield ast.Call(other_func, args, keywords)
            for at in range(len(keywords)):
                if keywords[at].arg not in (None, "key", "default", "hint", "maxsize", "tags"):
                    yield ast.Call(func, args, keywords[:at] + keywords[at + 1 :])


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_for_people(node: ast.AST) -> bool:
    """Return True for what only says something: docstrings, log lines, errors' words, text, types."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in _SPEAKS
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Assign(targets=[ast.Name(id="TYPE_CHECKING")]):
            return True
        case ast.keyword(arg=name):
            return name == "hint"
        case ast.Assert():  # for the type checker
            return True
    return False


def _changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, Any, ast.AST, ast.AST | None, str]]:
    """Yield (parent, field, index, node, replacement, function) for each change of a module."""

    def of(parent: ast.AST, function: str, path: str, *, spoken: bool) -> Iterator[Any]:
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "type_comment", "ctx", "op", "ops"):
                continue
            for index, node in enumerate(value) if isinstance(value, list) else ((None, value),):
                if not isinstance(node, ast.AST) or _is_for_people(node):
                    continue
                if isinstance(value, list) and len(value) > _LARGE and isinstance(node, (ast.Constant, ast.Tuple)):
                    continue
                words = spoken or (isinstance(parent, ast.Raise) and isinstance(node, ast.Call))
                if not (words and isinstance(node, (ast.Constant, ast.Call))):
                    for other in _replacements(node):
                        yield parent, field, index, node, other, function
                inner, name = function, path
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    name = f"{path}.{node.name}".strip(".")
                    if node.name == "__repr__":
                        continue
                    yield from of_parts(node, function, path, name, spoken=words)
                    continue
                if isinstance(node, ast.ClassDef):
                    name = f"{path}.{node.name}".strip(".")
                if isinstance(node, ast.Lambda):
                    inner = function or f"{path}.<lambda>".strip(".")
                yield from of(node, inner, name, spoken=words)

    def of_parts(node: Any, function: str, path: str, name: str, *, spoken: bool) -> Iterator[Any]:
        body = ast.Module(node.body, [])  # its list is the function's own
        yield from of(body, function or name, name, spoken=spoken)
        yield from of(node.args, function, path, spoken=spoken)  # defaults are no part of it

    yield from of(tree, "", "", spoken=False)


def mutants_of(file: Path) -> Iterator[Mutant]:
    """Yield the mutants of a module."""
    tree = ast.parse(file.read_text())
    for parent, field, index, node, other, function in list(_changes(tree)):
        held = getattr(parent, field)
        new = other if other is None else ast.fix_missing_locations(ast.copy_location(copy.copy(other), node))
        before = _words(node)
        if index is None:
            setattr(parent, field, new)
        else:
            held[index] = new
        try:
            code = compile(tree, str(file), "exec", dont_inherit=True)
        except SyntaxError:
            continue
        finally:
            if index is None:
                setattr(parent, field, held)
            else:
                held[index] = node
        line = getattr(node, "lineno", 0) or getattr(getattr(node, "target", None), "lineno", 0)
        yield Mutant(line, function, before, _words(new), code)


def _difference(before: str, after: str) -> str:
    """Return both texts, less most of what is equal at their beginnings and ends."""
    first = max(_shared(before, after) - 30, 0)
    last = max(_shared(before[:first:-1], after[:first:-1]) - 30, 0)
    cut = [f"{'...' * bool(first)}{one[first : len(one) - last]}{'...' * bool(last)}" for one in (before, after)]
    return "  ->  ".join(cut)


def _shared(one: str, other: str) -> int:
    """Return the number of characters with which both texts begin."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _words(node: ast.AST | None) -> str:
    if node is None:
        return "nothing"
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}{' else' if node.orelse else ''}"
    if isinstance(node, ast.comprehension):
        return f"for {ast.unparse(node.target)} ..." + "".join(f" if {ast.unparse(one)}" for one in node.ifs)
    return " ".join(ast.unparse(node).split())


# -- in place of the real one ------------------------------------------------------------------------------------------


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield one
            yield from _codes(one)


def functions_of(file: str) -> list[types.FunctionType]:
    """Return the functions of a file that this process has."""
    gc.collect()
    every = (one for one in gc.get_objects() if isinstance(one, types.FunctionType))
    return [one for one in every if one.__code__.co_filename == file]


def caches_of(file: str) -> list[Any]:
    """Return the cached functions of a file that this process has."""
    every = (one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper))
    return [one for one in every if one.__wrapped__.__code__.co_filename == file]


def patch(code: types.CodeType, functions: Iterable[types.FunctionType]) -> bool:
    """Give the functions of an imported module the code of a mutant; return True if one has changed."""
    new = {(one.co_qualname, one.co_firstlineno): one for one in _codes(code)}
    changed = False
    for function in functions:
        own = function.__code__
        other = new.get((own.co_qualname, own.co_firstlineno))
        if other is not None and other != own:
            with contextlib.suppress(ValueError):  # other free variables
                function.__code__ = other
                changed = True
    return changed


def patch_from(path: str) -> None:
    """Patch a process that was not forked from the test run."""
    import marshal

    gc.unfreeze()
    code = marshal.loads(Path(path).read_bytes())  # noqa: S302 - written by this program
    patch(code, functions_of(code.co_filename))


def record(file: str, path: str) -> None:
    """Append the functions of a file that are entered, one a line, to another file, as they are."""
    seen: set[types.CodeType] = set()
    out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def profile(frame: types.FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename == file and code not in seen:
            seen.add(code)
            os.write(out, f"{_outermost(code.co_qualname)}\n".encode())

    sys.setprofile(profile)
    threading.setprofile(profile)


def _outermost(name: str) -> str:
    return name.partition(".<locals>")[0]


# -- the tests ---------------------------------------------------------------------------------------------------------


class _Failures:
    """Notes failed tests."""

    def __init__(self) -> None:
        self.failed = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.failed |= report.failed


class Mutation:
    """A plugin of pytest: in place of the tests, all mutants of a module."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name = name
        self.file = SOURCE / f"{name}.py"
        self.processes: int = options.processes
        self.again = _survivors_of(name) if options.again else frozenset[str]()
        self.sample: int = options.sample
        self.budget: float = options.budget
        self.longest: float = options.longest
        self.until = time.monotonic() + options.seconds
        self.failures = _Failures()
        self.functions: list[types.FunctionType] = []
        self.caches: list[Any] = []
        self.survivors: list[str] = []
        self.at_import: set[str] = set()
        """Functions that run when the module is imported, and in no test."""
        self.noticed = self.untested = self.skipped = 0
        self.folder = Path(tempfile.mkdtemp(prefix="mutants."))

    @staticmethod
    def pytest_configure(config: Any) -> None:
        """Know the markers of the plugins that are left out."""
        config.addinivalue_line("markers", "xdist_group(name): tests for one worker")

    def pytest_collection(self, session: Any) -> None:
        """Have properties tried with fewer examples, and none made smaller."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)  # no shrinking
        suite = settings.get_profile("suite")
        settings.register_profile("mutants", suite, phases=phases, database=None, max_examples=_EXAMPLES)
        settings.load_profile("mutants")
        session.config.pluginmanager.register(self.failures)

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the mutants in place of the tests."""
        import forked

        forked.make_ready()
        importlib.import_module(f"movescu.{self.name.replace('/', '.')}")  # which may be imported late
        self.functions, self.caches = functions_of(str(self.file)), caches_of(str(self.file))
        tests = self._tests(session)
        print(f"{self.name}: {len({one for every in tests.values() for one in every})} tests", flush=True)
        self.at_import = self._entered_at_import() - tests.keys()
        gc.freeze()
        mutants = [one for one in mutants_of(self.file) if one.function]
        mutants.sort(key=lambda one: one.function.endswith("__init__"))  # which every test enters
        total = len(mutants)
        if self.again:
            mutants = [one for one in mutants if str(one) in self.again]
        if 0 < self.sample < len(mutants):
            mutants = [mutants[number * len(mutants) // self.sample] for number in range(self.sample)]
        every = [item for item, _ in dict.fromkeys(one for own in tests.values() for one in own)]
        unchanged = compile(self.file.read_text(), str(self.file), "exec", dont_inherit=True)
        _, status = os.waitpid(self._fork(lambda: self._run(session, every, unchanged, self.folder), self.folder), 0)
        if os.waitstatus_to_exitcode(status) != _UNPATCHED:
            raise SystemExit(f"{self.name}: tests fail without a change, one after the other in one process")
        running: dict[int, tuple[Mutant, float, Path]] = {}
        for number, mutant in enumerate(mutants):
            if time.monotonic() > self.until:
                mutants = mutants[:number]
                break
            own = tests.get(mutant.function, [])
            if mutant.function in self.at_import:
                continue
            if not own:
                self.untested += 1
                self.survivors.append(f"{mutant}  (no test)")
                continue
            while len(running) >= self.processes:
                self._reap(running)
            limit = 5.0 + 6.0 * sum(seconds for _, seconds in own)
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            pid = self._fork(lambda: self._run(session, [item for item, _ in own], mutant.code, folder), folder)  # noqa: B023
            running[pid] = mutant, time.monotonic() + limit, folder
        self.skipped = total - len(mutants)
        while running:
            self._reap(running)
        shutil.rmtree(self.folder, ignore_errors=True)
        return True

    def _fork(self, work: Any, folder: Path) -> int:
        sys.stdout.flush()
        if pid := os.fork():
            return pid
        code = 2
        try:
            os.setpgid(0, 0)
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nothing, number)
            os.environ["TMPDIR"] = str(folder)
            tempfile.tempdir = None
            code = work()
        finally:
            os._exit(code)

    def _tests(self, session: Any) -> dict[str, list[tuple[Any, float]]]:
        """Return the tests that enter each function, with their seconds, the quickest first."""
        entered = self.folder / "entered"

        def work() -> int:
            found: dict[int, tuple[list[str], float]] = {}
            self._in_commands(f"mutants.record({str(self.file)!r}, {str(entered)!r})")
            quick = (
                one for one in enumerate(session.items) if not any(word in one[1].nodeid.lower() for word in _SLOW)
            )
            for number, item in quick:
                entered.unlink(missing_ok=True)
                self.failures.failed = False
                before = time.monotonic()
                record(str(self.file), str(entered))
                self._run_item(session, item)
                sys.setprofile(None)
                threading.setprofile(None)
                seconds = time.monotonic() - before
                names = entered.read_text().split() if entered.exists() else []
                if not self.failures.failed and seconds < self.longest:
                    found[number] = names, seconds
            (self.folder / "tests").write_bytes(pickle.dumps(found))
            return 0

        os.waitpid(self._fork(work, self.folder), 0)
        found = pickle.loads((self.folder / "tests").read_bytes())  # noqa: S301 - written above
        cached = {one.__wrapped__.__qualname__ for one in self.caches}  # one test alone enters them
        tests: dict[str, list[tuple[Any, float]]] = {}
        for number, (names, seconds) in sorted(found.items(), key=lambda one: one[1][1]):
            for name in set(names) | (cached if names else set()):
                own = tests.setdefault(name, [])
                if sum(taken for _, taken in own) + seconds <= self.budget:
                    own.append((session.items[number], seconds))
        return tests

    def _entered_at_import(self) -> set[str]:
        """Return the functions of the module that run when it is imported."""
        entered = self.folder / "at_import"
        program = (
            f"import sys; sys.path.append({str(ROOT / 'tools')!r}); import mutants, importlib; "
            f"mutants.record({str(self.file)!r}, {str(entered)!r}); "
            f"importlib.import_module('movescu.{self.name.replace('/', '.')}')"
        )
        subprocess.run([sys.executable, "-c", program], check=True)
        return set(entered.read_text().split())

    @staticmethod
    def _run_item(session: Any, item: Any) -> None:
        session._setupstate.teardown_exact(None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    @staticmethod
    def _in_commands(program: str) -> None:
        """Have the commands that tests run begin with a line of Python."""
        import forked

        start, first = (
            forked.start,
            f"import sys; sys.path.append({str(ROOT / 'tools')!r}); import mutants; {program}\n",
        )
        forked.start = lambda text, *rest: start(first + text, *rest)

    def _run(self, session: Any, items: Sequence[Any], code: types.CodeType, folder: Path) -> int:
        import marshal

        session.config._tmp_path_factory._basetemp = folder
        (folder / "code").write_bytes(marshal.dumps(code))
        changed = patch(code, self.functions)
        for one in self.caches:
            one.cache_clear()
        self._in_commands(f"mutants.patch_from({str(folder / 'code')!r})")
        for item in items:
            self._run_item(session, item)
            if self.failures.failed:
                return _NOTICED
        return 0 if changed else _UNPATCHED

    def _reap(self, running: dict[int, tuple[Mutant, float, Path]]) -> None:
        """Wait for the end of a mutant."""
        while True:
            for pid, (mutant, limit, folder) in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                late = time.monotonic() > limit
                if not done and not late:
                    continue
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                if not done:
                    os.waitpid(pid, 0)
                del running[pid]
                shutil.rmtree(folder, ignore_errors=True)
                code = os.waitstatus_to_exitcode(status) if done else _NOTICED
                if code < 0 or code == _NOTICED:
                    self.noticed += 1
                else:
                    self.survivors.append(f"{mutant}{'' if code == 0 else '  (not tried)'}")
                return
            time.sleep(0.002)


def _result_file(name: str) -> Path:
    return ROOT / "mutants" / f"{name.replace('/', '.')}.txt"


def _survivors_of(name: str) -> frozenset[str]:
    """Return the survivors that the last run found."""
    lines = _result_file(name).read_text().splitlines()[1:]
    return frozenset(line.removesuffix("  (no test)").removesuffix("  (not tried)") for line in lines)


def _main_in_function(name: str, options: argparse.Namespace) -> None:
    import pytest

    plugin = Mutation(name, options)
    tests = [str(ROOT / one) for one in MODULES[name]]
    pytest.main(["-q", "--no-header", "--no-summary", "-s", "-p", "no:xdist", *tests], plugins=[plugin])
    survivors, noticed, skipped = plugin.survivors, plugin.noticed, plugin.skipped
    if options.tables:
        for one in _tables(name, plugin):
            survivors.append(one)
        noticed = plugin.noticed
    total = noticed + len(survivors)
    lines = [f"{name}: {noticed} of {total} noticed" + (f", {skipped} not tried" if skipped else ""), *survivors]
    text = "\n".join(lines) + "\n"
    _result_file(name).parent.mkdir(exist_ok=True)
    _result_file(name).write_text(text)
    print(text, flush=True)


# -- what is not in a function -----------------------------------------------------------------------------------------


def _tables(name: str, plugin: Mutation) -> Iterator[str]:
    """Yield the survivors among the mutants of a module's own code, each in a test run of its own."""
    every = enumerate(mutants_of(plugin.file))
    own = [(number, one) for number, one in every if not one.function or one.function in plugin.at_import]
    if plugin.again:
        own = [(number, one) for number, one in own if str(one) in plugin.again]
    running: list[tuple[Mutant, subprocess.Popen[bytes], float]] = []

    def reap(most: int) -> Iterator[str]:
        while len(running) > most:
            for entry in list(running):
                mutant, process, limit = entry
                if process.poll() is None and time.monotonic() < limit:
                    continue
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                running.remove(entry)
                if process.wait():
                    plugin.noticed += 1
                else:
                    yield str(mutant)
            time.sleep(0.01)

    for number, mutant in own:
        if time.monotonic() > plugin.until:
            plugin.skipped += 1
            continue
        yield from reap(plugin.processes - 1)
        arguments = [sys.executable, __file__, "--table", name, str(number)]
        process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=ROOT
        )
        running.append((mutant, process, time.monotonic() + 120.0))
    yield from reap(0)


def _run_table(name: str, number: int) -> int:
    """Run a module's tests with one of its mutants."""
    import pytest

    mutants = list(mutants_of(SOURCE / f"{name}.py"))
    wanted = f"movescu.{name.replace('/', '.')}"
    real = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, fullname: str) -> Any:
        return mutants[number].code if fullname == wanted else real(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    tests = [str(ROOT / one) for one in MODULES[name] if "interop" not in one and "simulated" not in one]
    return int(pytest.main(["-x", "-q", *tests])) if tests else 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the mutants of some modules."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="such as retrieve/judgement; default: all")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=600.0, help="time for one module (default: 600)")
    parser.add_argument("--sample", type=int, default=0, help="mutants of functions to try, spread (default: all)")
    parser.add_argument("--again", action="store_true", help="try what survived the last run, from mutants/, alone")
    parser.add_argument("--budget", type=float, default=25.0, help="seconds of tests for a mutant (default: 25)")
    parser.add_argument("--longest", type=float, default=4.0, help="seconds; longer tests are left out (default: 4)")
    parser.add_argument("--no-tables", dest="tables", action="store_false", help="leave out what needs a new import")
    parser.add_argument("--table", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    os.environ.setdefault("MOVESCU_LIES", "15")
    if options.table:
        raise SystemExit(_run_table(options.table[0], int(options.table[1])))
    names = options.modules or list(MODULES)
    if len(names) == 1:
        _main_in_function(names[0], options)
        return
    for name in names:  # a process for each: what one test run imports, the next has not
        given = ("processes", "seconds", "sample", "budget", "longest")
        flags = [word for one in given for word in (f"--{one}", str(getattr(options, one)))]
        flags += ["--again"] * options.again
        subprocess.run(
            [sys.executable, __file__, name, *flags, *([] if options.tables else ["--no-tables"])], check=False
        )


if __name__ == "__main__":
    main()
