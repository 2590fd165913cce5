"""``--check``: each step that can fail, against archives where it does, and what the person at the keyboard is told."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
import scripted
from command import movescu, without_privileges

import movescu as movescu_package
from movescu._runtime import version
from movescu.dictionary.uids import STUDY_ROOT_MOVE, VERIFICATION
from movescu.dimse.status import MOVE_DESTINATION_UNKNOWN
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Launcher = Callable[[dict[str, peers.Address]], AbstractContextManager[peers.Peer]]

STEPS = [
    "name lookup",
    "connection",
    "TLS",
    "association",
    "C-ECHO",
    "C-MOVE context",
    "own port",
    "output directory",
    "move destination",
    "C-GET",
]
TRIAL = ["query", "callback", "object", "final response"]


class Said(NamedTuple):
    """A step as it was told: its result, what was found, and what can be done."""

    result: str
    text: str
    advice: str


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    """An archive that knows ME."""
    with Archive(destinations={"ME": (peers.HOST, peers.free_port())}) as running:
        yield running


def check(folder: Path, *arguments: object, code: int = 0, prefix: list[str] | None = None) -> dict[str, Said]:
    """Run a check in an empty folder; gives the steps by name. It leaves nothing there."""
    outcome = movescu("--check", *arguments, folder=folder, code=code, prefix=prefix or ())
    pattern = r"^(ok|failed|skipped|unclear) +([^:]+): (.*)$(?:\n {9}- (.*))?"
    found = re.findall(pattern, outcome.output, re.MULTILINE)
    steps = {name: Said(result, text, advice) for result, name, text, advice in found}
    program = steps.pop("program")
    assert program.text == f"movescu {version.VERSION}, {Path(movescu_package.__file__).parent}"
    assert len(outcome.output.splitlines()) == len(found) + sum(bool(said.advice) for said in steps.values())
    assert [name for name in steps if name not in TRIAL] in (STEPS, ["TLS setup", *STEPS])
    assert not [path for path in folder.iterdir() if path.is_file()]
    assert "--check" not in outcome.output  # advises what else to do
    return steps


def results(steps: dict[str, Said]) -> dict[str, str]:
    return {name: said.result for name, said in steps.items()}


def at(archive: Archive, *options: object) -> list[object]:
    """A command line that knows an archive as it should, with further options."""
    titles = ["-aet", "ME", "-aec", archive.ae_title]
    return [*titles, "+P", archive.destinations["ME"][1], *options, archive.host, archive.port]


# -- where all is well -------------------------------------------------------------------------------------------------


def test_everything_works(archive: Archive, tmp_path: Path) -> None:
    steps = check(tmp_path, *at(archive, "-S"))
    assert results(steps) == {name: "skipped" if name == "TLS" else "ok" for name in STEPS}
    assert steps["C-MOVE context"].text == "Study Root (-S), Explicit VR Little Endian"
    assert f"port {archive.destinations['ME'][1]} is open, at 127.0.0.1" in steps["own port"].text
    assert "GB free" in steps["output directory"].text
    assert steps["move destination"].text.startswith("ARCHIVE knows ME; ")


def test_all_addresses_of_a_name_are_tried(archive: Archive, tmp_path: Path) -> None:
    steps = check(tmp_path, "-i0", "-aec", archive.ae_title, "-aem", "ME", "localhost", archive.port)
    assert "127.0.0.1" in steps["name lookup"].text
    assert f"127.0.0.1 port {archive.port} answers" in steps["connection"].text


def test_without_a_port_nothing_here_is_checked(archive: Archive, tmp_path: Path) -> None:
    steps = check(tmp_path, "-aec", archive.ae_title, "-aem", "ME", archive.host, archive.port)
    assert steps["own port"] == ("skipped", "nothing is received here without --port: the objects go to ME", "")
    assert steps["output directory"].result == "skipped"
    assert steps["move destination"].result == "ok"


# -- C-GET -----------------------------------------------------------------------------------------------------------


def test_get_needs_neither_port_nor_move(archive: Archive, tmp_path: Path) -> None:
    steps = check(tmp_path, "--retrieve", "get", "-aec", archive.ae_title, archive.host, archive.port)
    assert steps["own port"] == ("skipped", "C-GET needs no port", "")
    assert steps["output directory"].result == "ok"
    assert steps["C-GET"].result == "ok"
    assert "does not know MOVESCU" in steps["move destination"].text
    assert steps["move destination"].result == "skipped"


def test_trial_of_get_receives_an_object_without_a_callback(tmp_path: Path) -> None:
    source = tmp_path / "archive"
    source.mkdir()
    made = corpus.make_study(source, instances=2, size=1000)
    with Archive(source) as archive:
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={made[0].study_uid}")
        steps = check(tmp_path, "-S", "--retrieve", "get", *keys, archive.host, archive.port)
    assert steps["callback"].result == "skipped"
    assert steps["object"].text.startswith("1 object of ")
    assert steps["final response"].result == "ok"


@pytest.mark.parametrize("faults", [Faults(accept_no_get=True), Faults(get_status=0x0122)])
def test_archive_without_get_fails_the_check_of_get_alone(tmp_path: Path, faults: Faults) -> None:
    port = peers.free_port()
    with Archive(destinations={"ME": (peers.HOST, port)}, faults=faults) as archive:
        to = ("-aet", "ME", "-aec", archive.ae_title, archive.host, archive.port)
        by_move = check(tmp_path, "+P", port, *to)
        by_auto = check(tmp_path, "--retrieve", "auto", "+P", port, *to)
        by_get = check(tmp_path, "--retrieve", "get", *to, code=66)
    assert [steps["C-GET"].result for steps in (by_move, by_auto, by_get)] == ["skipped", "skipped", "failed"]


def test_orthanc_says_whether_it_permits_get(tmp_path: Path) -> None:
    with peers.orthanc() as peer:
        refused = check(tmp_path, "--retrieve", "get", "-aec", peer.aet, *peer.address, code=66)
    with peers.orthanc(overrides={"DicomAlwaysAllowGet": True}) as peer:
        permitted = check(tmp_path, "--retrieve", "get", "-aec", peer.aet, *peer.address)
    assert "ORTHANC may not permit C-GET to MOVESCU" in refused["C-GET"].text
    assert permitted["C-GET"].result == "ok"


# -- real archives ---------------------------------------------------------------------------------------------------


def test_pynetdicom_tells_whether_it_knows_the_destination(tmp_path: Path) -> None:
    with peers.qrscp({"ME": (peers.HOST, 4242)}) as peer:
        for model in ("-P", "-S"):
            known = check(tmp_path, model, "-aet", "ME", "-aec", peer.aet, *peer.address)
            unknown = check(tmp_path, model, "-aet", "YOU", "-aec", peer.aet, *peer.address, code=69)
            assert known["move destination"].result == "ok", model
            assert unknown["move destination"].result == "failed", model
            assert "QRSCP does not know YOU: 0xa801" in unknown["move destination"].text, model


@pytest.mark.parametrize("title", ["ME", "YOU"])
def test_dcmqrscp_does_not_tell_and_that_is_what_is_said(tmp_path: Path, title: str) -> None:
    port = peers.free_port()
    with peers.dcmqrscp({"ME": (peers.HOST, port)}) as peer:
        steps = check(tmp_path, "-aet", title, "-aec", peer.aet, "+P", port, *peer.address)
    assert steps["C-ECHO"].result == "ok"
    assert steps["move destination"].result == "unclear"
    assert "unknown: DCMQRSCP answers 0x0000 (Success)" in steps["move destination"].text
    assert f"AE title {title}, address 127.0.0.1 (as seen from here), port {port}" in steps["move destination"].advice


def test_orthanc_does_not_tell_and_that_is_what_is_said(tmp_path: Path) -> None:
    with peers.orthanc(overrides={"DicomCheckCalledAet": True}) as peer:
        steps = check(tmp_path, "-aec", peer.aet, *peer.address)
        wrong = check(tmp_path, "-aec", "PACS", *peer.address, code=61)
    assert steps["move destination"].result == "unclear"
    assert "called AE title not recognized" in wrong["association"].text
    assert wrong["association"].advice == "the archive has another AE title: set it with --call"


# -- each step failing -------------------------------------------------------------------------------------------------


def test_name_that_nobody_knows(tmp_path: Path) -> None:
    steps = check(tmp_path, "+P", peers.free_port(), "archive.invalid", 104, code=61)
    assert "host name archive.invalid cannot be resolved" in steps["name lookup"].text
    assert "check the spelling" in steps["name lookup"].advice
    assert steps["connection"] == ("skipped", "the name lookup step did not succeed", "")
    assert steps["own port"].result == steps["output directory"].result == "ok"  # which need no archive


def test_port_where_nobody_listens(tmp_path: Path) -> None:
    port = peers.free_port()
    steps = check(tmp_path, peers.HOST, port, code=61)
    assert steps["connection"].text == f"cannot connect to 127.0.0.1 port {port}: Connection refused"
    assert "check host and port" in steps["connection"].advice
    assert steps["association"].result == steps["move destination"].result == "skipped"


def test_keys_and_certificates_that_cannot_be_used(archive: Archive, tmp_path: Path) -> None:
    steps = check(tmp_path, "+tls", "no-key", "no-cert", *at(archive), code=70)
    assert "'no-key'" in steps["TLS setup"].text
    assert steps["connection"].result == "ok"
    assert steps["TLS"] == ("skipped", "the TLS setup step did not succeed", "")


def test_archive_that_speaks_no_tls(archive: Archive, tmp_path: Path) -> None:
    steps = check(tmp_path, "+tla", "-ic", "-aec", archive.ae_title, archive.host, archive.port, code=61)
    assert steps["TLS setup"].result == "ok"
    assert "cannot secure the connection" in steps["TLS"].text
    assert "check that the archive speaks TLS on this port" in steps["TLS"].advice


def test_rejected_association(archive: Archive, tmp_path: Path) -> None:
    archive.faults = Faults(reject=(1, 1, 3))
    steps = check(tmp_path, *at(archive), code=61)
    archive.faults = Faults()
    assert "calling AE title not recognized" in steps["association"].text
    assert "the archive does not know the calling AE title" in steps["association"].advice
    assert steps["own port"].result == "ok"


@pytest.mark.parametrize("closes", [False, True])
def test_association_that_ends_without_a_reason(tmp_path: Path, *, closes: bool) -> None:
    def script(session: scripted.Session) -> None:
        if closes:
            session.close()
        else:
            session.reject(1, 1, 1)

    with scripted.archive(script) as peer:
        steps = check(tmp_path, *peer.address, code=61)
    assert steps["association"].result == "failed"
    assert "check the" in steps["association"].advice


def test_archive_that_breaks_off_when_it_is_asked(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.abort()

    with scripted.archive(script) as peer:
        steps = check(tmp_path, *peer.address, code=61)
    assert steps["association"].result == "ok"
    assert "aborted" in steps["C-ECHO"].text
    assert steps["move destination"].result == "failed"


def test_archive_without_verification_is_good_enough(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid != VERIFICATION)
        session.expect_move()
        session.pending()
        session.respond(MOVE_DESTINATION_UNKNOWN, comment="who\x1b[31m?")
        session.expect_release()

    with scripted.archive(script) as peer:
        steps = check(tmp_path, *peer.address, code=69)
    assert steps["C-ECHO"].result == "skipped"
    assert steps["move destination"].text.endswith(r"(Refused: Move Destination unknown: who\x1b[31m?)")
    assert steps["move destination"].advice == "add to the archive's configuration: MOVESCU with its address and port"


def test_model_that_the_archive_does_not_offer(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid == STUDY_ROOT_MOVE)
        session.expect_release()

    with scripted.archive(script) as peer:
        steps = check(tmp_path, *peer.address, code=66)
    assert "does not offer C-MOVE in the model Patient Root (-P)" in steps["C-MOVE context"].text
    assert steps["C-MOVE context"].advice == "the archive offers: Study Root (-S)"


def test_archive_that_offers_no_model(archive: Archive, tmp_path: Path) -> None:
    archive.faults = Faults(accept_no_context=True)
    steps = check(tmp_path, *at(archive), code=66)
    archive.faults = Faults()
    assert steps["C-ECHO"].result == "skipped"
    assert "allow this AE title to retrieve" in steps["C-MOVE context"].advice


def test_port_of_ours_that_is_taken(archive: Archive, tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        steps = check(tmp_path, *at(archive, "+P", port), code=60)
    assert f"cannot listen on port {port}" in steps["own port"].text
    assert "choose another with --port" in steps["own port"].advice
    assert steps["move destination"].result == "ok"


def test_port_that_needs_privileges(archive: Archive, tmp_path: Path) -> None:
    steps = check(tmp_path, *at(archive, "+P", 104), code=2, prefix=without_privileges())
    assert "ports below 1024" in steps["own port"].advice


def test_directory_that_is_not_there_and_the_first_failure_gives_the_code(archive: Archive, tmp_path: Path) -> None:
    steps = check(tmp_path, *at(archive, "-aem", "YOU", "-od", tmp_path / "none"), code=45)
    assert "create the directory, or name another with --output-directory" in steps["output directory"].advice
    assert steps["move destination"].result == "failed"


def test_directory_that_cannot_be_written_to(archive: Archive, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    steps = check(tmp_path, *at(archive, "-od", closed), code=40, prefix=without_privileges())
    assert "name another with --output-directory" in steps["output directory"].advice


def test_destination_that_the_archive_does_not_know(archive: Archive, tmp_path: Path) -> None:
    port = archive.destinations["ME"][1]
    steps = check(tmp_path, *at(archive, "-aet", "YOU"), code=69)
    assert "ARCHIVE does not know YOU: 0xa801" in steps["move destination"].text
    advice = f"add to the archive's configuration: AE title YOU, address 127.0.0.1 (as seen from here), port {port}"
    assert steps["move destination"].advice == advice


# -- a trial retrieve --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[corpus.Instance]:
    """A study of three objects."""
    return corpus.make_study(tmp_path_factory.mktemp("made"), instances=3, size=2048)


def trial(
    folder: Path, peer: peers.Peer, port: int, made: corpus.Instance, *options: object, code: int = 0
) -> dict[str, Said]:
    """Run a check with the key of a study."""
    keys = ["-k", f"StudyInstanceUID={made.study_uid}"]
    return check(folder, *keys, "-aec", peer.aet, "+P", port, *options, *peer.address, code=code)


@pytest.mark.row("66")
@pytest.mark.parametrize("model", ["-P", "-S"])
@pytest.mark.parametrize("launch", [peers.dcmqrscp, peers.orthanc])
def test_one_object_is_retrieved_to_nowhere(
    launch: Launcher, model: str, made: list[corpus.Instance], tmp_path: Path
) -> None:
    port = peers.free_port()
    with launch({"MOVESCU": (peers.HOST, port)}) as peer:
        peer.load(corpus.paths(made))
        steps = trial(tmp_path, peer, port, made[0], model)
    assert [steps[name].result for name in TRIAL] == ["ok"] * 4
    assert steps["query"].text.removeprefix(f"{peer.aet} has object ") in {one.instance_uid for one in made}
    assert steps["callback"].text == f"{peer.aet} connected to port {port}"
    assert re.match(r"1 object of \d+ bytes arrived in", steps["object"].text)


@pytest.mark.row("66")
@pytest.mark.parametrize("launch", [peers.dcmqrscp, peers.orthanc])
def test_port_that_the_archive_does_not_reach_is_the_step_that_fails(
    launch: Launcher, made: list[corpus.Instance], tmp_path: Path
) -> None:
    port = peers.free_port()
    with launch({"MOVESCU": (peers.HOST, peers.free_port())}) as peer:
        peer.load(corpus.paths(made))
        steps = trial(tmp_path, peer, port, made[0], "-S", code=69)
    assert [steps[name].result for name in TRIAL] == ["ok", "failed", "skipped", "skipped"]
    assert steps["callback"].text.startswith(f"nothing connected to port {port}; {peer.aet} ended C-MOVE with 0x")
    assert f"AE title MOVESCU, address 127.0.0.1 (as seen from here), port {port}" in steps["callback"].advice


@pytest.mark.row("66")
def test_keys_that_match_nothing_are_the_step_that_fails(made: list[corpus.Instance], tmp_path: Path) -> None:
    port = peers.free_port()
    with peers.dcmqrscp({"MOVESCU": (peers.HOST, port)}) as peer:
        steps = trial(tmp_path, peer, port, made[0], "-S", code=63)
    assert [steps[name].result for name in TRIAL] == ["failed", *["skipped"] * 3]
    assert "has nothing for these keys" in steps["query"].text


@pytest.mark.row("66")
def test_transfer_syntax_that_is_refused_is_the_step_that_fails(tmp_path: Path) -> None:
    [jpeg] = [one for one in corpus.bundled() if one.is_compressed][:1]
    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.copy(jpeg.path, folder)
    out = tmp_path / "out"
    out.mkdir()
    with Archive(folder, {"ME": (peers.HOST, peers.free_port())}) as peer:
        steps = check(out, *at(peer, "-S", "-k", f"StudyInstanceUID={jpeg.study_uid}"), code=63)
    assert [steps[name].result for name in TRIAL] == ["ok", "ok", "failed", "skipped"]
    assert "which this program does not accept" in steps["object"].text
    assert "--accept-all (+xa)" in steps["object"].advice


def test_nothing_is_stored_by_a_trial(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    [made] = corpus.make_study(folder, size=2048)
    with Archive(folder, archive.destinations) as full:
        out = tmp_path / "out"
        out.mkdir()
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={made.study_uid}"]
        assert check(out, *at(full, "-S", *keys))["object"].result == "ok"
        assert list(out.iterdir()) == []
        assert len(movescu(*at(full, "-S", *keys), folder=out).files) == 1
