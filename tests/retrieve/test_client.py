"""The library as a program uses it: ``movescu.Client`` and what belongs to it."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

import corpus
import peers
import pydicom
import pytest
import scripted
from pydicom.dataset import Dataset

import movescu
from movescu.dictionary.uids import STUDY_ROOT_MOVE
from movescu.errors import (
    ConnectError,
    DirectoryNotFoundError,
    IncompleteError,
    PeerError,
    TooManyStudiesError,
    UsageError,
)
from movescu.events import EndEvent, ObjectEvent, ResponseEvent
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance


@pytest.fixture
def made(tmp_path: Path) -> list[Instance]:
    (tmp_path / "archive").mkdir()
    (tmp_path / "images").mkdir()
    return corpus.make_study(tmp_path / "archive", studies=2, series=2, instances=3, size=2000)


@pytest.fixture
def archive(tmp_path: Path, made: list[Instance]) -> Iterator[Archive]:
    assert made
    with Archive(tmp_path / "archive", {"MOVESCU": (peers.HOST, peers.free_port())}) as running:
        yield running


def client(archive: Archive, to: Any = ".", **settings: Any) -> movescu.Client:
    ae = movescu.AE(archive.host, archive.port, archive.ae_title)
    return movescu.Client(ae, listen=archive.destinations["MOVESCU"][1], to=to, **settings)


def study(made: list[Instance], number: int = 0) -> dict[str, str]:
    return {"StudyInstanceUID": made[number].study_uid}


def test_client_retrieves_a_study_into_a_folder(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    with client(archive, tmp_path / "images", retry=movescu.Retry(verify=True)) as one:
        result = one.retrieve(study(made))
    assert (result.stored, result.failed, result.missing, result.complete, result.verified) == (6, 0, 0, True, True)
    assert result.expected == 6
    assert repr(result) == "<Result complete: stored=6>"
    result.raise_for_incomplete()
    corpus.check_readable(path for path in (tmp_path / "images").iterdir())


def test_client_takes_keys_as_mapping_data_set_or_file(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    data_set = Dataset()
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = made[0].study_uid, made[0].series_uid
    file = tmp_path / "query.dump"
    file.write_text(f"(0020,000d) UI [{made[0].study_uid}]\n(0020,000e) UI [{made[0].series_uid}]\n")
    uids = [instance.instance_uid for instance in made[:2]]
    asked: dict[str, tuple[movescu.Keys, int]] = {
        "patient": ({"PatientID": made[0].patient_id}, 12),
        "list": ({**study(made), "SeriesInstanceUID": made[0].series_uid, "SOPInstanceUID": uids}, 2),
        "data set": (data_set, 3),
        "file": (str(file), 3),
    }
    with client(archive, tmp_path / "images") as one:
        stored = {name: one.retrieve(keys).stored for name, (keys, _) in asked.items()}
    assert stored == {name: count for name, (_, count) in asked.items()}


@pytest.mark.parametrize("keys", [{}, {"PatientName": "Doe*"}, {"NoSuchKeyword": "1"}, "no such file", 5])
def test_client_refuses_keys_that_name_nothing_before_anything_is_sent(
    archive: Archive, tmp_path: Path, keys: movescu.Keys
) -> None:
    archive.faults = Faults(reject=(1, 1, 1))
    with client(archive, tmp_path) as one, pytest.raises(UsageError):
        one.retrieve(keys)


def test_client_raises_errors_of_the_package(tmp_path: Path) -> None:
    ae = movescu.AE(peers.HOST, peers.free_port())
    with movescu.Client(ae, listen=peers.free_port(), to=tmp_path) as one, pytest.raises(ConnectError):
        one.retrieve({"PatientID": "1"})
    with pytest.raises(DirectoryNotFoundError), movescu.Client(ae, listen=0, to=tmp_path / "nowhere"):
        pass


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tls": True}, "tls True"),
        ({"listen": "11112"}, "listen '11112'"),
        ({"ae_title": "SEVENTEEN LETTERS"}, "ae_title 'SEVENTEEN LETTERS' has 17 characters"),
        ({"destination": " "}, "destination ' ' is blank"),
        ({"timeouts": 30}, "timeouts 30"),
        ({"request": "STUDY"}, "request 'STUDY' is not a Request"),
        ({"selection": "Modality=CT"}, "selection 'Modality=CT' is not a Selection"),
        ({"on_event": "x"}, "on_event 'x' cannot be called"),
        ({"to": 5}, "5 is not a destination"),
    ],
)
def test_client_refuses_and_names_values_that_cannot_be_used(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        movescu.Client("ARCHIVE@127.0.0.1:104", **settings)


def test_request_of_a_client_leaves_the_model_to_the_keys() -> None:
    """An archive of the Study Root model alone."""

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid == STUDY_ROOT_MOVE)
        session.expect_move()
        session.respond(0, completed=1)
        session.expect_release()

    with scripted.archive(script) as archive:
        ae = movescu.AE(*archive.address)
        with movescu.Client(ae, destination="ELSEWHERE", request=movescu.Request(priority=2)) as one:
            assert one.retrieve({"StudyInstanceUID": "1.2.3"}).complete


def test_destination_of_objects_that_are_not_received_is_refused(archive: Archive, tmp_path: Path) -> None:
    ae = movescu.AE(archive.host, archive.port, archive.ae_title)
    named = "but this client receives no objects"
    with movescu.Client(ae, destination="ELSEWHERE", to=tmp_path) as one:
        with pytest.raises(UsageError, match=named):
            one.retrieve({"StudyInstanceUID": "1.2.3"})
        with pytest.raises(UsageError, match=named):
            next(one.retrieve_many([{"StudyInstanceUID": "1.2.3"}]))
    with movescu.Client(ae, destination="ELSEWHERE") as one, pytest.raises(UsageError, match=named):
        one.retrieve({"StudyInstanceUID": "1.2.3"}, lambda _: None)


def test_result_raises_for_incomplete_and_pickles(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    archive.faults = Faults(fail_every=4)
    with client(archive, tmp_path / "images", timeouts=movescu.Timeouts(linger=0.0)) as one:
        result = one.retrieve(study(made))
    assert (result.complete, result.outcome, result.stored) == (False, "incomplete", 5)
    with pytest.raises(IncompleteError, match="5 objects stored, 1 not delivered, as the archive counts; ") as raised:
        result.raise_for_incomplete()
    assert raised.value.hint
    copied = pickle.loads(pickle.dumps(result))
    assert (copied.outcome, copied.as_dict()) == (result.outcome, result.as_dict())
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_handle_yields_events_as_they_happen(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    with client(archive, tmp_path / "images") as one:
        for _ in range(2):  # the port stays open
            handle = one.start(study(made))
            events = list(handle)
            arrived = [event.sop_instance_uid for event in events if isinstance(event, ObjectEvent)]
            assert sorted(arrived) == sorted(one.instance_uid for one in made[:6])
            end = events[-1]
            assert isinstance(end, EndEvent)
            assert (end.outcome, end.stored, handle.result().stored) == ("complete", 6, 6)


def test_handle_is_cancelled_by_leaving_the_loop_or_from_another_thread(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    archive.faults = Faults(pause=0.05)
    with client(archive, tmp_path / "images") as one:
        handle = one.start(study(made))
        for event in handle:
            if isinstance(event, ResponseEvent):
                break
        assert handle.result().outcome == "cancelled"
        second = one.start(study(made))
        next(iter(second))
        second.cancel()
        assert second.result(30).outcome == "cancelled"
        archive.faults = Faults()
        assert one.retrieve(study(made)).complete, "it can be used again"


def test_retrieve_cancelled_before_its_start_asks_for_nothing(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    from movescu.query.python_keys import identifier_of

    with client(archive, tmp_path / "images") as one:
        prepared = one.prepare([identifier_of(study(made))[0]])
        prepared.cancel()
        assert prepared.run().outcome == "cancelled"
    assert not list((tmp_path / "images").iterdir())


def test_client_without_with_opens_its_port_and_may_be_closed_twice(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    one = client(archive, tmp_path / "images")
    assert one.retrieve(study(made)).stored == 6
    one.close()
    one.close()
    for call in (lambda: one.retrieve(study(made)), lambda: one.find("STUDY", study(made)), one.echo):
        with pytest.raises(UsageError, match="closed"):
            call()


def test_several_retrieves_at_once_have_their_own_objects(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    archive.faults = Faults(pause=0.01)
    first, second = movescu.Memory(), movescu.Memory()
    with client(archive, tmp_path / "images", retry=movescu.Retry(verify=True)) as one:
        handles = [one.start(study(made), first), one.start(study(made, -1), second)]
        assert [handle.result(60).outcome for handle in handles] == ["complete"] * 2
    assert set(first.files) == {one.instance_uid for one in made[:6]}
    assert set(second.files) == {one.instance_uid for one in made[6:]}


def test_exception_in_on_event_ends_the_retrieve_and_is_raised(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    def fail(event: object) -> None:
        if isinstance(event, ObjectEvent):
            raise LookupError("mine")  # noqa: TRY004 - stands for anything

    with client(archive, tmp_path / "images") as one:
        with pytest.raises(LookupError, match="mine"):
            one.retrieve(study(made), on_event=fail)
        assert one.retrieve(study(made)).complete


def test_retrieve_inside_a_sinks_callable_is_refused_and_does_not_hang(archive: Archive, made: list[Instance]) -> None:
    errors: list[Exception] = []

    def take(_: Dataset) -> None:
        try:
            one.retrieve(study(made), take)
        except UsageError as error:
            errors.append(error)

    with client(archive) as one:
        assert one.retrieve(study(made), take).complete
    assert len(errors) == 6


def test_rows_of_a_table_are_retrieved_in_their_order(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {**study(made), "comment": "a column that is no keyword"},
        {"StudyInstanceUID": float("nan"), "comment": ""},
        {**study(made, -1)},
        cast("dict[str, object]", "1.2.3"),
    ]
    with client(archive, tmp_path / "images") as one:
        results = list(one.retrieve_many(rows, jobs=2))
    assert [getattr(result, "stored", None) for result in results] == [6, None, 6, None]
    assert isinstance(results[3], UsageError)
    assert isinstance(results[1], UsageError)
    assert "StudyInstanceUID is blank" in str(results[1])


def test_entries_wait_for_an_archive_that_serves_few_at_once(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    archive.faults = Faults(slots=1, pause=0.005)
    rows = [{**study(made, number)} for number in (0, -1, 0)]
    with client(archive, tmp_path / "images") as one:
        results = list(one.retrieve_many(rows, jobs=3))
        again = one.retrieve(study(made))  # the port is still open
    assert [getattr(result, "complete", result) for result in results] == [True] * 3
    assert results[0] is results[2]  # equal entries are requested once
    assert again.complete


def test_result_of_an_entry_is_told_before_those_of_slower_ones(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    told: list[tuple[int, bool]] = []
    rows = [{"StudyInstanceUID": "1.2.999"}, {"StudyInstanceUID": ""}, {**study(made)}, {**study(made, -1)}]
    with client(archive, tmp_path / "images") as one:
        results = one.retrieve_many(rows, on_result=lambda n, result: told.append((n, isinstance(result, Exception))))
        outcomes = [getattr(result, "outcome", None) for result in results]
    assert outcomes == ["not found", None, "complete", "complete"]
    assert told[0] == (1, True)  # it was never requested
    assert sorted(told) == [(0, False), (1, True), (2, False), (3, False)]


def test_leaving_the_loop_cancels_the_entries_that_are_left(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    archive.faults = Faults(pause=0.05)
    with client(archive, movescu.Directory(tmp_path / "images", durability="object")) as one:
        results = one.retrieve_many([{**study(made)}, {**study(made, -1)}])
        assert next(results)
        results.close()  # type: ignore[attr-defined] # a generator
    assert len(list((tmp_path / "images").iterdir())) < 12


def test_entries_after_the_end_of_an_archive_are_not_requested(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    def end(*_: object) -> None:
        archive.close()

    archive.faults = Faults(pause=0.05)
    with client(archive, movescu.Directory(tmp_path / "images", durability="object")) as one:
        results = one.retrieve_many([{**study(made)}, {**study(made, -1)}], wait_for_archive=0, on_result=end)
        first, second = results
    assert isinstance(first, movescu.Result)
    assert isinstance(second, PeerError)


@pytest.mark.parametrize(
    ("rows", "jobs"), [([], 0), ([], "2"), ("list.csv", 1), ({"StudyInstanceUID": "1.2"}, 1), (5, 1)]
)
def test_rows_that_are_none_are_refused(archive: Archive, tmp_path: Path, rows: Any, jobs: Any) -> None:
    with client(archive, tmp_path / "images") as one, pytest.raises(UsageError):
        list(one.retrieve_many(rows, jobs=jobs))


def test_entry_that_is_no_mapping_yields_its_error(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    with client(archive, tmp_path / "images") as one:
        rows: Any = ["1.2.3", study(made)]
        first, second = one.retrieve_many(rows)
    assert isinstance(first, UsageError)
    assert str(first) == "'1.2.3' is not an entry"
    assert isinstance(second, movescu.Result)
    assert second.complete


@pytest.mark.parametrize("level", [{"PatientID": "PAT001"}, None, 5, ["STUDY"]])
def test_query_whose_level_is_none_says_where_it_belongs(archive: Archive, level: Any) -> None:
    with client(archive) as one, pytest.raises(UsageError, match="is not text, such as STUDY") as caught:
        one.find(level)
    assert caught.value.hint == "the level comes first: find('STUDY', {'PatientID': '1'})"


@pytest.mark.parametrize(
    "limits", [{"slots": 0}, {"slots": True}, {"wait_for_archive": "x"}, {"wait_for_archive": float("nan")}]
)
def test_limit_of_a_list_that_is_no_number_is_named(archive: Archive, tmp_path: Path, limits: Any) -> None:
    [(name, value)] = limits.items()
    with client(archive, tmp_path / "images") as one, pytest.raises(UsageError, match=f"{name} {value!r} is not "):
        list(one.retrieve_many([], **limits))


def test_query_lists_no_more_studies_than_a_limit_allows(archive: Archive, made: list[Instance]) -> None:
    def found(**selection: Any) -> int:
        return len(client(archive, selection=movescu.Selection(**selection)).find("study", StudyDate="19000101-"))

    assert found() == len({one.study_uid for one in made})
    with pytest.raises(TooManyStudiesError, match="2 studies match"):
        found(max_studies=1)


def test_asynchronous_client_has_the_same_names(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    async def run() -> tuple[movescu.Result, list[str]]:
        ae = movescu.AE(archive.host, archive.port, archive.ae_title)
        port = archive.destinations["MOVESCU"][1]
        async with movescu.AsyncClient(ae, listen=port, to=tmp_path / "images") as one:
            await one.echo()
            handle = one.start(study(made))
            kinds = [type(event).__name__ async for event in handle]
            many = [result async for result in one.retrieve_many([study(made, -1)])]
            assert [getattr(result, "stored", None) for result in many] == [6]
            return await handle.result(), kinds

    result, kinds = asyncio.run(run())
    assert result.complete
    assert kinds[-1] == "EndEvent"


def test_package_loads_nothing_when_it_is_imported() -> None:
    code = "import sys, movescu; print(*(name for name in sys.modules if name.startswith(('movescu.', 'pydicom'))))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == []
    assert set(movescu.__all__) <= set(dir(movescu))
    assert all(hasattr(movescu, name) for name in movescu.__all__)
    assert not hasattr(movescu, "no_such_name")


def test_objects_go_to_a_callable_or_to_memory_instead_of_files(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    sizes: list[int] = []
    memory = movescu.Memory()
    with client(archive, tmp_path / "images") as one:
        one.retrieve(study(made), lambda dataset: sizes.append(len(dataset.PixelData)))
        assert one.retrieve(study(made), memory).complete
    assert sizes == [len(pydicom.dcmread(made[0].path).PixelData)] * 6
    assert sorted(str(dataset.SOPInstanceUID) for dataset in memory) == sorted(one.instance_uid for one in made[:6])
    assert not list((tmp_path / "images").iterdir())


def test_sink_of_a_program_is_given_what_is_known_of_an_object(archive: Archive, made: list[Instance]) -> None:
    seen: list[tuple[str, str, str, str]] = []
    lock = threading.Lock()

    class Counting:
        """Counts, and keeps nothing."""

        def open_receiver(self, incoming: movescu.Incoming) -> movescu.ObjectReceiver:
            with lock:
                seen.append(
                    (
                        incoming.sop_class_uid,
                        incoming.sop_instance_uid,
                        incoming.transfer_syntax_uid,
                        incoming.calling_ae_title,
                    )
                )
            return self

        def write(self, *fragments: memoryview) -> None:
            assert all(fragment.readonly or len(fragment) for fragment in fragments)

        def finish(self) -> None:
            """Keep nothing."""

        def discard(self) -> None:
            """Keep nothing."""

    with client(archive) as one:
        assert one.retrieve(study(made), Counting()).complete
    assert sorted(uid for _, uid, _, _ in seen) == sorted(one.instance_uid for one in made[:6])
    assert {title for *_, title in seen} == {archive.ae_title}


def test_objects_that_are_here_already_are_not_requested(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    folder = movescu.Directory(tmp_path / "images", layout="study")
    with client(archive, folder, retry=movescu.Retry(resume=True)) as one:
        first, second = one.retrieve(study(made)), one.retrieve(study(made))
    assert (first.stored, first.already_there) == (6, 0)
    assert (second.stored, second.already_there, second.complete) == (0, 6, True)


def test_errors_with_fields_pickle() -> None:
    error = movescu.errors.AssociationRejectedError("rejected", result=1, source=2, reason=3, hint="wait")
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.reason, copied.hint) == ("rejected", 3, "wait")
