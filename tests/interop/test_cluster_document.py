"""docs/cluster.md: its commands, settings and scripts make a cluster that retrieves a list."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import certificates
import corpus
import documents
import pytest
import slurm
from hosts import hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hosts import Host

pytestmark = pytest.mark.not_without("hard-links", "locks", "epoll", "poll", "windows")  # of which Dask uses some

yaml = pytest.importorskip("yaml")

PAGE = documents.ROOT / "docs" / "cluster.md"
PATIENCE = 240.0  # seconds; Slurm and Dask start slowly, and more so beside other tests
STUDIES = 8
COMMANDS, SETTINGS, SLURM, KUBERNETES = (
    block.text for block in documents.blocks(PAGE) if block.note == f"tests/interop/{Path(__file__).name}"
)
SCHEDULER, WORKER, LIST = COMMANDS.replace("\\\n", "").splitlines()
ARCHIVE = """
import sys, threading
from movescu.testing import Archive
folder, host = sys.argv[1:]
with Archive(folder, {f"WORKER{one}": (host, 11112 + one) for one in range(1, 5)}, host=host, port=104):
    print("listens on", flush=True)
    threading.Event().wait()
"""
PORTS = """
import sys, urllib.request, urllib.error
for port in sys.argv[1:]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
            print(answer.status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


class Site:
    """One host with the archive, and with everything that the page names in its places."""

    def __init__(self, folder: Path, host: Host, stack: ExitStack) -> None:
        self.folder = folder
        self._host, self._stack = host, stack
        self._variables = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        self._places = {
            "/etc/movescu/": f"{folder}/",
            "scheduler.example.org": host.address,
            "//scheduler:": f"//{host.address}:",
            "/data/received": f"{folder}/received",
            "@archive:": f"@{host.address}:",
        }
        keys = certificates.made()
        shutil.copy(keys.authority, folder / "ca.pem")
        for name in ("scheduler", "node"):
            shutil.copy(keys.ours.certificate, folder / f"{name}.pem")
            shutil.copy(keys.ours.key, folder / f"{name}.key")
        (folder / "received").mkdir()
        (folder / "archive").mkdir()
        self.made = corpus.make_study(folder / "archive", studies=STUDIES, instances=2, size=2000)
        rows = dict.fromkeys(one.study_uid for one in self.made)
        (folder / "studies.csv").write_text("StudyInstanceUID\n" + "".join(f"{uid}\n" for uid in rows))
        pool = "".join(f"WORKER{number} {host.address} {11112 + number}\n" for number in range(1, 5))
        (folder / "workers.txt").write_text(pool)
        self.start(shlex.join([sys.executable, "-c", ARCHIVE, f"{folder}/archive", host.address]), "listens on")

    def adapted(self, text: str) -> str:
        for place, here in self._places.items():
            text = text.replace(place, here)
        return text

    def start(self, command: str, words: str) -> subprocess.Popen[str]:
        """Start a command with the settings of the page, and return when it has put out some words."""
        process = subprocess.Popen(
            [*self._host.prefix, "bash", "-euc", f"{self.adapted(SETTINGS)}\n{self.adapted(command)}"],
            cwd=self.folder,
            env=self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        self._stack.callback(process.stdout.close)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if words in line:
                return process
        raise AssertionError("".join(lines))

    def run(self, command: str) -> str:
        """Run a command with the settings of the page, and return what it has put out."""
        ran = subprocess.run(
            [*self._host.prefix, "bash", "-euc", f"{self.adapted(SETTINGS)}\n{self.adapted(command)}"],
            cwd=self.folder,
            env=self._variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def assert_received(self) -> None:
        assert len([*(self.folder / "received").glob("CT.*")]) == len(self.made)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    pytest.importorskip("distributed")
    with hosts(1) as [host], ExitStack() as stack:
        yield Site(tmp_path, host, stack)


def test_commands_of_the_page_retrieve_a_list(site: Site) -> None:
    site.start(f"exec {SCHEDULER}", "Scheduler at:")
    site.start(f"exec {WORKER}", "WORKER1: connected to")
    site.run(LIST)
    site.assert_received()


def test_scheduler_of_the_page_serves_nothing_without_tls(site: Site) -> None:
    site.start(f"exec {SCHEDULER}", "Scheduler at:")
    listening = re.findall(r"^LISTEN +\S+ +\S+ +(\S+):(\d+) .*dask", site.run("ss -Hltnp"), re.MULTILINE)
    assert {int(port) for address, port in listening if not address.startswith("127.")} == {8786}
    open_here = [port for address, port in listening if address.startswith("127.")]
    assert open_here
    answers = site.run(shlex.join([sys.executable, "-c", PORTS, *open_here])).split()
    assert answers == ["404"] * len(open_here)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder of a path so short that sockets of the system fit into it."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        yield Path(folder)


def test_workers_that_slurm_starts_retrieve_a_list_until_they_are_cancelled(short_folder: Path, site: Site) -> None:
    scheduler = site.start(f"exec {SCHEDULER} --scheduler-file scheduler.json", "Scheduler at:")
    variables = slurm.started(short_folder, site.start)
    setting = "".join(f"export {name}={value}\n" for name, value in variables.items())
    (site.folder / "script").write_text(site.adapted(SLURM))
    [job] = re.findall("Submitted batch job ([0-9]+)", site.run(f"{setting} sbatch script"))
    wait_for_lines(scheduler, "Register worker", 4)
    site.run(LIST.replace("tls://scheduler.example.org:8786", "scheduler.json"))
    site.assert_received()
    site.run(f"{setting} scancel {job}")
    wait_for_lines(scheduler, "Remove worker", 4)
    said = (site.folder / f"slurm-{job}.out").read_text()
    assert sorted(re.findall(r"movescu-worker (\w+): connected to", said)) == [f"WORKER{one}" for one in range(1, 5)]


def test_pod_of_kubernetes_works_under_the_title_of_its_number(site: Site) -> None:
    pods, _ = yaml.safe_load_all(KUBERNETES)
    [container] = pods["spec"]["template"]["spec"]["containers"]
    [name] = [one["name"] for one in container["env"]]
    site.start(f"exec {SCHEDULER}", "Scheduler at:")
    for number in range(pods["spec"]["replicas"]):
        pod = f"{pods['metadata']['name']}-{number}"
        site.start(f"export {name}={pod}\nexec {shlex.join(container['command'])}", f"WORKER{number + 1}: connected to")
    site.run(LIST)
    site.assert_received()


def test_objects_of_kubernetes_are_valid_and_name_each_other() -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    pods, service = yaml.safe_load_all(KUBERNETES)
    for one in (pods, service):
        validate(one, "1.31", strict=True)
    template = pods["spec"]["template"]
    assert template["metadata"]["labels"] == pods["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"] == {"statefulset.kubernetes.io/pod-name": f"{pods['metadata']['name']}-0"}
    [container] = template["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in template["spec"]["volumes"]}
    assert set(re.findall("=(/.*)/.*pem$", SETTINGS, re.MULTILINE)) == {mounts["keys"]}
    assert shlex.split(LIST)[shlex.split(LIST).index("-od") + 1] == mounts["received"]


def wait_for_lines(process: subprocess.Popen[str], words: str, number: int) -> None:
    """Read what a process puts out until so many lines have had the words."""
    assert process.stdout
    limit = threading.Timer(PATIENCE, process.kill)
    limit.start()
    seen = 0
    while seen < number:
        line = process.stdout.readline()
        assert line, f"{seen} of {number}: {words}"
        seen += words in line
    limit.cancel()
