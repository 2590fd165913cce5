"""The fuzz targets: what was found before stays mended, and each of them really runs under the fuzzer.

``make fuzz`` does so for ten minutes each; ``docs/fuzzing.md`` tells of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from effort import some
from targets import TARGETS

FUZZ = Path(__file__).parents[1] / "fuzz"
CORPUS = FUZZ / "corpus"
SEED = 20261126
WAIT = 120.0  # seconds until the fuzzer hangs; all targets together take a quarter of it


@pytest.mark.row("CVE-2024-23912")
@pytest.mark.row("CVE-2025-14607")
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_of_the_corpus_breaks_its_target(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # targets write files
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        TARGETS[name](path.read_bytes())


def test_every_corpus_has_a_target_and_they_are_small() -> None:
    assert sorted(folder.name for folder in CORPUS.iterdir()) == sorted(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 1 << 20


def test_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    """Of two targets by ``make test``: each takes a second, and the test before this one has run them all."""
    names = some(TARGETS, len(TARGETS))
    pytest.importorskip("atheris", reason="there is no wheel of atheris for this interpreter")
    command = [
        sys.executable,
        str(FUZZ / "run.py"),
        *names,
        "--seconds",
        "1",
        "--seed",
        str(SEED),
        "--corpus",
        str(tmp_path),
    ]
    ran = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=WAIT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},  # atheris has its own
    )
    log = ran.stdout.decode("utf-8", "replace")
    assert ran.returncode == 0, log[-20_000:]
    assert log.count("stat::number_of_executed_units") == len(names), log[-20_000:]
