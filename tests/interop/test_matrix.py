"""Kinds of keys x modes x archives: exactly the matching objects, with the right exit code.

``matrix`` has the three tables and the rule for what a retrieve brings. Every two choices of two tables meet in a test;
``MATRIX=full`` runs every combination, in two minutes.
"""

from __future__ import annotations

import csv
import os
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import corpus
import matrix
import peers
import pytest
from command import movescu
from pydicom import dcmread

from movescu.cli.exit_codes import ExitCode
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from _pytest.mark import ParameterSet
    from command import Outcome
    from matrix import Cell, Position

    Destinations = dict[str, tuple[str, int]]

FULL = os.environ.get("MATRIX") == "full"
CELLS = matrix.ALL if FULL else matrix.SAMPLE


class Place(NamedTuple):
    """A running archive, and its objects by position."""

    address: tuple[str, int]
    aet: str
    made: dict[Position, corpus.Instance]
    port: int

    def names(self) -> dict[str, str]:
        """Return what keys may name: the second patient, and UIDs by position."""
        uids = {"patient": self.made[2, 0, 0].patient_id}
        for (study, series, number), one in self.made.items():
            uids[f"{study}"] = one.study_uid
            uids[f"{study}.{series}"] = one.series_uid
            uids[f"{study}.{series}.{number}"] = one.instance_uid
        return uids

    def run(self, cell: Cell, folder: Path, code: int | None) -> Outcome:
        _, kind, mode = cell
        keys = [_filled(key, self.names()) for key in kind.keys]
        given = [f"QueryRetrieveLevel={kind.level}"]
        options: list[object] = [kind.model, *mode.options, "-aec", self.aet, "+P", self.port]
        if mode.listed:
            options += ["--list", _write_list(folder.parent / "list.csv", keys)]
        else:
            given += keys
        options += [part for key in given for part in ("-k", key)]
        return movescu(*options, *self.address, folder=folder, code=code)


def _filled(key: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        key = key.replace(f"{{{name}}}", value)
    return key


def _write_list(path: Path, keys: list[str]) -> Path:
    """Write keys as a list: an entry for each value of the last one."""
    names, values = zip(*(key.split("=", 1) for key in keys), strict=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *([*values[:-1], value] for value in values[-1].split("\\"))])
    return path


def make(folder: Path) -> dict[Position, corpus.Instance]:
    """Write the objects: series of CT, and one of MR in study 0; the studies are A1 to A4, of 2020 to 2023."""
    made = corpus.make_study(
        folder,
        patients=matrix.PATIENTS,
        studies=matrix.STUDIES,
        series=matrix.SERIES,
        instances=matrix.OBJECTS,
        size=2000,
    )
    placed: dict[Position, corpus.Instance] = dict(zip(matrix.POSITIONS, made, strict=True))
    for (study, series, _), one in placed.items():
        dataset = dcmread(one.path)
        dataset.AccessionNumber, dataset.StudyDate = f"A{study + 1}", f"{2020 + study}0101"
        dataset.PatientName = "Doe^Jane" if study < matrix.STUDIES else "Roe^Richard"
        dataset.Modality = "MR" if (study, series) == (0, 1) else "CT"
        dataset.save_as(one.path)
    return placed


SERVERS: dict[str, Callable[[Destinations], AbstractContextManager[peers.Peer]]] = {
    "Orthanc": lambda destinations: peers.orthanc(destinations, tcp_nodelay=True),
    "Orthanc with LimitFindInstances": lambda destinations: peers.orthanc(
        destinations, {"LimitFindInstances": 1}, tcp_nodelay=True
    ),
    "dcmqrscp": lambda destinations: peers.dcmqrscp(destinations, tcp_nodelay=True),
    "qrscp": peers.qrscp,
}


@contextmanager
def filled(name: str, folder: Path) -> Iterator[Place]:
    made, port = make(folder), peers.free_port()
    destinations = {"MOVESCU": (peers.HOST, port)}
    if name == "movescu.testing":
        with Archive(folder, destinations) as running:
            yield Place((running.host, running.port), running.ae_title, made, port)
        return
    with SERVERS[name](destinations) as peer:
        peer.load(corpus.paths(made.values()))
        yield Place(peer.address, peer.aet, made, port)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Place]]:
    """Return archives by name, each started when it is first wanted."""
    started: dict[str, Place] = {}
    with ExitStack() as stack:

        def place(name: str) -> Place:
            if name not in started:
                started[name] = stack.enter_context(filled(name, tmp_path_factory.mktemp("made")))
            return started[name]

        yield place


def marked(cell: Cell) -> ParameterSet:
    """Return a cell as a parameter: one worker runs all cells of an archive."""
    marks = [pytest.mark.xdist_group(f"matrix {cell.archive.name}")]
    if cell.archive.name == "qrscp":
        marks.append(pytest.mark.pynetdicom_sender)
    if cell.archive.limit:
        marks.append(pytest.mark.debian_12("orthanc"))
    if cell.left_out:
        marks.append(pytest.mark.skip(reason=f"{cell.archive.name}: {cell.left_out}"))
    return pytest.param(cell, marks=marks, id=cell.name)


@pytest.fixture
def received(tmp_path: Path) -> Path:
    folder = tmp_path / "received"
    shutil.rmtree(folder, ignore_errors=True)  # of a first run, if this one repeats it
    folder.mkdir()
    return folder


def named(outcome: Outcome) -> set[str]:
    return {name for name in outcome.files if not name.startswith(".")}


@pytest.mark.parametrize("cell", [marked(cell) for cell in CELLS if not cell.sent])
@pytest.mark.sampled(5)
def test_retrieve_brings_the_matching_objects_and_no_other(
    cell: Cell, places: Callable[[str], Place], received: Path
) -> None:
    place = places(cell.archive.name)
    wanted = {f"CT.{place.made[position].instance_uid}": place.made[position] for position in cell.kind.positions}
    earlier = {received / name for name in sorted(wanted)[:1] if cell.mode.resumed}
    for path in earlier:
        shutil.copy(wanted[path.name].path, path)
        os.utime(path, (0, 0))
    outcome = place.run(cell, received, cell.code)
    assert named(outcome) == wanted.keys()
    requested_again = {path for path in earlier if path.stat().st_mtime}
    assert cell.is_cut_short or not requested_again
    if cell.kind.name == "ignored":
        assert ("the archive ignores StudyStatusID" in outcome.log) == cell.archive.ignores


@pytest.mark.parametrize("cell", [marked(cell) for cell in CELLS if cell.sent])
def test_plain_retrieve_by_keys_that_c_move_does_not_allow_ends_with_a_documented_code(
    cell: Cell, places: Callable[[str], Place], received: Path
) -> None:
    """What arrives is the archive's choice; the full matrix holds the document to what these versions choose."""
    place = places(cell.archive.name)
    outcome = place.run(cell, received, None)
    assert outcome.code in set(ExitCode) - {ExitCode.INTERNAL_ERROR}
    names = {position: f"CT.{one.instance_uid}" for position, one in place.made.items()}
    every, matching, came = set(names.values()), {names[one] for one in cell.kind.positions}, named(outcome)
    what = "nothing" if not came else "matching" if came == matching else "all" if came == every else "some others"
    if FULL:
        assert (what, outcome.code) == cell.sent, "update matrix.SENT"
