"""Configurations that do not fit, and archives with habits: the first thing that the user reads is the likely cause.

What would be lost: an afternoon, spent on a firewall while it is a transfer syntax that the archive needs.
"""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import certificates
import corpus
import peers
import proxy
import pydicom
import pytest
import scripted
import secure
from command import movescu
from setting import KEY, Setting

from movescu.dictionary.uids import VERIFICATION
from movescu.dimse.status import DATA_SET_DOES_NOT_MATCH, OUT_OF_RESOURCES_SUB_OPERATIONS, SUCCESS
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STUDY = ("-S", "-k", KEY, "-k", "StudyInstanceUID=1.2.3")
DESTINATION = "add to the archive's configuration"


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def first_of(log: str, *texts: str) -> str:
    """The text that comes first in a log; each is in it."""
    assert all(text in log for text in texts), log
    return min(texts, key=log.index)


# -- what the archive answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("title", "completed"), [("ME", None), ("ME", 0), ("ANOTHER", None)])
def test_success_without_an_object_is_incomplete_if_the_archive_lists_what_was_to_come_here(
    setting: Setting, title: str, completed: int | None
) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=completed)
        session.answer_find({0x0020000D: "1.2.3", 0x00201208: "3"})
        session.expect_release()

    here = title == "ME"
    titles = ("-aet", "ME", "-aem", title)
    outcome = setting.run_here(script, *STUDY, *titles, code=63 if here else 0, linger=0.05)
    assert "has study 1.2.3 (3 objects) but did not" in outcome.log
    assert ("incomplete: the archive reports success" in outcome.log) is here


@pytest.mark.row("63")
def test_abort_in_answer_to_the_request_has_the_advice_of_an_unknown_destination(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.abort()

    log = setting.run(script, "-aet", "ME", code=62).log
    assert f"{DESTINATION}: AE title ME, address 127.0.0.1 (as seen from here), port {setting.port}" in log
    assert "again" not in log
    assert "repeat" not in log


@pytest.mark.row("63")
def test_abort_in_answer_to_the_request_ends_a_check_with_the_same_advice(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid != VERIFICATION)
        session.expect_move()
        session.abort()

    port = peers.free_port()
    with scripted.archive(script) as archive:
        outcome = movescu("--check", "+P", port, *archive.address, folder=tmp_path, code=69)
    assert "aborts the association on C-MOVE: it may not know MOVESCU" in outcome.output
    assert f"{DESTINATION}: AE title MOVESCU, address 127.0.0.1 (as seen from here), port {port}" in outcome.output


@pytest.mark.row("64")
@pytest.mark.parametrize("reason", [(2, 1, 1), (2, 3, 1), (2, 3, 2)])
def test_rejection_for_now_is_a_busy_archive(reason: tuple[int, int, int], tmp_path: Path) -> None:
    with scripted.archive(lambda session: session.reject(*reason)) as archive:
        log = movescu(*STUDY, *archive.address, folder=tmp_path, code=61).log
    assert "try again later, or let --retry repeat the request" in log
    assert "--call" not in log


@pytest.mark.row("64")
def test_rejection_for_now_is_repeated_with_retry(setting: Setting) -> None:
    def busy_once(session: scripted.Session, number: int) -> None:
        if number == 0:
            session.reject(2, 1, 1)
            return
        session.accept()
        session.serve_finds(setting.made)
        with scripted.sender(setting.port, setting.made) as sender:
            for one in setting.made:
                sender.store(one)
        session.respond(completed=len(setting.made))
        session.serve_finds(setting.made)

    with several(busy_once) as port:
        keys = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={setting.made[0].study_uid}"]
        movescu(*keys, "+P", setting.port, "--retry", 2, "127.0.0.1", port, folder=setting.received)
    setting.assert_arrived(setting.made)


@pytest.mark.row("65")
def test_transfer_syntax_that_is_refused_is_named_first_and_the_destination_never(tmp_path: Path) -> None:
    [jpeg] = [one for one in corpus.bundled() if one.is_compressed][:1]
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    shutil.copy(jpeg.path, folder)
    port = peers.free_port()
    with Archive(folder, {"MOVESCU": (peers.HOST, port)}) as archive:
        keys = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={jpeg.study_uid}", "+P", port]
        log = movescu(*keys, "-aec", archive.ae_title, archive.host, archive.port, folder=received, code=69).log
    assert first_of(log, "+xa accepts it", "C-MOVE ended with status").startswith("+xa")
    assert DESTINATION not in log
    assert "again" not in log


def test_transfer_syntax_that_is_refused_is_named_once_in_a_list(tmp_path: Path) -> None:
    """The advice of the entries refers to the log."""
    [jpeg] = [one for one in corpus.bundled() if one.is_compressed][:1]
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    data = pydicom.dcmread(jpeg.path)
    for number in range(3):
        data.StudyInstanceUID, data.SeriesInstanceUID = f"1.2.{number}", f"1.2.{number}.1"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}.1.1"
        data.save_as(folder / str(number))
    rows = tmp_path / "rows.csv"
    rows.write_text("StudyInstanceUID\n1.2.0\n1.2.1\n1.2.2\n")
    port = peers.free_port()
    with Archive(folder, {"MOVESCU": (peers.HOST, port)}) as archive:
        options = ["-S", "--list", rows, "+P", port, "-aec", archive.ae_title, archive.host, archive.port]
        log = movescu(*options, folder=received, code=69).log
        [line] = [line for line in log.splitlines() if "not accepted from a sender" in line]
        assert line.startswith("W: ")
        assert "+xa accepts it" in line
        movescu("+xa", *options, folder=received)
    assert len(list(received.glob("*1.1"))) == 3


# -- what speaks no DICOM ----------------------------------------------------------------------------------------------


def refused_callback(setting: Setting, *first: bytes) -> str:
    """The log of a retrieve whose archive calls back with these bytes, each over a connection of its own."""

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        for data in first:
            with socket.create_connection((peers.HOST, setting.port), 10) as sock:
                sock.sendall(data)
                with suppress(ConnectionResetError):
                    while sock.recv(64):
                        pass
        session.respond(OUT_OF_RESOURCES_SUB_OPERATIONS, completed=0, failed=1)
        session.serve_finds([])

    return setting.run(script, code=69).log


@pytest.mark.row("67")
def test_archive_that_calls_back_with_tls_is_told(setting: Setting) -> None:
    hello, away = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(hello, away, server_hostname="here").do_handshake()
    client_hello = away.read()
    log = refused_callback(setting, client_hello, client_hello)
    assert log.count("refused by this program: the peer speaks TLS, not DICOM; the sender uses TLS") == 1
    assert "use +tls" in log
    assert DESTINATION not in log


@pytest.mark.row("67")
@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /x HTTP/1.1\r\n\r\n"])
def test_web_client_at_our_port_is_named(setting: Setting, first: bytes) -> None:
    assert "the peer speaks HTTP, not DICOM" in refused_callback(setting, first)


@pytest.mark.row("67")
def test_request_that_cannot_be_read_is_refused_with_the_reason(setting: Setting) -> None:
    log = refused_callback(setting, b"\1\0\0\0\0\2\0\1", b"\4\0\0\0\0\4\0\0\0\0")
    assert log.count("refused by this program") == 2


@pytest.mark.row("68")
def test_web_port_given_as_the_archives_is_named(tmp_path: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer((peers.HOST, 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            log = movescu(*STUDY, "-ta", 1, peers.HOST, server.server_port, folder=tmp_path, code=61).log
            steps = movescu("--check", "-ta", 1, peers.HOST, server.server_port, folder=tmp_path, code=61).output
        finally:
            server.shutdown()
            thread.join()
    assert "this is the port of a web server: give the archive's DICOM port" in log
    assert "this is the port of a web server: give the archive's DICOM port" in steps


@pytest.mark.row("68")
def test_web_port_of_orthanc_is_named(tmp_path: Path) -> None:
    with peers.orthanc() as archive:
        log = movescu(*STUDY, "-ta", 2, peers.HOST, archive.http_port, folder=tmp_path, code=61).log
    assert "this is the port of a web server" in log


@pytest.mark.row("68")
@pytest.mark.xdist_group("tls")
def test_port_that_requires_tls_is_named(tmp_path: Path) -> None:
    pki = certificates.made()
    with secure.orthanc(pki, {}) as archive:
        log = movescu(*STUDY, "-ta", 2, *archive.address, folder=tmp_path, code=61).log
    assert "the archive requires TLS on this port: use +tls or +tla" in log


# -- what never comes --------------------------------------------------------------------------------------------------


@pytest.mark.row("69")
@pytest.mark.parametrize(
    ("status", "completed", "code"),
    [(OUT_OF_RESOURCES_SUB_OPERATIONS, 0, 69), (SUCCESS, 3, 63)],
    ids=["failed", "counted"],
)
def test_port_is_named_if_nobody_has_connected_to_it(setting: Setting, status: int, completed: int, code: int) -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid.endswith(".2"))  # no C-FIND
        session.expect_move()
        session.respond(status, completed=completed, failed=3 - completed)
        session.expect_end_or_release()

    log = setting.run(script, "--linger", 1, code=code).log
    assert f"nothing connected to port {setting.port}: check that the archive has address 127.0.0.1" in log


def test_port_is_not_named_if_the_archive_refused_the_keys(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid.endswith(".2"))  # no C-FIND
        session.expect_move()
        session.respond(DATA_SET_DOES_NOT_MATCH)
        session.expect_end_or_release()

    log = setting.run(script, code=69).log
    assert "the archive does not accept these keys" in log
    assert "nothing connected" not in log


@pytest.mark.row("69")
def test_port_is_named_if_the_archive_falls_silent_before_it_connects(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.expect_abort()

    log = setting.run(script, "-td", 1, code=62).log
    assert f"nothing connected to port {setting.port}" in log


# -- one request an association ----------------------------------------------------------------------------------------


@contextmanager
def several(script: Callable[[scripted.Session, int], None]) -> Iterator[int]:
    """Run a script for each association that comes, one after the other; gives the port."""
    errors: list[BaseException] = []
    closing = threading.Event()
    with socket.create_server((peers.HOST, 0)) as listening:

        def run() -> None:
            number = 0
            while not closing.is_set():
                try:
                    sock, _ = listening.accept()
                except OSError:
                    return
                with sock:
                    try:
                        script(scripted.Session(sock), number)
                    except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
                        errors.append(error)
                        return
                number += 1

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            closing.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
    for error in errors:
        raise error


def ends_by_release(session: scripted.Session) -> None:
    session.release()


def ends_by_abort(session: scripted.Session) -> None:
    assert session.receive() is not None
    session.abort()


def ends_by_closing(session: scripted.Session) -> None:
    assert session.receive() is not None
    session.close()


@pytest.mark.row("70")
@pytest.mark.parametrize("end", [ends_by_release, ends_by_abort, ends_by_closing])
def test_archive_that_serves_one_request_an_association_is_asked_again(
    setting: Setting, end: Callable[[scripted.Session], None]
) -> None:
    def script(session: scripted.Session, number: int) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made) as sender:
            sender.store(setting.made[number])
        session.respond(completed=1)
        if number < 2:
            end(session)
        else:
            session.expect_release()

    with several(script) as port:
        options = ["-k", KEY, "+P", setting.port, "--repeat", 3]
        outcome = movescu("-v", *options, peers.HOST, port, folder=setting.received)
    setting.assert_arrived(setting.made)
    assert outcome.log.count("requesting again over a new association") == 2


@pytest.mark.row("70")
def test_list_and_request_take_an_association_each_if_the_archive_wants_it(setting: Setting) -> None:
    requested = threading.Event()

    def script(session: scripted.Session, _: int) -> None:
        session.accept()
        if requested.is_set():
            session.serve_finds(setting.made)
            return
        request = session.serve_finds(setting.made)
        assert request is not None
        if not refused:
            refused.append(request)
            session.abort()
            return
        requested.set()
        with scripted.sender(setting.port, setting.made) as sender:
            for one in setting.made:
                sender.store(one)
        session.respond(completed=len(setting.made))
        session.serve_finds(setting.made)

    refused: list[object] = []
    with several(script) as port:
        keys = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={setting.made[0].study_uid}", "--verify"]
        movescu(*keys, "+P", setting.port, peers.HOST, port, folder=setting.received)
    setting.assert_arrived(setting.made)


# -- success at once, objects later ------------------------------------------------------------------------------------


@pytest.mark.row("71")
def test_orthanc_that_announces_success_and_sends_over_a_slow_line_loses_nothing(tmp_path: Path) -> None:
    folder, received = tmp_path / "made", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, series=3, instances=4, size=50_000)
    port = peers.free_port()
    slow = proxy.Way(split=4096, delay=0.05)
    with (
        proxy.Proxy(port, there=slow) as line,
        peers.orthanc({"MOVESCU": (peers.HOST, line.port)}, {"SynchronousCMove": False}) as archive,
    ):
        archive.load(corpus.paths(made))
        keys = ["-S", "-k", KEY, "-k", f"StudyInstanceUID={made[0].study_uid}", "+P", port]
        outcome = movescu(*keys, "-aec", archive.aet, *archive.address, folder=received)
    assert set(outcome.files) == {f"CT.{one.instance_uid}" for one in made}
    for one in made:
        assert corpus.dataset_equal(one.path, outcome.files[f"CT.{one.instance_uid}"])
