"""What the documents say is true: their examples run, their options exist, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import documents
import peers
import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGExtended12Bit

from movescu.cli.docs.manual import EXIT_CODES, manual_page
from movescu.cli.exit_codes import ExitCode
from movescu.cli.options.command_line import ShowCompletion, ShowHelp, ShowTLS, ShowVersion, parse
from movescu.cli.options.table import NAMES, OPTIONS
from movescu.testing import Archive

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
    """The objects that the examples retrieve: three CT of two studies, and a study that is compressed."""
    folder = tmp_path_factory.mktemp("archive")
    for uid in ("1.2.3.1.1", "1.2.3.1.2", "1.2.4.1.1"):
        save(folder, Dataset(), uid, CTImageStorage, ExplicitVRLittleEndian)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values in the sample file that are none of ours
        lossy = pydicom.dcmread(Path(pydicom.data.__file__).parent / "test_files" / "JPEG-lossy.dcm")
        save(folder, lossy, "1.2.5.1.1", CTImageStorage, JPEGExtended12Bit)
    return folder


def save(folder: Path, dataset: Dataset, uid: str, sop_class: str, syntax: str) -> None:
    parts = uid.split(".")
    dataset.AccessionNumber, dataset.Modality = f"A100{parts[2]}", "CT"
    dataset.PatientID = "PAT001" if parts[2] in "34" else "PAT002"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = ".".join(parts[:3]), ".".join(parts[:4])
    dataset.SOPInstanceUID, dataset.SOPClassUID = uid, sop_class
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.save_as(folder / uid, enforce_file_format=True)


class Surroundings:
    """A folder with what examples find in it, and an archive; ``adapted`` puts its address into a text."""

    def __init__(self, folder: Path, archive: Archive, own_port: int) -> None:
        self.folder = folder
        self._places = [
            (r"\barchive\.example\.org port 1\b", f"{archive.host} port 1"),
            (r"\barchive\.example\.org\b", archive.host),
            (r"\b104\b", str(archive.port)),
            (r"\b11112\b", str(own_port)),
        ]

    def adapted(self, text: str) -> str:
        for place, content in self._places:
            text = re.sub(place, content, text)
        return text

    def run(self, block: documents.Block) -> subprocess.CompletedProcess[str]:
        python = [sys.executable, "-W", "error", "-c"]
        command = python if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [*command, self.adapted(block.text)],
            check=False,
            cwd=self.folder,
            env={"PATH": path, "HOME": str(self.folder), "PYTHONWARNINGS": "error"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )


@pytest.fixture
def surroundings(tmp_path: Path, dicom_files: Path) -> Iterator[Surroundings]:
    for name in ("dicom-files", "folder/of/dicom/files"):
        shutil.copytree(dicom_files, tmp_path / name)
    own_port = peers.free_port()
    with Archive(ae_title="WORKSTATION") as third_party:
        destinations = {"ME": ("127.0.0.1", own_port), "WORKSTATION": (third_party.host, third_party.port)}
        with Archive(dicom_files, destinations, ae_title="ARCHIVE") as archive:
            result = Surroundings(tmp_path, archive, own_port)
            sites = tmp_path / ".config" / "movescu" / "sites.toml"
            sites.parent.mkdir(parents=True)
            sites.write_text(result.adapted(SITES))
            yield result


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=page_name)
def test_examples_of_a_page_do_what_it_says(page: Path, surroundings: Surroundings) -> None:
    for block, pieces in documents.runnable(page):
        ran = surroundings.run(block)
        assert ran.returncode == block.code, f"{block.text}\n{ran.stdout}"
        missing = [piece for piece in pieces if surroundings.adapted(piece) not in ran.stdout]
        assert not missing, f"{block.text}\n{ran.stdout}"


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
        except (ShowHelp, ShowVersion, ShowCompletion, ShowTLS):
            continue
        assert settings.peer.startswith("archive"), arguments


@pytest.mark.parametrize("page", documents.PAGES, ids=page_name)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    assert documents.options_named(page) <= set(NAMES)


def test_page_of_options_is_up_to_date() -> None:
    page = documents.ROOT / "docs" / "options.md"
    assert page.read_text(encoding="utf-8") == tool("make_options_page").page(), "run tools/make_options_page.py"


def test_page_of_the_library_is_up_to_date() -> None:
    page = documents.ROOT / "docs" / "api.md"
    assert page.read_text(encoding="utf-8") == tool("make_api_page").page(), "run tools/make_api_page.py"


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
    listed = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", contents, re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in documents.PAGES[1:])


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


def test_manual_page_is_installed_with_the_package(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=documents.ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        [page] = [name for name in archive.namelist() if name.endswith(".data/data/share/man/man1/movescu.1")]
        assert archive.read(page).decode() == manual_page()
        names = set(archive.namelist())
    assert {f"movescu/cli/docs/data/completion.{shell}" for shell in ("bash", "zsh", "fish")} < names
