"""The pages' ways to install, from wheels of this environment: what is installed then retrieves and has its manual."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import documents
import pytest
import wheelhouse
from release import WHEEL, built
from surroundings import surroundings_of

from movescu._runtime import version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from surroundings import Surroundings

BLOCKS = [
    block
    for page in documents.PAGES
    for block in documents.blocks(page)
    if block.note == f"tests/{Path(__file__).name}"
]
SOURCES = ("src", "docs", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
PLACES = (".local", "environment", ".venvs/movescu")
"""Below the home directory or the current one: where programs are installed, in ``bin``."""

pytestmark = pytest.mark.xdist_group("installation")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release, and the wheels of everything that it and its extras need."""
    for tool in ("hatchling", "pipx", "uv"):
        pytest.importorskip(tool)
    folder = tmp_path_factory.mktemp("packages")
    built(folder / "dist", documents.ROOT)
    wheels = folder / "wheels"
    wheels.mkdir()
    wheelhouse.make(wheels, "movescu[report,cluster]", "hatchling", "pip", "setuptools")
    return folder


@pytest.fixture
def surroundings(tmp_path: Path, packages: Path) -> Iterator[Surroundings]:
    with surroundings_of(tmp_path) as made:
        made.add_programs("pipx", "uv", "uvx")
        wheels = str(packages / "wheels")
        made.variables = {"HOME": str(tmp_path)}
        made.variables |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels}
        made.variables |= {"UV_NO_CONFIG": "1", "UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_FIND_LINKS": wheels}
        made.variables |= {"UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy"}
        for name in (WHEEL, "movescu.pyz"):
            shutil.copy(packages / "dist" / name, tmp_path)
        for name in SOURCES:
            (tmp_path / name).symlink_to(documents.ROOT / name)
        yield made


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.text.splitlines()[0].split("#")[0].strip())
def test_installed_command_retrieves(block: documents.Block, surroundings: Surroundings) -> None:
    folder = surroundings.folder
    ran = surroundings.run(block)
    assert ran.code == 0, ran.output
    if "--version" in block.text:
        assert f"movescu {version.VERSION}" in ran.output
    if "--check" in block.text:
        assert "archive" in ran.output
    installed = [folder / place for place in PLACES if (folder / place / "bin" / "movescu").exists()]
    assert len(installed) == ("install " in block.text), "one, but for what runs without"
    for place in installed:
        words = "-S -aet ME --port 11112 -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.3 ARCHIVE@localhost:4242"
        page = ["--html", str(folder / "page.html")] * ("[report" in block.text)
        retrieved = folder / "retrieved"
        retrieved.mkdir()
        command = [str(place / "bin" / "movescu"), *surroundings.adapted(words).split(), *page]
        subprocess.run(command, check=True, env=surroundings.variables, cwd=retrieved)
        assert [*retrieved.glob("CT.*")]
        assert (folder / "page.html").exists() == bool(page)
        if not block.text.startswith("uv "):  # it installs no manual page
            assert manual_of(place / "bin") == (place / "share/man/man1/movescu.1").resolve()


def manual_of(programs: Path) -> Path:
    """The file that ``man`` shows to those who have a folder of programs on their path."""
    path = os.pathsep.join([str(programs), *os.get_exec_path()])
    command = ["man", "-w", "movescu"]
    shown = subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": path})
    return Path(shown.stdout.strip())
