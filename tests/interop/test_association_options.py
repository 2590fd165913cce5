"""What this program's own network options do to an association, seen by real peers and on the wire.

Who may store and how many at once, on which addresses and IP versions; classes that no table has; rejected contexts
named with the option that takes them; roles, and a window of operations. The options that DCMTK's movescu has too are
in ``test_negotiation_like_dcmtk``, user identity in ``test_user_identity``.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from typing import TYPE_CHECKING

import corpus
import peers
import pynetdicom
import pytest
import scripted
from command import movescu
from negotiating import KEY, ask, catch, requests
from pydicom.filereader import dcmread
from pynetdicom import build_role
from pynetdicom.pdu import A_ASSOCIATE_RQ
from wire import WAIT

from movescu.dictionary.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, PATIENT_ROOT_FIND, VERIFICATION
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP, encode_command
from movescu.retrieve.association import ArchiveAssociation
from movescu.retrieve.config import AE, Config
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import connect
from movescu.ul.negotiation import propose
from movescu.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ, PDataTF, PresentationDataValue
from movescu.ul.user_information import ExtendedNegotiation, UserInformation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from command import Outcome
    from corpus import Instance

CT = "1.2.840.10008.5.1.4.1.1.2"


def retrieve(during: Callable[[int], None], *options: object, folder: Path, code: int = 0, status: int = 0) -> Outcome:
    """Run the command; while its request is open, ``during`` is given the port that it listens on."""
    port = peers.free_port()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        during(port)
        session.respond(status)
        session.expect_release()

    with scripted.archive(script) as archive:
        return movescu("--linger", 0, *options, *KEY, "+P", port, *archive.address, folder=folder, code=code)


def tool(*command: object) -> tuple[int, str]:
    """Run one of DCMTK's tools; gives its exit code and what it wrote."""
    result = subprocess.run(
        [str(word) for word in command],
        check=False,
        env=peers.quick_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT,
    )
    return result.returncode, result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where objects are received."""
    path = tmp_path / "received"
    path.mkdir()
    return path


@pytest.fixture
def ct(tmp_path: Path) -> Instance:
    """A small CT."""
    (tmp_path / "made").mkdir()
    [instance] = corpus.make_study(tmp_path / "made", size=2048)
    return instance


# -- who may store ---------------------------------------------------------------------------------------------------

TITLES = {
    "one that may not": (("--allow-aet", "PACS"), "OTHER", "ME", "Calling AE Title Not Recognized"),
    "one of several that may": (("--allow-aet", "PACS", "--allow-aet", "OTHER"), "OTHER", "ME", ""),
    "one in other letters": (("--allow-aet", "PACS"), "pacs", "ME", "Calling AE Title Not Recognized"),
    "blanks around a title": (("--allow-aet", " PACS "), "PACS", "ME", ""),
    "calls another than ours": (
        ("--require-called-aet", "-aet", "ME"),
        "PACS",
        "YOU",
        "Called AE Title Not Recognized",
    ),
    "calls ours": (("--require-called-aet", "-aet", "ME"), "PACS", "ME", ""),
    "calls the destination": (("--require-called-aet", "-aet", "ME", "-aem", " DEST "), "PACS", "DEST", ""),
    "calls us, not the destination": (
        ("--require-called-aet", "-aet", "ME", "-aem", "DEST"),
        *("PACS", "ME", "Called AE Title Not Recognized"),
    ),
    "without these options": ((), "ANYONE", "ANYTHING", ""),
}


@pytest.mark.parametrize("what", TITLES)
def test_sender_under_a_wrong_title_is_rejected_with_the_reason_and_stores_nothing(
    what: str, folder: Path, ct: Instance
) -> None:
    options, calling, called, reason = TITLES[what]
    seen: list[tuple[int, str]] = []

    def during(port: int) -> None:
        seen.append(tool("storescu", "-v", "-aet", calling, "-aec", called, peers.HOST, port, ct.path))

    outcome = retrieve(during, *options, folder=folder)
    [(code, log)] = seen
    assert (code == 0) == (not reason), log
    if reason:
        assert "Rejected Permanent" in log
        assert f"Reason: {reason}" in log
        assert calling in outcome.log
        assert reason.lower() in outcome.log.lower()
    assert list(outcome.files) == ([] if reason else [f"CT.{ct.instance_uid}"])


def test_more_senders_than_wanted_are_rejected_for_now_and_served_when_another_has_ended(folder: Path) -> None:
    [request] = requests([(CT, [IMPLICIT_LITTLE.uid])])
    seen: list[object] = []

    def during(port: int) -> None:
        first = Connection.request(connect(peers.HOST, port, WAIT), request, WAIT)
        seen.append(ask(port, request))
        code, log = tool("echoscu", peers.HOST, port)
        assert code
        assert "Rejected Transient" in log
        first.release(Deadline(WAIT, "releasing"))
        # Rejected until ours has seen that the first one has closed its connection.
        answers = (ask(port, request) for _ in range(1000))
        seen.append(next(answer for answer in answers if not isinstance(answer, AssociateRJ)))

    retrieve(during, "--max-associations", "1", folder=folder)
    assert seen[0] == AssociateRJ(2, 3, 2)
    assert isinstance(seen[1], AssociateAC)


# -- addresses -------------------------------------------------------------------------------------------------------


def reachable(host: str, port: int) -> bool:
    """Whether an association is answered there."""
    [request] = requests([(VERIFICATION, [IMPLICIT_LITTLE.uid])])
    try:
        return isinstance(ask(port, request, host), AssociateAC)
    except ConnectionRefusedError:
        return False


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on its loopback")

ADDRESSES = {
    "all of IPv4": ((), {"127.0.0.1": True, "127.0.0.2": True}),
    "one": (("--listen", "127.0.0.1"), {"127.0.0.1": True, "127.0.0.2": False}),
    "another": (("--listen", "127.0.0.2"), {"127.0.0.1": False, "127.0.0.2": True}),
    "by its name": (("--listen", "localhost"), {"127.0.0.1": True, "127.0.0.2": False}),
}
BOTH_VERSIONS = {
    "IPv4 is what DCMTK's has": ((), {"127.0.0.1": True, "::1": False}),
    "IPv4": (("-i4",), {"127.0.0.1": True, "::1": False}),
    "both": (("-i0",), {"127.0.0.1": True, "::1": True}),
    "one of IPv6": (("-i0", "--listen", "::1"), {"127.0.0.1": False, "::1": True}),
}


@pytest.mark.parametrize(
    "case", [*ADDRESSES.values(), *(pytest.param(case, marks=needs_ipv6) for case in BOTH_VERSIONS.values())]
)
def test_senders_find_us_on_the_addresses_asked_for_and_on_no_others(
    case: tuple[tuple[str, ...], dict[str, bool]], folder: Path
) -> None:
    options, expected = case
    found: dict[str, bool] = {}
    retrieve(lambda port: found.update({host: reachable(host, port) for host in expected}), *options, folder=folder)
    assert found == expected


@needs_ipv6
def test_archive_of_ipv6_is_asked_and_sends_over_ipv6_alone(folder: Path) -> None:
    port = peers.free_port()
    found: dict[str, bool] = {}

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        found.update({host: reachable(host, port) for host in ("127.0.0.1", "::1")})
        session.respond(completed=0)
        session.expect_release()

    with scripted.archive(script, host="::1") as archive:
        movescu("-i6", "--linger", 0, *KEY, "+P", port, "::1", archive.port, folder=folder)
    assert found == {"127.0.0.1": False, "::1": True}


def test_address_that_is_not_ours_ends_the_run_with_the_code_of_a_port_in_use(folder: Path) -> None:
    outcome = movescu("--listen", "192.0.2.1", "+P", peers.free_port(), *KEY, "127.0.0.1", 4, folder=folder, code=60)
    assert "192.0.2.1 must be an address of this machine" in outcome.log


def test_own_address_of_the_version_that_brackets_exclude_has_advice(folder: Path) -> None:
    own = ("--listen", "127.0.0.1", "+P", peers.free_port())
    assert "use -i0" in movescu(*own, *KEY, "ARCHIVE@[::1]:4", folder=folder, code=60).log


def test_archive_whose_name_has_an_address_that_refuses_is_asked_at_its_other_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_release()

    with scripted.archive(script) as archive:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        found = [(*kind, (peers.HOST, peers.free_port())), (*kind, archive.address)]
        monkeypatch.setattr("movescu.transport.network.getaddrinfo", lambda *_: found)
        association = ArchiveAssociation(Config(AE("archive.example", archive.port)))
        with contextlib.closing(association):
            association.open()
            association.release()


# -- classes that no table has ---------------------------------------------------------------------------------------

PRIVATE, NEW, WORKLIST = "1.2.826.0.1.3680043.8.498.7", "1.2.840.10008.5.1.4.1.1.9999", "1.2.840.10008.5.1.4.31"


def test_objects_of_private_and_of_new_classes_are_kept_under_names_that_say_so(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "made").mkdir()
    made = corpus.make_objects(tmp_path / "made", {PRIVATE: "OT", NEW: "OT", CT: "CT"})

    def during(port: int) -> None:
        with scripted.sender(port, made) as sender:
            assert [sender.store(instance) for instance in made] == [0, 0, 0]

    outcome = retrieve(during, "--accept-unknown", "-v", folder=folder)
    prefixes = {PRIVATE: "UNKNOWN", NEW: "UNKNOWN", CT: "CT"}
    assert set(outcome.files) == {f"{prefixes[i.sop_class_uid]}.{i.instance_uid}" for i in made}
    for instance in made:
        assert corpus.dataset_equal(
            instance.path, outcome.files[f"{prefixes[instance.sop_class_uid]}.{instance.instance_uid}"]
        )


@pytest.mark.parametrize("options", [(), ("--accept-unknown",)], ids=["known", "unknown too"])
def test_classes_that_no_table_has_are_taken_on_request_and_those_of_other_services_never(
    options: tuple[str, ...], folder: Path
) -> None:
    [request] = requests([(uid, [EXPLICIT_LITTLE.uid]) for uid in (PRIVATE, NEW, WORKLIST, PATIENT_ROOT_FIND, CT)])
    answers: list[object] = []
    outcome = retrieve(lambda port: answers.append(ask(port, request)), "-v", *options, folder=folder)
    [answer] = answers
    assert isinstance(answer, AssociateAC)
    unknown = 0 if options else 3
    assert [context.result for context in answer.contexts] == [unknown, unknown, 3, 3, 0]
    named = {
        uid: line for line in rejections(outcome) for uid in (PRIVATE, NEW, WORKLIST, PATIENT_ROOT_FIND) if uid in line
    }
    assert set(named) == ({WORKLIST, PATIENT_ROOT_FIND} if options else {PRIVATE, NEW, WORKLIST, PATIENT_ROOT_FIND})
    assert all(("--accept-unknown accepts it" in line) == (uid in (PRIVATE, NEW)) for uid, line in named.items())


# -- rejected contexts -----------------------------------------------------------------------------------------------


def rejections(outcome: Outcome) -> list[str]:
    """What the log says of contexts that were not accepted."""
    return [line for line in outcome.log.splitlines() if "not accepted from a sender" in line]


COMPRESSED = {
    "SC_rgb_jpeg_dcmtk.dcm": "JPEG Baseline (Process 1)",
    "SC_rgb_jpeg_gdcm.dcm": "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 SV1)",
    "693_J2KI.dcm": "JPEG 2000 Image Compression",
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_object_that_could_not_come_is_named_and_comes_by_each_option_that_is_named(
    name: str, folder: Path
) -> None:
    [instance] = [instance for instance in corpus.bundled() if instance.path.name == name]

    def during(port: int) -> None:
        tool("dcmsend", "-dn", peers.HOST, port, instance.path)

    def run(*options: str, code: int = 69, status: int = 0xA702) -> Outcome:
        return retrieve(during, *options, folder=folder, code=code, status=status)

    failed = run()
    [line] = rejections(failed)
    assert line.startswith("W: ")
    assert instance.sop_class_uid in line
    assert COMPRESSED[name] in line
    assert not failed.files
    named = re.findall(r"\+x.", line)
    assert len(named) == 2
    assert "+xa" in named
    for option in named:
        outcome = run(option)
        assert not rejections(outcome)
        [file] = outcome.files.values()
        assert corpus.dataset_equal(instance.path, file, by_dcmtk=True)
        file.unlink()
    # Where the retrieve did not fail, it is no warning.
    assert not rejections(run(code=0, status=0))
    assert [line[:3] for line in rejections(run("-v", code=0, status=0))] == ["I: "]


def test_class_that_came_in_one_syntax_and_was_rejected_in_another_is_named_too(folder: Path, ct: Instance) -> None:
    def during(port: int) -> None:
        code, log = tool("storescu", "-xs", "-v", peers.HOST, port, ct.path)  # proposes JPEG lossless, and native ones
        assert code == 0, log

    outcome = retrieve(during, folder=folder, code=69, status=0xA702)
    ct_lines = [line for line in rejections(outcome) if f"({CT})" in line]
    assert len(ct_lines) == 1
    assert "+xs or +xa accepts it" in ct_lines[0]
    assert list(outcome.files) == [f"CT.{ct.instance_uid}"]


ADVICE: dict[str, tuple[tuple[str, ...], tuple[str, list[str]], str]] = {
    "implicit alone": (("+xi",), (CT, [EXPLICIT_LITTLE.uid]), "+x= or +xa accepts it"),
    "big endian where implicit alone is taken": (("+xi",), (CT, ["1.2.840.10008.1.2.2"]), "+xb or +xa accepts it"),
    "no table has it": (
        (),
        (CT, ["1.2.826.0.1.3680043.8.498.9"]),
        "; --accept-nonstandard with --bit-preserving (+B) accepts it",
    ),
    "the newest": ((), (CT, ["1.2.840.10008.1.2.4.201"]), "; +xa accepts it"),
    "unknown and compressed": ((), (PRIVATE, ["1.2.840.10008.1.2.5"]), "; --accept-unknown with +xr or +xa accepts it"),
    "several": ((), (CT, ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70"]), "; +xs or +xr or +xa accepts it"),
    "another service": ((), (WORKLIST, [IMPLICIT_LITTLE.uid]), "it is not a storage class"),
}


@pytest.mark.parametrize("what", ADVICE)
def test_advice_is_one_that_helps(what: str, folder: Path) -> None:
    options, context, advice = ADVICE[what]
    [request] = requests([context])
    answers: list[object] = []
    outcome = retrieve(lambda port: answers.append(ask(port, request)), "-v", *options, folder=folder)
    [line] = rejections(outcome)
    assert line.endswith(advice)


# -- roles, window, extended negotiation -----------------------------------------------------------------------------


@pytest.mark.pynetdicom_sender
def test_sender_that_negotiates_its_role_stores(folder: Path, ct: Instance) -> None:
    statuses: list[int] = []

    def during(port: int) -> None:
        entity = pynetdicom.AE("SENDER")
        entity.add_requested_context(CT, EXPLICIT_LITTLE.uid)
        association = entity.associate(peers.HOST, port, ext_neg=[build_role(CT, scu_role=True)])
        assert association.is_established
        [context] = association.accepted_contexts
        assert (context.as_scu, context.as_scp) == (True, False)
        statuses.append(association.send_c_store(dcmread(ct.path)).Status)
        association.release()

    assert list(retrieve(during, folder=folder).files) == [f"CT.{ct.instance_uid}"]
    assert statuses == [0]


@pytest.mark.parametrize("window", [20, 0], ids=["20", "unlimited"])
def test_sender_may_be_20_requests_ahead_of_our_responses_which_come_in_order(
    window: int, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "made").mkdir()
    made = corpus.make_study(tmp_path / "made", instances=20, size=60_000)
    answered: list[tuple[int, str, int]] = []

    def during(port: int) -> None:
        said = UserInformation(16384, "1.2.3", asynchronous_operations=(window, 1))
        request = AssociateRQ("MOVESCU", "SENDER", propose((CT,), (EXPLICIT_LITTLE,)), said)
        connection = Connection.request(connect(peers.HOST, port, WAIT), request, WAIT)
        assert connection.peer_information.asynchronous_operations == (window, 1)
        connection.send(pipelined(made), Deadline(WAIT, "sending"))
        exchange = Exchange(connection)
        for _ in made:
            _, message = exchange.receive_response(Deadline(WAIT, "waiting for responses"))
            assert isinstance(message, CStoreRSP)
            answered.append(
                (message.message_id_being_responded_to, message.affected_sop_instance_uid or "", message.status)
            )
        connection.release(Deadline(WAIT, "releasing"))

    outcome = retrieve(during, folder=folder)
    assert answered == [(number, instance.instance_uid, 0) for number, instance in enumerate(made, start=1)]
    for instance in made:
        assert corpus.dataset_equal(instance.path, outcome.files[f"CT.{instance.instance_uid}"])


def pipelined(made: Sequence[Instance]) -> list[PDataTF]:
    """All requests with their data sets, on context 1, as they go over the line without a look at a response."""
    pdus = []
    for number, instance in enumerate(made, start=1):
        originator = scripted.Archive.AET
        command = encode_command(
            CStoreRQ(instance.sop_class_uid, number, instance.instance_uid, move_originator_ae_title=originator)
        )
        pdus.append(PDataTF((PresentationDataValue(1, 3, command),)))
        data = scripted.data_set(instance.path)
        for start in range(0, len(data), 16000):
            last = 2 if start + 16000 >= len(data) else 0
            pdus.append(PDataTF((PresentationDataValue(1, last, data[start : start + 16000]),)))
    return pdus


GRANTS = {
    "all": (b"\1\1", []),
    "relational retrieval alone": (b"\1", ["conversion to enhanced multi-frame images"]),
    "conversion alone": (b"\0\1", ["relational retrieval"]),
    "nothing, it does not know of them": (None, ["relational retrieval", "conversion to enhanced multi-frame images"]),
}


@pytest.mark.parametrize("what", GRANTS)
def test_what_the_archive_does_not_grant_is_said(what: str, tmp_path: Path) -> None:
    granted, missing = GRANTS[what]

    def script(session: scripted.Session) -> None:
        request = session.read_request()
        [asked] = request.user_information.extended_negotiations
        grants = () if granted is None else (ExtendedNegotiation(asked.sop_class_uid, granted),)
        session.accept_with(request, extended_negotiations=grants)
        session.expect_move()
        session.respond(completed=0)
        session.expect_release()

    with scripted.archive(script) as archive:
        outcome = movescu("--relational", "--enhanced-conversion", *KEY, *archive.address, folder=tmp_path)
    assert re.findall(r"does not grant (.*)", outcome.log) == missing


def test_relational_retrieval_is_read_by_pynetdicom_as_it_is_meant(tmp_path: Path) -> None:
    request = catch(movescu, "--relational", "--enhanced-conversion", *KEY, folder=tmp_path).request
    read = A_ASSOCIATE_RQ()
    read.decode(request.encode())
    assert read.user_information is not None
    [item] = read.user_information.ext_neg
    assert (item.uid, item.app_info) == (request.contexts[1].abstract_syntax, b"\1\1")
