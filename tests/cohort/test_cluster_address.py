"""Where workers are (``--cluster``), their titles (``--ae-pool``), and the arguments of ``movescu-worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command import movescu

from movescu.cli import worker
from movescu.cohort.cluster.address import ClusterAddress, parse_pool, read_pool
from movescu.cohort.cluster.engine import address_of
from movescu.errors import ClusterError, UsageError
from movescu.retrieve.config import AE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("local:4", ClusterAddress(local=4)),
        ("tls://host:8786", ClusterAddress(scheduler="tls://host:8786")),
        ("plain:tcp://host:8786", ClusterAddress(scheduler="tcp://host:8786", plain=True)),
        ("/run/scheduler.json", ClusterAddress(file="/run/scheduler.json")),
        ("plain:scheduler.json", ClusterAddress(file="scheduler.json", plain=True)),
    ],
)
def test_address_names_local_workers_or_a_scheduler(text: str, address: ClusterAddress) -> None:
    assert ClusterAddress.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "local:",
            "local:0",
            "local:1000",
            "local:" + 5000 * "9",
            "local:000000002" + 5000 * "9",
            "local:four",
            "ucx://host:1",
            "plain:",
        ),
        *(
            "tls://host",
            "plain:tcp://host",
            "plain:tcp://host:",
            "tls://host:0",
            "tls://host:65536",
            "host:8786",
            "lokal:4",
        ),
    ],
)
def test_other_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        ClusterAddress.parse(text)


def test_address_without_encryption_needs_the_word() -> None:
    with pytest.raises(UsageError, match=r"tcp://host:8786 are not encrypted"):
        ClusterAddress.parse("tcp://host:8786")


def test_file_of_a_scheduler_without_encryption_needs_the_word(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text('{"address": "tcp://10.0.0.1:8786"}')
    with pytest.raises(ClusterError, match="are not encrypted"):
        address_of(ClusterAddress.parse(str(file)))
    assert address_of(ClusterAddress.parse(f"plain:{file}")) == "tcp://10.0.0.1:8786"
    file.write_text("{")
    with pytest.raises(ClusterError, match="cannot read the address"):
        address_of(ClusterAddress.parse(str(file)))


def test_pool_has_title_host_and_port_in_each_line() -> None:
    lines = ["# workers\n", "\n", "W1 10.0.0.1 11112  # first\n", "W2,10.0.0.2, 11112\n"]
    assert parse_pool(lines) == (AE("10.0.0.1", 11112, "W1"), AE("10.0.0.2", 11112, "W2"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line names a worker"),
        ("W1 host\n", "line 1 has no title, host and port"),
        ("W1 host port\n", "line 1 has no title, host and port"),
        ("\nW1 host 99999\n", "line 2: .*not a port number"),
        ("W1 host 1\nW1 host 2\n", "line 2 repeats the title W1"),
        ("W1 host 1\nW2 host 1\n", "line 2 repeats host port 1"),
    ],
)
def test_pool_that_would_mix_workers_up_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "pool"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_pool(str(file))


def test_pool_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the titles of workers from .*absent"):
        read_pool(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--version"], 0, "movescu-worker"),
        (["--help"], 0, "usage: movescu-worker TITLE SCHEDULER"),
        (["W1"], 1, "usage"),
        (["W1", "tcp://host:1"], 1, "plain:"),
        (["W1", "local:2"], 1, "movescu --cluster local:N"),
        (["A TITLE THAT IS TOO LONG", "tls://host:1"], 1, "at most 16"),
        (["W1", "plain:/absent/scheduler.json"], 75, "cannot read the address"),
    ],
)
def test_worker_names_what_is_wrong_with_its_arguments(
    capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert worker.main(arguments) == code
    assert words in "".join(capfd.readouterr())


def test_cluster_without_its_titles_names_the_missing_option(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("StudyInstanceUID\n1.2.3\n")
    arguments = ["-S", "--list", "list", "--cluster", "local:2", "-od", "."]
    words = movescu(*arguments, "host", "104", folder=tmp_path, code=1).log
    assert "--cluster needs --ae-pool" in words
