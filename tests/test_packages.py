"""The packages of a release: what is in them, that they run, and that the same sources make the same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import corpus
import documents
import peers
import pytest
from components import needed
from release import SDIST, WHEEL, built, run

from movescu._runtime import version
from movescu.cli.docs.completion import completion_text
from movescu.cli.docs.manual import manual_page
from movescu.testing import Archive

PLACES = {
    "bash": "bash-completion/completions/movescu",
    "zsh": "zsh/site-functions/_movescu",
    "fish": "fish/vendor_completions.d/movescu.fish",
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release, made once: it takes three seconds."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("release") / "dist"
    built(folder, documents.ROOT)
    return folder


pytestmark = pytest.mark.xdist_group("packages")


def test_wheel_has_manual_page_and_completions_of_both_names(release: Path) -> None:
    with ZipFile(release / WHEEL) as wheel:
        share = f"movescu-{version.VERSION}.data/data/share"
        assert wheel.read(f"{share}/man/man1/movescu.1").decode() == manual_page()
        assert wheel.read(f"{share}/man/man1/movescu-py.1").decode() == ".so man1/movescu.1\n"
        for shell, place in PLACES.items():
            assert wheel.read(f"{share}/{place}").decode() == completion_text(shell)
            assert f"movescu/cli/docs/data/completion.{shell}" in wheel.namelist()
        for other in (f"{PLACES['bash']}-py", "fish/vendor_completions.d/movescu-py.fish"):
            assert f"{share}/{other}" in wheel.namelist()
        commands = wheel.read(f"movescu-{version.VERSION}.dist-info/entry_points.txt").decode()
    assert "movescu = movescu.cli.main:run" in commands
    assert "movescu-py = movescu.cli.main:run" in commands


SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.2 has no filters


def test_sources_of_a_release_make_the_same_bytes(release: Path, tmp_path: Path) -> None:
    """From the unpacked sdist, whose files have other dates and another folder."""
    with tarfile.open(release / SDIST) as sdist:
        sdist.extractall(tmp_path, **SAFELY)  # noqa: S202 - made just before
    sources = tmp_path / SDIST.removesuffix(".tar.gz")
    again = built(tmp_path / "dist", sources)
    assert [name for name, data in again.items() if data != (release / name).read_bytes()] == []


def test_package_runs_from_an_archive(release: Path, tmp_path: Path) -> None:
    """A wheel can be imported without unpacking it; data files are then no files."""
    from_wheel = {"PYTHONPATH": str(release / WHEEL)}
    assert run("-P", "-m", "movescu", "--version", folder=tmp_path, **from_wheel).startswith("movescu ")
    words = run("-P", "-m", "movescu", "--completion", "keywords", folder=tmp_path, **from_wheel).split()
    assert "StudyInstanceUID" in words


def test_zip_application_retrieves_with_nothing_but_python(release: Path, tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, instances=2, size=2048)
    there = tmp_path / "there"
    there.mkdir()
    port = peers.free_port()
    with Archive(str(made[0].path.parent), {"ME": (peers.HOST, port)}) as archive:
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={made[0].study_uid}"]
        own = ["-aet", "ME", "-aec", archive.ae_title, "+P", port, "-od", there]
        # -I and -S: none of this environment's packages
        start = ["-I", "-S", release / "movescu.pyz", "-S"]
        run(*start, *keys, *own, archive.host, archive.port, folder=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert len([*there.iterdir()]) == len(made)
    [unpacked] = (tmp_path / "cache" / "movescu").iterdir()
    assert {"movescu", "pydicom", "rich"} <= {path.name for path in unpacked.iterdir()}


def test_zip_application_shows_thumbnails_where_python_has_the_packages(release: Path, tmp_path: Path) -> None:
    """The process that decodes finds the modules of the application, which are on no path of its Python."""
    others = tmp_path / "others"
    others.mkdir()
    for name in ("jinja2", "markupsafe", "numpy", "PIL"):
        spec = find_spec(name)  # of [report]
        assert spec
        assert spec.submodule_search_locations
        place = spec.submodule_search_locations[0]
        (others / name).symlink_to(place)
    for libraries in Path(place).parent.glob("*.libs"):
        (others / libraries.name).symlink_to(libraries)
    made = corpus.make_study(tmp_path, size=2048)
    port = peers.free_port()
    with Archive(str(made[0].path.parent), {"ME": (peers.HOST, port)}) as archive:
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={made[0].study_uid}"]
        own = ["-aet", "ME", "-aec", archive.ae_title, "+P", port, "--html", "page.html", "--thumbnails"]
        variables = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(others)}
        start = ["-S", release / "movescu.pyz", "-S"]
        run(*start, *keys, *own, archive.host, archive.port, folder=tmp_path, **variables)
    assert "data:image/jpeg;base64," in (tmp_path / "page.html").read_text()


def test_bill_of_materials_names_what_the_zip_application_has(release: Path) -> None:
    bill = json.loads((release / "movescu.spdx.json").read_text())
    packages = {package["name"]: package for package in bill["packages"]}
    assert {name: package["versionInfo"] for name, package in packages.items()} == {
        name: one.version for name, one in needed().items()
    }
    assert {"pydicom", "rich"} <= packages.keys()
    assert all(package["licenseDeclared"] != "NOASSERTION" for package in packages.values())
    assert bill["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    with ZipFile(release / "movescu.pyz") as application:
        licences = [name for name in application.namelist() if "licen" in name.lower()]
    assert len(licences) >= len(packages)


def test_release_passes_the_checks_of_the_index(release: Path) -> None:
    twine, contents = shutil.which("twine"), shutil.which("check-wheel-contents")
    if twine is None or contents is None:
        pytest.skip("make dist installs twine and check-wheel-contents, and runs them")
    subprocess.run([twine, "check", "--strict", release / WHEEL, release / SDIST], check=True)
    subprocess.run([contents, release / WHEEL], check=True)
