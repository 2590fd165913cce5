"""Make the page of the library, ``docs/api.md``, from the docstrings of its public names.

The docstrings are read from the source, because those below the fields of a class do not exist at run time.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from movescu.cohort.admission import PATIENCE
from movescu.dimse import PRIORITY_MEDIUM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    _Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "api.md"

PLACES: Final = (
    ("Retrieving", "movescu", "cohort.client", ("Client",)),
    ("Finding", "movescu", "query.match", ("Match",)),
    ("Choosing what is retrieved", "movescu", "query.selection", ("Selection",)),
    ("A retrieve under way", "movescu", "retrieve.handle", ("Retrieve",)),
    ("Studies and series of a retrieve", "movescu", "retrieve.parts", ("Part",)),
    ("On asyncio", "movescu", "cohort.async_client", ("AsyncClient", "AsyncRetrieve")),
    ("Settings", "movescu", "retrieve.config", ("AE", "Timeouts", "Retry", "Receive", "Request")),
    ("Transfer syntaxes", "movescu", "dictionary.uids", ("TransferSyntax",)),
    ("TLS", "movescu", "transport.tls", ("TLSOptions",)),
    ("User identity", "movescu", "ul.user_information", ("UserIdentity",)),
    ("Keys", "movescu", "query.python_keys", ("Keys",)),
    ("Result", "movescu", "retrieve.result", ("Result",)),
    ("Judgement", "movescu", "retrieve.judgement", ("Judgement", "Outcome", "Reason")),
    ("Responses", "movescu", "services.move", ("MoveResponse",)),
    ("Collecting the files of workers", "movescu", "cohort.cluster.collection", ("collect", "Collected")),
    ("Sinks", "movescu", "storage.sinks", ("Directory", "Memory", "OnBytes", "OnDataset", "Sink")),
    ("Encoding of files", "movescu", "dataset.encoding", ("Encoding", "GroupLength")),
    ("Receivers of a sink", "movescu", "storage.incoming_object", ("Incoming", "ObjectReceiver")),
    ("Durability", "movescu", "storage.durability", ("Durability",)),
    (
        "Events",
        "movescu.events",
        "events",
        (
            *("AssociationEvent", "ObjectEvent", "ResponseEvent", "FallbackEvent", "RetryEvent", "EntryEvent"),
            *("EndEvent", "EntryState", "as_json"),
        ),
    ),
    ("An archive for tests", "movescu.testing", "testing.archive", ("Archive",)),
    ("Faults of that archive", "movescu.testing", "testing.faults", ("Faults", "Ending")),
    ("Refusals of that archive", "movescu.testing", "testing.slots", ("Refusal",)),
    ("Errors", "movescu.errors", "errors", ()),
)
"""Heading, module from which users import the names, module that defines them, and the names; () for all."""

INHERITED: Final = {"Client": ("retrieve.client", "ArchiveClient", ("open", "close", "port", "echo"))}
"""Class -> module and name of its base, which is not public, and the members of that which are."""

INTERNAL: Final = {
    "AE": ("unchecked",),
    "Encoding": ("keeps_padding",),
    "Faults": ("drops", "fails", "breaks_off"),
    "Incoming": ("context", "prefix", "request"),
    "MoveResponse": ("status_class",),
    "Part": ("place",),
    "Result": ("evidence",),
    "Retrieve": (
        *("moving", "started", "is_delivered", "start", "settle", "requests", "observe", "run", "request", "conclude"),
    ),
    "Selection": ("conditions", "everything", "resolves", "chooses", "text", "options"),
    "UserIdentity": ("encode",),
}
"""Class -> members that are for this package's other modules; so is every ``check``, which a constructor calls."""

DEFAULTS: Final = {
    "NO_FAULTS": "Faults()",
    "PATIENCE": PATIENCE,
    "PRIORITY_MEDIUM": PRIORITY_MEDIUM,
    "RetrieveBy.MOVE": "'move'",
    "UNCOMPRESSED": "...",
    "_CANONICAL": "Encoding()",
}
"""Names of defaults that are not public -> what the page shows instead."""

_MADE_HERE: Final = ("Retrieve", "AsyncRetrieve", "Match", "Incoming", "Reason")
"""Classes whose instances only the library makes."""

_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_KINDS: Final = ("TypedDict", "Record", "Struct", "ArchiveClient", "_Event")
"""Bases that the page does not show."""

HEAD: Final = """\
<!-- Made by tools/make_api_page.py; do not edit. -->

# Library

A study to a folder takes three lines:

```python
from movescu import AE, Client

with Client(AE("localhost", 4242, title="ARCHIVE"), ae_title="ME", listen=11112) as client:
    result = client.retrieve({"StudyInstanceUID": "1.2.3"})
```

A port with settings of its own is a `Receive`, here one that accepts compressed objects too:

```python
from movescu import Client, Receive

with Client("ARCHIVE@localhost:4242", ae_title="ME", listen=Receive(11112, transfer_syntaxes="all")) as client:
    print(client.retrieve({"StudyInstanceUID": "1.2.5"}))
```

<!-- output -->
```text
<Result complete: stored=1>
```

## What is public

The names in `movescu.__all__`, and those of `movescu.errors`, `movescu.events` and `movescu.testing`, are public; of
their members, those on this page. Everything else, in whatever module it can be found, may change in any version.

From 1.0 on, a public name goes in three steps: a release in which it still works and raises `DeprecationWarning` with
the name to use instead, kept for at least two minor versions and a year; a major version without it; and a line in the
changelog for both. A new parameter has a default that leaves behaviour as it was. A new error class is a subclass of
the one that was raised before. Before 1.0, names go without notice.

"""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD + _about("cohort.client"), *(part for place in PLACES for part in _section(*place))])


def _source(module: str) -> ast.Module:
    return ast.parse((ROOT / "src" / "movescu" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))


def _about(module: str) -> str:
    return f"{_prose(ast.get_docstring(_source(module)) or '')}\n"


def _section(heading: str, public: str, module: str, names: tuple[str, ...]) -> Iterator[str]:
    yield f"## {heading}\n"
    tree = _source(module)
    if module in ("errors", "events"):
        yield _about(module)
    nodes = {name: (node, following) for node, following in _pairs(tree.body) for name in _names(node)}
    for name in names or nodes:
        node, following = nodes[name]
        yield from _entry(f"{public}.{name}", node, following)


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt | None]]:
    yield from zip(body, (*body[1:], None), strict=True)


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        names = [node.name]
    elif isinstance(node, ast.AnnAssign):
        names = [ast.unparse(node.target)]
    else:
        names = []
    yield from (name for name in names if not name.startswith("_"))


def _entry(title: str, node: ast.stmt, following: ast.stmt | None) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        yield f"### {title}\n"
        if bases := ", ".join(ast.unparse(base) for base in node.bases if ast.unparse(base) not in _KINDS):
            yield f"A kind of `{bases}`.\n"
        yield from _constructor(node)
        yield from _doc(node)
        yield from _members(node)
    elif isinstance(node, ast.FunctionDef):
        yield f"### {title}\n"
        yield f"```text\n{_signature(node)}\n```\n"
        yield from _doc(node)
    elif isinstance(node, ast.AnnAssign):
        yield f"### {title}\n"
        yield f"`{_unquoted(node.value)}`\n"
        yield from _below(following)


def _constructor(node: ast.ClassDef) -> Iterator[str]:
    """Yield the constructor's signature, if the fields do not show it."""
    made = next((m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"), None)
    if made is not None and not node.name.endswith("Error") and node.name not in _MADE_HERE:
        signature = re.sub(r"^__init__\(self(, )?", f"{node.name}(", _signature(made))
        yield f"```text\n{signature.partition(' ->')[0]}\n```\n"


def _members(node: ast.ClassDef) -> Iterator[str]:
    """Yield a list of fields and properties, and an entry for each method."""
    rows = []
    members = [*_inherited(node.name), *_pairs(node.body)]
    for member, following in members:
        if isinstance(member, ast.AnnAssign):
            default = f" = {ast.unparse(member.value)}" if member.value is not None else ""
            text = " ".join(_below(following)).strip()
            rows.append(
                (_with_defaults(f"{ast.unparse(member.target)}: {ast.unparse(member.annotation)}{default}"), text)
            )
        elif isinstance(member, ast.Assign):
            rows.append((ast.unparse(member), " ".join(_below(following)).strip()))
        elif isinstance(member, ast.FunctionDef) and _is_property(member):
            returns = ast.unparse(member.returns) if member.returns else ""
            rows.append((f"{member.name}: {returns}", " ".join(_doc(member)).strip()))
    internal = {"check", *INTERNAL.get(node.name, ())}
    rows = [(name, text) for name, text in rows if not name.startswith("_") and name.partition(":")[0] not in internal]
    if rows:
        lines = (f"- `{name}`" + (f": {' '.join(text.split())}" if text else "") for name, text in rows)
        yield "\n".join(lines) + "\n"
    for member, _ in members:
        if isinstance(member, _FUNCTIONS) and not _is_property(member):
            if member.name.startswith("_") or member.name in internal:
                continue
            yield f"#### {node.name}.{member.name}\n"
            yield f"```text\n{_signature(member)}\n```\n"
            yield from _doc(member)


def _inherited(name: str) -> Iterator[tuple[ast.stmt, ast.stmt | None]]:
    """Yield the public members that a class has from a base that is not public."""
    if name not in INHERITED:
        return
    module, base, members = INHERITED[name]
    [node] = (one for one in _source(module).body if isinstance(one, ast.ClassDef) and one.name == base)
    for member, following in _pairs(node.body):
        if isinstance(member, ast.FunctionDef) and member.name in members:
            yield member, following


def _is_property(node: _Function) -> bool:
    return any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)


def _signature(node: _Function) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    awaited = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return _with_defaults(f"{awaited}{node.name}({ast.unparse(node.args)}){returns}")


def _doc(node: ast.ClassDef | _Function) -> Iterator[str]:
    if text := ast.get_docstring(node):
        yield f"{_prose(text)}\n"


def _below(node: ast.stmt | None) -> Iterator[str]:
    """Yield the docstring below a field, if there is one."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        yield f"{_prose(node.value.value)}\n"


def _unquoted(node: ast.expr | None) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node) if node else ""


def _with_defaults(text: str) -> str:
    names = "|".join(map(re.escape, DEFAULTS))
    return re.sub(rf"(= ?)({names})\b", lambda found: f"{found[1]}{DEFAULTS[found[2]]}", text)


def _prose(text: str) -> str:
    """Convert reStructuredText's double back quotes to Markdown."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.name)
