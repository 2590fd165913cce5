"""What the documents say is true: their examples run, their options exist, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import documents
import peers
import pytest

import movescu
from movescu.cli.docs.manual import EXIT_CODES, manual_page
from movescu.cli.exit_codes import ExitCode
from movescu.cli.options.command_line import parse
from movescu.cli.options.table import NAMES, OPTIONS
from movescu.cli.options.wishes import Wish
from movescu.testing import Archive
from movescu.testing.demo_objects import write_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0  # seconds; an example that takes longer hangs
SITES = documents.only(documents.ROOT / "docs" / "index.md", "toml")

PAGES_WITH_EXAMPLES = [page for page in documents.PAGES if documents.runnable(page)]


def page_name(page: Path) -> str:
    return page.name


# -- examples ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dicom_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The objects that the examples retrieve, as ``python -m movescu.testing --demo`` serves them."""
    folder = tmp_path_factory.mktemp("archive")
    write_objects(folder)
    return folder


SHELLS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "zsh": ["zsh", "-fc"],
    "fish": ["fish", "-Nc"],
    "python": [sys.executable, "-W", "error", "-c"],
}
"""Language of a block -> what runs it."""
SET_UP = {"zsh": "autoload -Uz compinit; compinit -u -D; "}


class Ran(NamedTuple):
    """What a block came to."""

    code: int
    output: str


class Surroundings:
    """A folder with what examples find in it, and an archive; ``adapted`` puts its address into a text."""

    def __init__(self, folder: Path, archive: Archive, own_port: int, more_ports: dict[int, int]) -> None:
        self.folder = folder
        self.sites = folder / ".config" / "movescu" / "sites.toml"
        self._places = [
            (r"\b4242\b", str(archive.port)),
            (r"\b11112\b", str(own_port)),
            *((rf"\b{number}\b", str(port)) for number, port in more_ports.items()),
        ]
        self._background = [
            (r"movescu\.testing --demo", "movescu.testing --demo --port 4242 --destination ME=127.0.0.1:11112"),
            (r"\b4242\b", "0"),  # not that of the archive of the page
        ]
        (folder / "examples").symlink_to(documents.ROOT / "examples")
        self._started: list[subprocess.Popen[str]] = []
        # Ours alone: beside it, pynetdicom has programs with the names of DCMTK's.
        self._programs = folder / "bin"
        self._programs.mkdir()
        for name in ("movescu", "movescu-py", "python", "python3"):
            script = self._programs / name
            script.write_text(f'#!/bin/sh\nexec {Path(sys.executable).parent / name} "$@"\n')
            script.chmod(0o755)

    def adapted(self, text: str) -> str:
        for place, content in self._places:
            text = re.sub(place, content, text)
        return text

    def run(self, block: documents.Block) -> Ran:
        """Run a block to its end, or one of the background until it has put out a line."""
        if block.mark == "background":
            return Ran(0, self._start(block))
        with self._process(block, self.adapted(block.text)) as process:
            try:
                output, _ = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        return Ran(process.returncode, output)

    def _start(self, block: documents.Block) -> str:
        text = block.text
        for place, content in self._background:
            text = re.sub(place, content, text)
        process = self._process(block, f"exec {self.adapted(text)}")
        self._started.append(process)
        assert process.stdout
        return "".join(process.stdout.readline() for _ in range(1 + ("--demo" in text)))

    def _process(self, block: documents.Block, text: str) -> subprocess.Popen[str]:
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [*SHELLS[block.language], SET_UP.get(block.language, "") + text],
            cwd=self.folder,
            env={"PATH": path, "HOME": str(self.folder), "PYTHONWARNINGS": "error"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def close(self) -> None:
        """End what runs in the background."""
        for process in self._started:
            with process:
                process.terminate()


@pytest.fixture
def surroundings(tmp_path: Path, dicom_files: Path) -> Iterator[Surroundings]:
    for name in ("dicom-files", "folder/of/dicom/files"):
        shutil.copytree(dicom_files, tmp_path / name)
    own_port = peers.free_port()
    with Archive(ae_title="WORKSTATION") as third_party:
        destinations = {"ME": ("127.0.0.1", own_port), "WORKSTATION": (third_party.host, third_party.port)}
        workers = {11113: peers.free_port(), 11114: peers.free_port()}
        destinations |= {f"WORKER{number - 11112}": ("127.0.0.1", port) for number, port in workers.items()}
        with Archive(dicom_files, destinations, ae_title="ARCHIVE") as archive:
            result = Surroundings(tmp_path, archive, own_port, workers)
            result.sites.parent.mkdir(parents=True)
            result.sites.write_text(result.adapted(SITES))
            yield result
            result.close()


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
