"""``--cluster`` over several hosts, with a scheduler and workers of their own, over TLS."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import certificates
import corpus
import pytest
from command import movescu
from hosts import hosts

if TYPE_CHECKING:
    from pathlib import Path

    from hosts import Host

pytestmark = pytest.mark.not_without("hard-links", "locks", "epoll", "poll", "windows")  # of which Dask uses some

STUDIES = 12
SCHEDULER = ("-m", "distributed.cli.dask_scheduler", "--protocol", "tls", "--port", 8786, "--no-dashboard")
ARCHIVE = """
import sys, threading
from movescu.testing import Archive, Faults
folder, host, *known = sys.argv[1:]
places = {title: (address, 11112) for title, address in (one.split("=") for one in known)}
with Archive(folder, places, host=host, port=104, faults=Faults(pause=0.1)):  # so all workers get entries
    print("listens on", flush=True)
    threading.Event().wait()
"""
WORKER = ("-c", "from movescu.cli.worker import run; run()")


class Started:
    """A program on a host; it does not outlive the block."""

    def __init__(self, stack: ExitStack, host: Host, *arguments: object) -> None:
        command = [*host.prefix, sys.executable, *map(str, arguments)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        stack.callback(self._end)

    def await_line(self, words: str) -> None:
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if words in line:
                return
        raise AssertionError("".join(lines))

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.mark.row("cluster-unreached")
def test_workers_that_the_archive_cannot_send_to_are_named_and_the_others_receive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is behind a firewall that drops, one is not registered, and one has no route to the archive."""
    pytest.importorskip("distributed")
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, studies=STUDIES, instances=2, size=2000)
    rows = tmp_path / "rows.csv"
    rows.write_text("StudyInstanceUID\n" + "".join(f"{uid}\n" for uid in dict.fromkeys(one.study_uid for one in made)))
    keys = certificates.made()
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CA_FILE", str(keys.authority))
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT", str(keys.ours.certificate))
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY", str(keys.ours.key))
    with hosts(5) as (driver, one, other, third, archive), ExitStack() as stack:
        scheduler = Started(stack, driver, *SCHEDULER, "--host", driver.address)
        where = f"tls://{driver.address}:8786"
        places = {"GOOD": one, "DROPPED": other, "UNKNOWN": driver, "CUT": third}
        pool = tmp_path / "pool"
        pool.write_text("".join(f"{title} {host.address} 11112\n" for title, host in places.items()))
        known = [f"{title}={host.address}" for title, host in places.items() if title != "UNKNOWN"]
        server = Started(stack, archive, "-c", ARCHIVE, folder, archive.address, *known)
        archive.set("ipv4/tcp_syn_retries", 1)  # it gives up after 3 s
        other.close(11112)
        third.isolate(archive)
        workers = [Started(stack, host, *WORKER, title, where) for title, host in places.items()]
        scheduler.await_line("Scheduler at:")
        server.await_line("listens on")
        for worker in workers:
            worker.await_line("connected to")
        ran = movescu(
            *("-S", "--list", rows, "--cluster", where, "--ae-pool", pool, "--jobs", 4, "-od", received),
            *("-aec", "ARCHIVE", archive.address, 104),
            folder=tmp_path,
            prefix=driver.prefix,
        )
    assert len({path.name for path in received.glob("CT.*")}) == len(made)
    places_of = {title: f"{host.address} port 11112" for title, host in places.items()}
    assert f"add UNKNOWN with {places_of['UNKNOWN']} to the archive's configuration" in ran.log
    assert f"worker DROPPED ({places_of['DROPPED']}): the archive cannot connect to it" in ran.log
    assert f"worker CUT ({places_of['CUT']}): it cannot connect to the archive" in ran.log
