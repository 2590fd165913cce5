"""What the documents say is true: their examples run, their options exist, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_args

import documents
import peers
import pytest
from surroundings import SITES, Surroundings, surroundings_of

import movescu
from movescu.cli.docs.manual import EXIT_CODES, manual_page
from movescu.cli.exit_codes import ExitCode
from movescu.cli.options.command_line import parse
from movescu.cli.options.table import NAMES, OPTIONS
from movescu.cli.options.wishes import Wish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES_WITH_EXAMPLES = [page for page in documents.PAGES if documents.runnable(page)]


def page_name(page: Path) -> str:
    return page.name


# -- examples ------------------------------------------------------------------------------------------------------


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[Surroundings]:
    with surroundings_of(tmp_path) as result:
        for name in ("dicom-files", "folder/of/dicom/files"):
            shutil.copytree(result.objects, tmp_path / name)
        yield result


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=page_name)
def test_examples_of_a_page_do_what_it_says(page: Path, surroundings: Surroundings) -> None:
    if page.name == "index.md":  # it makes the site
        surroundings.sites.unlink()
    for block, pieces in documents.runnable(page):
        if block.needs and shutil.which(block.needs) is None:
            continue
        ran = surroundings.run(block)
        assert ran.code == block.code, f"{block.text}\n{ran.output}"
        missing = [piece for piece in pieces if surroundings.adapted(piece) not in ran.output]
        assert not missing, f"{block.text}\n{ran.output}"


@pytest.mark.parametrize("page", documents.PAGES, ids=page_name)
def test_every_command_of_a_page_is_run_by_a_test(page: Path) -> None:
    for block in documents.blocks(page):
        if block.mark == "elsewhere":
            assert not block.note.startswith("tests/") or (documents.ROOT / block.note).exists(), block.note
        elif block.language not in ("text", "toml", "json", "csv", "ini", ""):
            assert block.is_run, block.text


def test_pages_that_teach_have_examples_that_run() -> None:
    assert {"README.md", "index.md", "recipes.md", "find.md", "troubleshooting.md"} <= {
        page.name for page in PAGES_WITH_EXAMPLES
    }


UNIT = re.compile(r"`[^`\n]*/([\w-]+\.(?:service|timer))`:\n\n```ini\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_systemd_accepts_the_units_of_the_pages(tmp_path: Path) -> None:
    peers.require("systemd-analyze")
    units = [unit for page in documents.PAGES for unit in UNIT.findall(page.read_text(encoding="utf-8"))]
    assert len(units) == sum(block.language == "ini" for page in documents.PAGES for block in documents.blocks(page))
    for name, text in units:  # their programs are not here
        (tmp_path / name).write_text(re.sub("^(ExecStart=)[^ \n]*", r"\1/bin/true", text, flags=re.MULTILINE))
    files = [str(tmp_path / name) for name, _ in units]
    ran = subprocess.run(["systemd-analyze", "verify", *files], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


# -- command lines and options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", documents.PAGES, ids=page_name)
def test_every_command_line_of_a_page_is_one(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "movescu").mkdir()
    (tmp_path / "movescu" / "sites.toml").write_text(SITES)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for arguments in documents.command_lines(page):
        try:
            settings = parse(arguments)
        except Wish:
            continue
        if not (settings.status or settings.check_files or settings.collect):  # which need none
            assert settings.peer.startswith(("archive", "localhost")), arguments


@pytest.mark.parametrize("page", documents.PAGES, ids=page_name)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    assert documents.options_named(page) <= set(NAMES)


def test_page_of_options_is_up_to_date() -> None:
    page = documents.ROOT / "docs" / "options.md"
    assert page.read_text(encoding="utf-8") == tool("make_options_page").page(), "run tools/make_options_page.py"


def test_page_of_the_library_is_up_to_date() -> None:
    page = documents.ROOT / "docs" / "api.md"
    assert page.read_text(encoding="utf-8") == tool("make_api_page").page(), "run tools/make_api_page.py"


def test_page_of_the_library_has_every_public_name() -> None:
    headings = set(re.findall("^#+ (.*)$", (documents.ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    public = {f"movescu.{name}" for name in movescu.__all__} - {f"movescu.{name}" for name in _MODULES}
    public |= {f"movescu.testing.{name}" for name in movescu.testing.__all__}
    public |= {f"movescu.events.{kind.__name__}" for kind in get_args(movescu.events.Event)}
    public |= {f"AsyncClient.{name}" for name in ("find", "retrieve", "retrieve_many")}
    assert public <= headings, public - headings


_MODULES = ("errors", "events", "testing")


def test_every_exit_code_is_explained() -> None:
    rows = re.findall(r"^\| (\d+) \|", (documents.ROOT / "docs" / "exit-codes.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == sorted(ExitCode)
    assert sorted(EXIT_CODES) == sorted(ExitCode)


def tool(name: str) -> Any:  # a module that is no part of a package
    spec = importlib.util.spec_from_file_location(name, documents.ROOT / "tools" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- links ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", documents.PAGES, ids=page_name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    assert not [target for target in documents.links(page) if not (page.parent / target).exists()]


def test_every_page_can_be_reached_from_the_contents() -> None:
    contents = (documents.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- .+: (\S+\.md)$", contents, re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in documents.PAGES[1:])


def test_every_link_within_the_pages_leads_to_a_heading() -> None:
    dead = []
    for page in documents.PAGES:
        for target, heading in documents.anchors(page):
            aim = page if not target else (page.parent / target).resolve()
            if aim.suffix == ".md" and heading not in documents.headings(aim):
                dead.append(f"{page.name}: {target}#{heading}")
    assert not dead


def test_pages_have_no_spelling_mistake() -> None:
    pytest.importorskip("codespell_lib")
    pages = [str(page) for page in (*documents.PAGES, documents.ROOT / "CHANGELOG.md", documents.ROOT / "SECURITY.md")]
    command = [sys.executable, "-m", "codespell_lib", *pages]
    ran = subprocess.run(command, cwd=documents.ROOT, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout + ran.stderr


# -- the manual page -----------------------------------------------------------------------------------------------

MANUAL = documents.ROOT / "docs" / "movescu.1"


def test_manual_page_is_up_to_date() -> None:
    assert MANUAL.read_text(encoding="utf-8") == manual_page(), "run tools/make_manual.py"


@pytest.mark.parametrize(
    "reader",
    [
        ("man", "--warnings", "-E", "UTF-8", "-l"),
        ("groff", "-man", "-Tutf8", "-ww"),
        ("mandoc", "-T", "lint", "-W", "warning"),
    ],
    ids=lambda reader: reader[0],
)
def test_reader_of_manual_pages_has_no_complaint(reader: tuple[str, ...]) -> None:
    if shutil.which(reader[0]) is None:
        pytest.skip(f"{reader[0]} is not installed")
    ran = subprocess.run([*reader, str(MANUAL)], check=False, capture_output=True, text=True)
    complaints = ran.stderr if reader[0] != "mandoc" else ran.stdout
    assert not [line for line in complaints.splitlines() if "missing date" not in line]


def test_manual_page_shows_every_option_as_it_is_typed() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    ran = subprocess.run(["groff", "-man", "-Tascii", "-P-c", str(MANUAL)], check=True, capture_output=True, text=True)
    shown = re.sub(".\b", "", ran.stdout)
    for option in OPTIONS:
        names = ", ".join(name for name in (option.short, option.long) if name)
        assert re.search(rf"^ +{re.escape(names)}(?= |$)", shown, re.MULTILINE), names
