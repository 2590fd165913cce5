"""Fuzz targets with atheris, one after the other: ``python fuzz/run.py [TARGET...] --seconds 600 --corpus FOLDER``.

New inputs are made from ``fuzz/corpus/TARGET`` and ``fuzz/words/TARGET``; those that add coverage are kept in
``FOLDER/TARGET``. The first input that breaks a target ends its fuzzing; it is kept in ``FOLDER`` as
``TARGET-crash-...``, ``-timeout-...`` or ``-oom-...``, and the exit code is 1. An input may take ten seconds, and the
process 1 GiB.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import atheris

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "support")]

with atheris.instrument_imports(include=["movescu", "tomllib"], enable_loader_override=False):
    from targets import TARGETS

if TYPE_CHECKING:
    from targets import Target

SECONDS_PER_INPUT: Final = 10
MEMORY: Final = 1024
"""MiB."""


def main() -> int:
    """Fuzz the targets that the command line names, or all. Return the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz targets, one after the other.")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=600, help="seconds for each target (600)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="folder for new inputs (build/fuzz)")
    parser.add_argument("--seed", type=int, default=0, help="seed of random numbers (0: a different one each time)")
    arguments = parser.parse_args()
    logging.getLogger("movescu").addHandler(logging.NullHandler())
    broken = [name for name in arguments.targets or TARGETS if not _succeeds(name, arguments)]
    sys.stderr.write(f"broken: {', '.join(broken) or 'none'}\n")
    return bool(broken)


def _succeeds(name: str, arguments: argparse.Namespace) -> bool:
    """Fuzz in a forked process, because the fuzzer ends the process that it runs in. Return True if nothing broke."""
    corpus = arguments.corpus.resolve()
    (corpus / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if not child:
            os.chdir(folder)
            os.environ["XDG_CONFIG_HOME"] = folder
            _fuzz(name, TARGETS[name], corpus, arguments)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _fuzz(name: str, target: Target, corpus: Path, arguments: argparse.Namespace) -> NoReturn:
    sys.stderr.write(f"== {name}\n")
    options = {
        "max_total_time": arguments.seconds,
        "seed": arguments.seed,
        "max_len": target.longest,
        "timeout": SECONDS_PER_INPUT,
        "rss_limit_mb": MEMORY,
        "artifact_prefix": f"{corpus}/{name}-",
        "print_final_stats": 1,
    }
    if (HERE / "words" / name).is_file():
        options["dict"] = HERE / "words" / name
    folders = (corpus / name, HERE / "corpus" / name)
    switches = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *switches, *(str(folder) for folder in folders if folder.is_dir())], target)
    atheris.Fuzz()
    raise AssertionError  # atheris has ended the process


if __name__ == "__main__":
    sys.exit(main())
