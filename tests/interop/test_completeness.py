"""``--verify`` and ``--retry``: a retrieve ends with everything, or says by name what is missing, whatever happens."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
import scripted
import unreliable
from command import movescu

from movescu._runtime.record import replace
from movescu.cohort.client import Client
from movescu.dictionary.uids import STUDY_ROOT_MOVE
from movescu.errors import AssociationRejectedError, PeerError
from movescu.events import Event, RetryEvent
from movescu.query.identifier import make_identifier
from movescu.retrieve.config import AE, Config, Receive, Request, Retry, Timeouts
from movescu.retrieve.event_observer import EventObserver
from movescu.retrieve.judgement import Reason
from movescu.storage.options import StorageOptions
from movescu.testing import Archive, Ending, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from corpus import Instance

    from movescu.retrieve.result import Result


class Study(NamedTuple):
    """Objects of two series, a folder for them, and what is to be asked for."""

    folder: Path
    received: Path
    made: list[Instance]
    port: int

    @property
    def keys(self) -> list[str]:
        return ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={self.made[0].study_uid}"]

    @property
    def uids(self) -> set[str]:
        return {instance.instance_uid for instance in self.made}

    @property
    def there(self) -> set[str]:
        return {path.name.removeprefix("CT.") for path in self.received.iterdir()}

    def options(self, address: tuple[str, int], aet: str = "ARCHIVE") -> Config:
        return Config(
            AE(*address, aet),
            timeouts=Timeouts(linger=0.0),
            receive=Receive(self.port),
            request=Request(model="STUDY", ip="4"),
        )

    def retrieve(
        self,
        options: Config,
        persistence: Retry,
        keys: Sequence[str] = (),
        on_event: Callable[[Event], None] | None = None,
    ) -> Result:
        observers = () if on_event is None else (EventObserver(on_event),)
        storage = StorageOptions(directory=str(self.received))
        with Client.configured(replace(options, retry=persistence), storage, observers) as client:
            return client.prepare([make_identifier(keys or self.keys)]).run()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, series=2, instances=6, size=2000)
    return Study(folder, received, made, peers.free_port())


@pytest.fixture
def archive(study: Study) -> Iterator[Archive]:
    with Archive(study.folder, {"MOVESCU": (peers.HOST, study.port)}) as running:
        yield running


def address(archive: Archive) -> tuple[str, int]:
    return archive.host, archive.port


# -- against real archives, with a third of the sub-operations lost ------------------------------------------------

ARCHIVES: dict[str, Callable[[dict[str, tuple[str, int]]], AbstractContextManager[peers.Peer]]] = {
    "Orthanc": lambda destinations: peers.orthanc(destinations, tcp_nodelay=True),
    "dcmqrscp": lambda destinations: peers.dcmqrscp(destinations, tcp_nodelay=True),
    "qrscp": peers.qrscp,
}


@pytest.mark.parametrize(
    "losses",
    [unreliable.Losses(dropped=1 / 3), unreliable.Losses(refused=1 / 3), unreliable.Losses(1 / 9, 1 / 9, 1 / 9)],
    ids=["dropped", "refused", "all ways"],
)
@pytest.mark.parametrize("name", ["Orthanc", "dcmqrscp"])
@pytest.mark.sampled(3)
def test_third_of_the_objects_lost_at_random_ends_with_all_or_names_the_missing(
    study: Study, name: str, losses: unreliable.Losses
) -> None:
    with unreliable.proxy(study.port, losses) as port, ARCHIVES[name]({"MOVESCU": (peers.HOST, port)}) as peer:
        peer.load(corpus.paths(study.made))
        options = study.options(peer.address, peer.aet)
        result = study.retrieve(options, Retry(verify=True, retries=5, pause=0.0))
    assert set(result.missing_uids) == study.uids - study.there
    assert result.complete == (not result.missing_uids)
    assert result.verified
    assert len(study.there) >= len(study.made) - 1, "it gave up too early"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.pynetdicom_sender] if name == "qrscp" else []) for name in ARCHIVES]
)
def test_every_archive_tells_what_it_holds(study: Study, name: str) -> None:
    some = study.made[: 1 if name == "qrscp" else 4]  # qrscp takes three seconds to store one
    with ARCHIVES[name]({"MOVESCU": (peers.HOST, study.port)}) as peer:
        peer.load(corpus.paths(some))
        options = study.options(peer.address, peer.aet)
        result = study.retrieve(options, Retry(verify=True))
        assert (result.complete, result.verified) == (True, True)
        by_uid = [f"SeriesInstanceUID={some[0].series_uid}", f"SOPInstanceUID={some[0].instance_uid}"]
        keys = ["QueryRetrieveLevel=IMAGE", study.keys[1], *by_uid]
        result = study.retrieve(options, Retry(verify=True), keys)
    assert (result.complete, result.verified, result.extra_uids) == (True, True, ())


# -- what is asked for, and how often ------------------------------------------------------------------------------


def test_what_the_archive_counts_as_sent_and_did_not_send_is_named_on_the_command_line(
    study: Study, archive: Archive
) -> None:
    archive.faults = Faults(drop_every=5)
    arguments = [part for key in study.keys for part in ("-k", key)]
    outcome = movescu(
        *("-S", "--verify", "--linger", 0, "+P", study.port, *arguments, *address(archive)),
        folder=study.received,
        code=63,
    )
    missing = study.uids - study.there
    assert len(missing) == 2
    assert all(f"missing: SOP instance {uid}\n" in outcome.log for uid in missing)


def test_retry_alone_finds_out_by_itself_what_is_missing_and_asks_for_no_more_than_that(
    study: Study, archive: Archive
) -> None:
    archive.faults = Faults(fail_every=3)
    came: list[str] = []

    def on_event(event: Event) -> None:
        if isinstance(event, RetryEvent):
            archive.faults = Faults()
        elif getattr(event, "sop_instance_uid", ""):
            came.append(event.sop_instance_uid)  # type: ignore[union-attr]

    result = study.retrieve(study.options(address(archive)), Retry(retries=3, pause=0.0), on_event=on_event)
    assert (result.complete, result.attempts) == (True, 2)
    assert sorted(came) == sorted(study.uids), "each object once"


@pytest.mark.parametrize("ending", [Ending.ABORT, Ending.CLOSE])
def test_lost_association_is_opened_again(study: Study, archive: Archive, ending: Ending) -> None:
    archive.faults = Faults(main_ends_by=ending, main_ends_after=3)
    result = study.retrieve(study.options(address(archive)), Retry(retries=6, pause=0.0))
    assert result.complete
    assert study.there == study.uids
    assert result.attempts > 2


def test_busy_archive_is_asked_again_and_one_that_does_not_want_us_is_not(study: Study, archive: Archive) -> None:
    busy, unknown = Faults(reject=(2, 3, 2)), Faults(reject=(1, 1, 3))
    attempts: list[Event] = []

    def relent(event: Event) -> None:
        attempts.append(event)
        archive.faults = Faults()

    options, persistence = study.options(address(archive)), Retry(retries=3, pause=0.0)
    archive.faults = unknown
    with pytest.raises(AssociationRejectedError):
        study.retrieve(options, persistence, on_event=attempts.append)
    assert not [event for event in attempts if isinstance(event, RetryEvent)]
    archive.faults = busy
    assert study.retrieve(options, persistence, on_event=relent).complete


def test_what_the_disk_refused_is_asked_for_again(study: Study, archive: Archive) -> None:
    in_the_way = study.received / f"CT.{study.made[0].instance_uid}"
    in_the_way.mkdir()

    def on_event(event: Event) -> None:
        if isinstance(event, RetryEvent):
            in_the_way.rmdir()

    result = study.retrieve(
        study.options(address(archive)), Retry(verify=True, retries=1, pause=0.0), on_event=on_event
    )
    assert (result.complete, result.attempts) == (True, 2)


def test_archive_without_c_find_is_no_verified_success(study: Study) -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid == STUDY_ROOT_MOVE)
        session.expect_move()
        session.respond(completed=0)
        session.expect_release()

    with scripted.archive(script) as archive:
        keys = [part for key in study.keys for part in ("-k", key)]
        options = ["-S", "--verify", "--linger", 0, "+P", study.port]
        outcome = movescu(*options, *keys, *archive.address, folder=study.received, code=63)
    assert "cannot be verified" in outcome.log


def test_uid_that_would_ask_for_more_than_itself_is_not_asked_for(study: Study) -> None:
    odd = f"{study.made[0].instance_uid[:-1]}*"
    data = study.made[0].path.read_bytes()
    study.made[0].path.write_bytes(data.replace(study.made[0].instance_uid.encode(), odd.encode()))
    with Archive(study.folder, {"MOVESCU": (peers.HOST, study.port)}, faults=Faults(fail_every=12)) as archive:
        result = study.retrieve(study.options(address(archive)), Retry(verify=True, retries=1, pause=0.0))
    assert result.extra_uids in ((), (odd,))
    assert set(result.missing_uids) <= study.uids - {study.made[0].instance_uid}


def test_archive_that_takes_no_lists_is_asked_for_one_object_after_the_other(study: Study, archive: Archive) -> None:
    archive.faults = Faults(takes_no_lists=True, fail_every=3)

    def relent(event: Event) -> None:
        if isinstance(event, RetryEvent):
            archive.faults = Faults(takes_no_lists=True)

    result = study.retrieve(study.options(address(archive)), Retry(retries=3, pause=0.0), on_event=relent)
    assert result.complete
    assert study.there == study.uids


def test_nothing_is_waited_for_when_all_that_is_listed_is_there(study: Study, archive: Archive) -> None:
    archive.faults = Faults(overcount=3)
    options = replace(study.options(address(archive)), timeouts=Timeouts(linger=3600.0))
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(study.retrieve(options, Retry(verify=True))), daemon=True)
    thread.start()
    thread.join(30)
    assert [result.judgement.reasons for result in results] == [(Reason.SHORT,)], "what is counted is no list's to deny"


def test_archive_that_never_recovers_is_not_asked_beyond_the_time_for_all(study: Study) -> None:
    options = replace(study.options((peers.HOST, peers.free_port())), timeouts=Timeouts(total=0.3))
    with pytest.raises(PeerError):
        study.retrieve(options, Retry(retries=1000, pause=0.01))


def test_unknown_destination_is_not_asked_for_again(study: Study, archive: Archive) -> None:
    options = replace(study.options(address(archive)), ae_title="NOBODY")
    result = study.retrieve(options, Retry(verify=True, retries=5, pause=0.0))
    assert (result.attempts, result.outcome) == (1, "failed")
    assert set(result.missing_uids) == study.uids
