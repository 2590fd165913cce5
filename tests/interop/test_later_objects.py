"""What arrives or happens later does not undo unseen what a run has proven, and destroys no file of an earlier run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import corpus
import peers
import pytest
import scripted
from command import PATIENCE, movescu, running
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from movescu import Client, Directory
from movescu.dictionary.uids import TRANSFER_SYNTAXES
from movescu.errors import IncompleteError
from movescu.storage.layout.template import apart
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from corpus import Instance

MR = "1.2.840.10008.5.1.4.1.1.4"
TWO = "does not count: two different objects have this UID"
ELSEWHERE = "its file is not the object that the archive lists, but one of another study or series"


class Room:
    """Folders, and our port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received, self.made = folder / "received", folder / "made"
        self.received.mkdir()
        self.made.mkdir()
        self.port = peers.free_port()

    def make(self, **counts: int) -> list[Instance]:
        return corpus.make_study(self.made, size=2000, **counts)

    def variant(self, one: Instance, old: str, new: str) -> Instance:
        """Return another version of an object; the two texts are of one length."""
        path = self.made / f"other-{one.path.name}"
        path.write_bytes(one.path.read_bytes().replace(old.encode(), new.encode()))
        return one._replace(path=path)

    def with_values(self, one: Instance, **values: str) -> Instance:
        """Return an object with other values by keyword."""
        data = dcmread(one.path)
        for keyword, value in values.items():
            setattr(data, keyword, value)
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        path = self.made / f"with-{data.SOPInstanceUID}-{one.path.name}"
        data.save_as(path)
        return one._replace(path=path, instance_uid=str(data.SOPInstanceUID))

    def send(self, *sent: Instance) -> list[int]:
        with scripted.sender(self.port, sent) as sender:
            return [sender.store(one) for one in sent]

    def rows(self, *lines: str) -> Path:
        path = self.folder / "rows.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, script: scripted.Script, *options: object, code: int, then: tuple[scripted.Script, ...] = ()) -> str:
        """Run our command against an archive; ``then``: the scripts of further associations."""
        with scripted.archive(script, *then) as archive:
            return movescu(
                *("-S", "+P", self.port, *options, "--linger", 0, *archive.address), folder=self.received, code=code
            ).log

    def retrieve(self, listed: list[Instance], sent: list[Instance], *options: object, code: int) -> str:
        """Retrieve the study of an object from an archive that lists some objects, and sends others."""

        def script(session: scripted.Session) -> None:
            session.accept()
            session.serve_finds(listed)
            stored = sum(status == 0 for status in self.send(*sent))
            session.respond(completed=len({one.instance_uid for one in sent}) if stored == len(sent) else stored)
            session.serve_finds(listed)

        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={listed[0].study_uid}"]
        return self.run(script, *keys, *options, code=code)

    @property
    def files(self) -> dict[str, bytes]:
        paths = (path for path in self.received.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path.relative_to(self.received)): path.read_bytes() for path in paths}


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@contextmanager
def side_by_side(script: scripted.Script) -> Iterator[tuple[str, int]]:
    """Serve every association by a script, each in its own thread; yield the address."""
    errors: list[BaseException] = []

    def serve(sock: socket.socket) -> None:
        try:
            with sock:
                script(scripted.Session(sock))
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            errors.append(error)

    def accept() -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(sock,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listening.getsockname()
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# -- after the end of an entry ---------------------------------------------------------------------------------------


@pytest.mark.row("112")
def test_other_content_for_an_ended_entry_makes_that_entry_incomplete(room: Room) -> None:
    first, *others = made = room.make(studies=3)
    other_first = room.variant(first, "Test^Patient", "Real^Patient")
    both, sent = threading.Barrier(2), threading.Event()
    rows = room.rows("StudyInstanceUID", *(one.study_uid for one in made))
    report = room.folder / "report.json"

    def script(session: scripted.Session) -> None:
        session.accept()
        while session.serve_finds(made) is not None:
            one = next(one for one in made if one.study_uid.encode() in session.identifier)
            if one is not first:
                both.wait(scripted.PATIENCE)  # the first entry has ended
                if one is others[0]:
                    room.send(other_first)
                    sent.set()
                assert sent.wait(scripted.PATIENCE)
            room.send(one)
            session.respond(completed=1)

    options = ["-S", "+P", room.port, "--jobs", 2, "--list", rows, "--report", report, "--linger", 0]
    options += ["--durable", "object"]  # without a flush to wait for, the first entry has ended
    with side_by_side(script) as address:
        log = movescu(*options, *address, folder=room.received, code=63).log
    assert f"entry 1: incomplete: SOP instance {first.instance_uid} {TWO}" in log
    assert "3 entries: 2 complete, 1 partial" in log
    told = json.loads(report.read_text())["entries"]
    assert [entry["state"] for entry in told] == ["partial", "complete", "complete"]
    assert told[0]["missing"] == 1

    def again(session: scripted.Session) -> None:
        session.accept()
        session.serve_finds(made)

    options = ["-S", "-v", "+P", room.port, "--list", rows, "--resume"]
    with scripted.archive(again) as archive:
        log = movescu(*options, *archive.address, folder=room.received).log
    assert "the archive lists" in log  # the journal does not call the first entry complete


@pytest.mark.row("112")
def test_object_that_no_entry_requested_gets_one_warning(room: Room) -> None:
    *made, foreign = room.make(studies=3)
    both, sent = threading.Barrier(2), threading.Event()

    def script(session: scripted.Session) -> None:
        session.accept()
        while session.serve_finds(made) is not None:
            both.wait(scripted.PATIENCE)
            one = next(one for one in made if one.study_uid.encode() in session.identifier)
            if one is made[0]:
                room.send(foreign, foreign)
                sent.set()
            assert sent.wait(scripted.PATIENCE)
            room.send(one)
            session.respond(completed=1)

    rows = room.rows("StudyInstanceUID", *(one.study_uid for one in made))
    with side_by_side(script) as address:
        options = ["-S", "+P", room.port, "--jobs", 2, "--list", rows, "--linger", 0]
        log = movescu(*options, *address, folder=room.received).log
    warning = f"1 object arrived that no running entry had requested: SOP instance {foreign.instance_uid}"
    assert log.count(foreign.instance_uid) == 1
    assert warning in log


class Spoiling(list["Instance"]):
    """A list for C-FIND; something happens when it is first read, which is after the request has arrived."""

    def __init__(self, made: list[Instance], spoil: Callable[[], object]) -> None:
        super().__init__(made)
        self._spoils = [spoil]

    def __iter__(self) -> Iterator[Instance]:
        while self._spoils:
            self._spoils.pop()()
        return super().__iter__()


@pytest.mark.row("113")
@pytest.mark.parametrize("options", [[], ["--resume"], ["--layout", "study", "--resume"]], ids=" ".join)
@pytest.mark.parametrize("how", ["deleted", "cut"])
def test_second_entry_of_a_chain_looks_at_the_disk(room: Room, options: list[str], how: str) -> None:
    made = room.make(instances=2)
    one = made[0]
    header = "StudyInstanceUID,SeriesInstanceUID,QueryRetrieveLevel"
    rows = room.rows(header, f"{one.study_uid},,STUDY", f"{one.study_uid},{one.series_uid},SERIES")
    again = []

    def spoil() -> None:
        (path,) = room.received.rglob(f"*{one.instance_uid}*")
        if how == "deleted":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:600])

    def script(session: scripted.Session) -> None:
        session.accept()
        session.serve_finds(made)
        room.send(*made)
        session.respond(completed=2)
        spoiling = Spoiling(made, spoil)
        while session.serve_finds(spoiling) is not None:
            again.append(room.send(one))
            session.respond(completed=1)

    log = room.run(script, *options, "--list", rows, code=0)
    assert again == [[0]]
    assert "two different" not in log
    assert len(room.files) == 2
    assert min(map(len, room.files.values())) > 2000


# -- two objects of one UID ------------------------------------------------------------------------------------------


@pytest.mark.row("112")
@pytest.mark.sampled(1)
@pytest.mark.parametrize("journal", [True, False])
def test_object_that_another_run_has_replaced_is_requested_again_by_resume(room: Room, journal: bool) -> None:
    first, second, *_ = room.make(studies=2)
    rows = [room.folder / name for name in ("first", "second")]
    for path, one in zip(rows, (first, second), strict=True):
        path.write_text(f"{one.study_uid}\n")
    plain = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={second.study_uid}"]
    with Archive(room.made, {"MOVESCU": (peers.HOST, room.port)}) as archive:
        moved = room.with_values(first, StudyInstanceUID=second.study_uid)
        common = ["-S", "+P", room.port, archive.host, archive.port]
        movescu("--list", rows[0], *common, folder=room.received)
        archive._index.add(moved.path)
        outcome = movescu(*(("--list", rows[1]) if journal else plain), *common, folder=room.received)
        if journal:
            assert f"entry StudyInstanceUID={first.study_uid} of another list is incomplete now" in outcome.log
            assert "1 complete, 1 partial" in movescu("--status", room.received, folder=room.received).output
        archive._index.add(first.path)
        movescu("--list", rows[0], *common, "--resume", folder=room.received)
    assert dcmread(room.received / f"CT.{first.instance_uid}").StudyInstanceUID == first.study_uid


@pytest.mark.row("112")
@pytest.mark.parametrize("first_ends", [True, False])
def test_object_that_a_run_beside_this_one_replaces_is_no_success(room: Room, first_ends: bool) -> None:
    first, second, third = room.make(studies=3)
    moved = room.with_values(first, StudyInstanceUID=second.study_uid)
    lists = [room.folder / name for name in ("first", "second")]
    lists[0].write_text(f"{first.study_uid}\n{third.study_uid}\n")
    lists[1].write_text(f"{second.study_uid}\n")
    replaced, ended, port = threading.Event(), threading.Event(), peers.free_port()

    def one(session: scripted.Session) -> None:
        session.accept()
        while session.serve_finds([first, third]) is not None:
            own = next(one for one in (first, third) if one.study_uid.encode() in session.identifier)
            assert own is first or replaced.wait(PATIENCE)
            room.send(own)
            session.respond(completed=1)

    def other(session: scripted.Session) -> None:
        session.accept()
        while session.serve_finds([moved, second]) is not None:
            with scripted.sender(port, [moved, second]) as sender:
                assert sender.store(moved) == 0
                if first_ends:
                    replaced.set()
                    assert ended.wait(PATIENCE)
                assert sender.store(second) == 0
            session.respond(completed=2)

    with ExitStack() as stack:
        archives = [stack.enter_context(scripted.archive(script)).address for script in (one, other)]
        common = [
            ("-S", "-v", "--durable", "object", "--list", *row)
            for row in zip(lists, ("+P",) * 2, (room.port, port), strict=True)
        ]
        run = stack.enter_context(running(*common[0], *archives[0], folder=room.received))
        run.await_log(f"StudyInstanceUID={first.study_uid}): complete")
        beside = stack.enter_context(running(*common[1], *archives[1], folder=room.received))
        if first_ends:
            outcome = run.end()
            ended.set()
            assert beside.end().code == 0
        else:
            assert beside.end().code == 0
            replaced.set()
            outcome = run.end()
    outcome.hold_to(63)
    assert "another object of this UID has replaced it" in outcome.log
    assert "2 entries: 1 complete, 1 partial" in outcome.log
    assert "2 complete, 1 partial" in movescu("--status", room.received, folder=room.received).output


def test_program_is_told_that_an_ended_entry_has_lost_its_object_to_another(room: Room) -> None:
    first, second = made = room.make(studies=2)
    other_first = room.variant(first, "Test^Patient", "Real^Patient")

    associations: list[None] = []

    def script(session: scripted.Session) -> None:
        session.accept()
        associations.append(None)
        if len(associations) > 1:  # the second entry is doubtful: is the archive still there?
            session.answer_echo()
        while session.serve_finds(made) is not None:
            one = next(one for one in made if one.study_uid.encode() in session.identifier)
            room.send(*([other_first] if one is second else []), one)
            session.respond(completed=1)

    rows: list[dict[str, object]] = [{"StudyInstanceUID": one.study_uid} for one in made]
    to = Directory(room.received, durability="object")  # the first entry ends before the second is requested
    with side_by_side(script) as (host, port), Client(f"A@{host}:{port}", listen=room.port, to=to) as client:
        results = client.retrieve_many(rows)
        earlier = next(results)
        assert not isinstance(earlier, Exception)
        assert earlier.complete
        next(results)
        with pytest.raises(IncompleteError, match=f"entry 1: SOP instance {first.instance_uid} {TWO}"):
            next(results)


@pytest.mark.row("82")
@pytest.mark.parametrize("options", [["--verify"], ["--verify", "--resume"]], ids=" ".join)
def test_second_version_that_arrives_twice_is_still_another_object(room: Room, options: list[str]) -> None:
    (one,) = made = room.make()
    other = room.variant(one, "Test^Patient", "Real^Patient")
    assert f"{one.instance_uid} {TWO}" in room.retrieve(made, [one, other, other], *options, code=63)


@pytest.mark.row("82")
@pytest.mark.parametrize("layout", ["flat", "{SOPClassUID}/{SOPInstanceUID}"])
def test_one_uid_in_two_sop_classes_is_no_success(room: Room, layout: str) -> None:
    (one,) = made = room.make()
    other = room.variant(one, "1.2.840.10008.5.1.4.1.1.2\0", f"{MR}\0")._replace(sop_class_uid=MR)
    log = room.retrieve(made, [one, other], "--verify", "--layout", layout, code=63)
    assert f"{one.instance_uid} {TWO}" in log


@pytest.mark.row("82")
@pytest.mark.parametrize("options", [[], ["--resume"], ["--resume", "--verify"]], ids=" ".join)
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_object_listed_in_two_series_of_a_list_is_no_success(room: Room, options: list[str], layout: str) -> None:
    one, second = room.make(series=2)
    other = room.variant(second, second.instance_uid, one.instance_uid)._replace(instance_uid=one.instance_uid)
    header = "StudyInstanceUID,SeriesInstanceUID"
    rows = room.rows(header, *(f"{each.study_uid},{each.series_uid}" for each in (one, other)))

    def script(session: scripted.Session) -> None:
        session.accept()
        while session.serve_finds([one, other]) is not None:
            room.send(one if one.series_uid.encode() in session.identifier else other)
            session.respond(completed=1)

    def is_there(session: scripted.Session) -> None:
        session.accept()
        session.answer_echo()
        session.expect_release()

    then = () if options else (is_there,)  # whether an entry failed, or the archive was about to go away
    log = room.run(script, *options, "--layout", layout, "--list", rows, code=63, then=then)
    assert "entry 2" in log
    assert TWO in log or ELSEWHERE in log


@pytest.mark.row("114")
def test_received_object_of_another_study_than_listed_proves_nothing(room: Room) -> None:
    one, second = room.make(studies=2)
    other = room.variant(second, second.instance_uid, one.instance_uid)._replace(instance_uid=one.instance_uid)
    assert ELSEWHERE in room.retrieve([one], [other], "--verify", code=63)
    room.retrieve([one], [one], "--verify", code=0)


@pytest.mark.row("114")
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_object_of_another_study_on_the_disk_is_not_the_one_that_resume_needs(room: Room, layout: str) -> None:
    one, second = room.make(studies=2)
    other = room.variant(second, second.instance_uid, one.instance_uid)._replace(instance_uid=one.instance_uid)
    options = ["--resume", "--layout", layout]
    room.retrieve([other], [other], "--layout", layout, code=0)
    assert ELSEWHERE in room.retrieve([one], [other], *options, code=63), "resume believes no more than verify does"
    room.retrieve([one], [one], *options, code=0)
    assert any(one.study_uid.encode() in data for data in room.files.values())

    def is_there(session: scripted.Session) -> None:
        session.accept()
        session.serve_finds([one])

    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={one.study_uid}"]
    assert "1 already there" in room.run(is_there, *keys, *options, "-v", code=0)


# -- files that were cut ---------------------------------------------------------------------------------------------


def frames(one: Instance) -> Instance:
    """Make an object one of five compressed frames."""
    data = dcmread(one.path)
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.NumberOfFrames = 5
    data.PixelData = encapsulate([b"\xff\xd8" + bytes([n]) * 1000 + b"\xff\xd9" for n in range(5)], has_bot=False)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.save_as(one.path)
    return one


def cut_between_frames(data: bytes) -> bytes:
    return data[: -8 - 2 * 1012]


@pytest.mark.row("110")
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_file_cut_between_two_fragments_is_requested_again(
    room: Room, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr(scripted, "EXPLICIT_LITTLE", TRANSFER_SYNTAXES[JPEGBaseline8Bit])
    one = frames(room.make()[0])
    options = ["+xa", "--verify", "--resume", "--layout", layout]
    room.retrieve([one], [one], *options, code=0)
    (whole,) = room.files.values()
    (path,) = room.received.rglob(f"*{one.instance_uid}*")
    path.write_bytes(cut_between_frames(whole))
    room.retrieve([one], [one], *options, code=0)
    assert list(room.files.values()) == [whole]


@pytest.mark.row("110")
def test_received_object_without_the_last_delimiter_is_not_whole_now_and_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "EXPLICIT_LITTLE", TRANSFER_SYNTAXES[JPEGBaseline8Bit])
    one = frames(room.make()[0])
    cut = room.made / "cut"
    cut.write_bytes(cut_between_frames(one.path.read_bytes()))
    log = room.retrieve([one], [one._replace(path=cut)], "+xa", "--verify", code=63)
    assert f"{one.instance_uid} does not count: its pixel data ends without a delimiter" in log
    room.retrieve([one], [one], "+xa", "--resume", code=0)  # and not left out
    assert len(next(iter(room.files.values()))) > cut.stat().st_size


@pytest.mark.row("110")
def test_file_that_is_smaller_than_noted_is_requested_again_though_it_can_be_parsed(room: Room) -> None:
    (one,) = made = room.make()
    data = dcmread(one.path)
    del data.Rows, data.Columns, data.PixelData
    data.add_new(0x00420010, "ST", "last element")
    data.save_as(one.path)
    options = ["--verify", "--resume", "--layout", "study"]
    room.retrieve(made, made, *options, code=0)
    (whole,) = room.files.values()
    (path,) = room.received.rglob("*.dcm")
    path.write_bytes(whole[: whole.rindex(b"\x42\0\x10\0ST")])
    room.retrieve(made, made, *options, code=0)
    assert list(room.files.values()) == [whole]


@pytest.mark.row("111")
@pytest.mark.parametrize("options", [[], ["+B"], ["--verify"]], ids=" ".join)
def test_whole_file_is_not_replaced_by_an_object_cut_before_its_pixels(room: Room, options: list[str]) -> None:
    (one,) = made = room.make()
    room.retrieve(made, made, *options, code=0)
    before = room.files
    cut = room.made / "cut"
    cut.write_bytes(one.path.read_bytes().partition(b"\xe0\x7f\x10\0OW")[0])
    log = room.retrieve(made, [one._replace(path=cut)], *options, code=63)
    assert "the object is incomplete" in log
    assert room.files == before


# -- equal names of a layout -----------------------------------------------------------------------------------------


@pytest.mark.row("115")
def test_uid_beside_another_value_does_not_make_names_distinct(room: Room) -> None:
    first, second = room.make(instances=2)
    one = room.with_values(first, PatientID="A", SOPInstanceUID="1.2.3")
    other = room.with_values(second, PatientID="A.1", SOPInstanceUID="2.3")
    room.retrieve([one, other], [one, other], "--layout", "{PatientID}.{SOPInstanceUID}", code=0)
    assert sorted(room.files) == ["A.1.2.2.3.3", "A.1.2.3"]


@pytest.mark.row("115")
def test_alternative_name_that_another_object_has_is_not_taken(room: Room) -> None:
    first, second, third = room.make(instances=3)
    alternative = apart("slice", second.instance_uid)
    one, other = (room.with_values(each, ImageComments="slice") for each in (first, second))
    taking = room.with_values(third, ImageComments=alternative)
    sent = [one, taking, other]
    for _ in range(2):  # an object that is received again has the name that it had
        room.retrieve(sent, sent, "--layout", "{ImageComments}", code=0)
        assert sorted(room.files) == ["slice", alternative, f"{alternative}_2"]


def test_layout_makes_names_in_utf_8_whatever_the_locale(room: Room) -> None:
    one = room.with_values(room.make()[0], SpecificCharacterSet="ISO_IR 100", PatientName="Müller")
    (room.made / "served").mkdir()
    one.path.rename(room.made / "served" / "one.dcm")
    with Archive(room.made / "served", {"MOVESCU": (peers.HOST, room.port)}) as archive:
        command = [sys.executable, "-m", "movescu", "-S", "+P", room.port, "--layout", "{PatientName}/{SOPInstanceUID}"]
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={one.study_uid}"]
        environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        arguments = list(map(str, [*command, *keys, archive.host, archive.port]))
        subprocess.run(arguments, cwd=room.received, env=environment, check=True, timeout=60)
    assert os.listdir(os.fsencode(room.received)) == ["Müller".encode()]
