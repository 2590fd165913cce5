"""A Slurm of four nodes on one host, for the scripts that it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import peers
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

NODES = 4
_PLUGIN = "usr/lib/*-linux-gnu/slurm-wlm/auth_none.so"  # later versions lack it
_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CryptoType=crypto/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MessageTimeout=50
SelectType=select/linear
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmctldPidFile={folder}/controller.pid
NodeName=node[1-4] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[7001-7004] CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def started(folder: Path, start: Callable[[str, str], object]) -> dict[str, str]:
    """Start it, and return the variables of its commands. ``start``: a command, and what it puts out when it is ready.

    Its ports are fixed: the host must be that of the test alone. Jobs have sockets in the folder: their paths must be
    shorter than 108 characters.
    """
    peers.require("slurmctld", "slurmd", "sbatch")
    if not [*Path("/").glob(_PLUGIN)]:
        pytest.skip("this version of Slurm needs a daemon of keys, too")
    (folder / "state").mkdir()
    configuration = folder / "slurm.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # which looks for no control groups at its start
    variables = {"SLURM_CONF": str(configuration)}
    setting = f"exec env SLURM_CONF={configuration}"
    start(f"{setting} slurmctld -D", "Running as primary controller")
    for number in range(1, NODES + 1):
        start(f"{setting} slurmd -D -N node{number}", "slurmd started on")
    return variables
