"""``--live``: a page that shows a list while it goes, and orders that are carried out; nobody else may see or order."""

from __future__ import annotations

import json
import re
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import corpus
import peers
import pytest
import scripted
from command import running

from movescu.events import EntryEvent, EntryState
from movescu.report.live_server import LiveServer
from movescu.report.live_state import LiveState
from movescu.testing.archive import Archive
from movescu.testing.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from browser import Browser
    from command import Running

pytestmark = pytest.mark.xdist_group("browser")


def address_of(command: Running) -> str:
    command.await_log("live page: ")
    [line] = [line for line in command.lines if line.startswith("live page: ")]
    return line.split()[-1]


def row(number: int) -> str:
    return f"document.querySelector('#rows .opener[aria-label^=\"Entry {number},\"]').closest('tr').innerText"


def test_live_page_follows_a_list_and_its_orders_are_carried_out(browser: Browser, tmp_path: Path) -> None:
    received, made, later = (tmp_path / name for name in ("received", "made", "later"))
    for folder in (received, made, later):
        folder.mkdir()
    slow = corpus.make_study(made, instances=60, size=2000)
    absent = corpus.make_study(later, instances=2, size=2000, seed=1)
    port = peers.free_port()
    listed = tmp_path / "list.csv"
    listed.write_text(f"{absent[0].study_uid}\n{slow[0].study_uid}\n")
    with browser.tab("about:blank", ready=False):  # a browser that starts may take as long as the run
        pass
    with Archive(made, {"ME": ("127.0.0.1", port)}, faults=Faults(pause=0.9)) as archive:
        arguments = ["-S", "--list", listed, "--jobs", 2, "--live", "-aet", "ME", "+P", port]
        peer = ["-aec", archive.ae_title, archive.host, archive.port]
        with running(*arguments, *peer, folder=received) as command:
            url = address_of(command)
            with browser.tab(url) as tab:
                tab.until(f"{row(1)}.includes('not found')")
                tab.until(f"/[1-9][0-9]? of 60/.test({row(2)})")
                assert tab.texts("h1")[0].startswith("Running: 1 of 2 entries ended")
                assert "slots in use" in " ".join(tab.texts("#archives"))
                tab.until("document.querySelector('#workers').innerText.includes('receiving')")

                with scripted.sender(archive.port, absent) as sender:
                    assert [sender.store(instance) for instance in absent] == [0, 0]
                tab.click("#rows .opener")
                tab.click(".retry")
                tab.until(f"/\\bcomplete/.test({row(1)})")
                assert all((received / f"CT.{instance.instance_uid}").exists() for instance in absent)

                tab.click("#pause")
                tab.until("document.querySelector('#pause').innerText === 'Resume'")
                assert tab.texts("h1")[0].startswith("Paused")
                tab.keep_picture("page-live")
                tab.go(url)
                tab.until(f"/\\bcomplete/.test({row(1)})")
                tab.click("#pause")
                tab.until("document.querySelector('#pause').innerText === 'Pause'")

                tab.run("window.confirm = () => true; 0")
                tab.click("#cancel")
                tab.until("document.querySelector('h1').innerText.startsWith('Cancelled')")
                assert {request.removeprefix(url) for request in tab.requests} == {"", "events", "do"} | {
                    request for request in tab.requests if request.startswith("data:")
                }
            command.end().hold_to(130)


@pytest.fixture
def server() -> Iterator[LiveServer]:
    state = LiveState({"called_ae_title": "ARCHIVE"}, lambda: {"paused": False})
    state.expect([EntryEvent(row=1, state=EntryState.NOT_STARTED, keys=("PatientID=1",))])
    with LiveServer(state, {"pause": lambda _: "paused", "fail": lambda _: pytest.fail("carried out")}) as running:
        yield running


def asked(server: LiveServer, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(None if body is None else body.encode())
        answer = connection.getresponse()
        return answer.status, answer.read(100_000).decode()
    finally:
        connection.close()


def test_address_with_its_token_is_answered(server: LiveServer) -> None:
    status, text = asked(server, "GET", f"/{server.token}/")
    assert (status, "connect-src &#39;self&#39;" in text) == (200, True)
    own = f"http://127.0.0.1:{server.port}"
    answer = asked(server, "POST", f"/{server.token}/do", json.dumps({"do": "pause"}), Origin=own)
    assert answer == (200, '{"answer": "paused"}')


@pytest.mark.parametrize("path", ["/", "/events", "/wrong/", "/wrong/events", "//events", "/{token}x/", "/%00/"])
def test_wrong_token_is_refused(server: LiveServer, path: str) -> None:
    assert asked(server, "GET", path.format(token=server.token)) == (403, "")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}", "Host": "evil.example:{port}"},
    ],
)
def test_orders_of_a_foreign_origin_are_refused(server: LiveServer, headers: dict[str, str]) -> None:
    given = {name: value.format(port=server.port) for name, value in headers.items()}
    assert asked(server, "POST", f"/{server.token}/do", json.dumps({"do": "fail"}), **given) == (403, "")


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_events_for_a_foreign_page_are_refused(server: LiveServer, headers: dict[str, str]) -> None:
    assert asked(server, "GET", f"/{server.token}/events", **headers) == (403, "")


NO_ORDERS = ("", "{", "[]", "1", '{"do": "format"}', '{"do": ["pause"]}', '{"do": "fail", "row": {}}')


@pytest.mark.parametrize("body", NO_ORDERS)
def test_orders_that_are_none_are_refused(server: LiveServer, body: str) -> None:
    own = f"http://127.0.0.1:{server.port}"
    assert asked(server, "POST", f"/{server.token}/do", body, Origin=own) == (400, "")


def test_reader_gets_everything_first_and_then_what_has_changed() -> None:
    state = LiveState({"called_ae_title": "ARCHIVE"}, dict)
    state.expect(EntryEvent(row=number, state=EntryState.NOT_STARTED, keys=("PatientID=1",)) for number in range(1, 4))
    reader = state.reader()

    def told() -> dict[int, str]:
        answer = reader.next(0.0)
        return {one["row"]: one["state"] for one in answer["report"]["entries"]}

    assert told() == dict.fromkeys((1, 2, 3), "waiting")
    assert told() == {}
    state.entry(EntryEvent(row=2, state=EntryState.RUNNING, keys=("PatientID=1",)))
    assert told() == {2: "running"}
    assert re.fullmatch(r"\d+\.\d+", str(state.reader().next(0.0)["report"]["seconds"]))


def test_numbers_of_other_processes_add_up_over_jobs_and_ends() -> None:
    state = LiveState({"called_ae_title": "ARCHIVE"}, dict, remote=True)
    state.expect([EntryEvent(row=1, state=EntryState.NOT_STARTED, keys=("PatientID=1",))])

    def told() -> tuple[int, int, list[str]]:
        run = state.reader().next(0.0)["page"]["run"]
        return run["stored"], run["size"], [job["doing"] for job in run["jobs"]]

    state.entry(EntryEvent(row=1, state=EntryState.RUNNING))
    state.progress(1, "receiving", 3, 300)
    assert told() == (3, 300, ["receiving"])
    state.progress(1, "receiving", 5, 500)
    state.entry(EntryEvent(row=1, state=EntryState.POSTPONED))  # its worker was lost
    state.entry(EntryEvent(row=1, state=EntryState.RUNNING))
    state.progress(1, "receiving", 2, 200)
    assert told()[:2] == (7, 700)
    state.entry(EntryEvent(row=1, state=EntryState.COMPLETE, stored=9, size=900))
    assert told() == (9, 900, [])
    state.progress(1, "receiving", 5, 500)  # comes late
    assert told() == (9, 900, [])


def test_live_page_shows_workers_and_what_they_do(browser: Browser) -> None:
    job = {"row": 7, "doing": "receiving", "stored": 12}
    worker = {"title": "WORKER1", "address": "host1 port 11112", "state": "receives", "jobs": [job]}
    lost = {"title": "WORKER2", "address": "host2 port 11112", "state": "is lost", "jobs": []}
    state = LiveState({"called_ae_title": "ARCHIVE"}, lambda: {"workers": [worker, lost]})
    with LiveServer(state, {}) as server, browser.tab(server.url) as tab:
        tab.until("document.querySelectorAll('#cluster tbody tr').length === 2")
        lines = [line.split("\t") for line in tab.texts("#cluster tbody tr")]
        assert lines == [
            ["WORKER1", "host1 port 11112", "receives", "entry 7: receiving, 12 objects"],
            ["WORKER2", "host2 port 11112", "is lost", "nothing"],
        ]
