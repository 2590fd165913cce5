"""Lists of requests to an archive that lies at random: no entry is complete without all that was ever listed for it.

The archive (``liar``) has no sockets. What it said is judged here once more, from its own record. ``MOVESCU_LIES=2000``
tries as many runs, from ``MOVESCU_SEED`` on.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import liar
import peers
import pytest
from liar import Answer, Delivery, objects

from movescu._runtime.record import replace
from movescu.cohort.client import Client
from movescu.cohort.runner import Runner
from movescu.query.levels import UNIQUE_KEYS
from movescu.query.request_list import read_rows
from movescu.query.selection import Selection
from movescu.retrieve.config import AE, Config, Receive, Request, Retry, Timeouts
from movescu.storage.options import StorageOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from movescu.cohort.row_result import RowResult

STUDY = UNIQUE_KEYS["STUDY"]
HELD = [*objects(2, 2), *objects(1, study="1.2.4")]
RUNS = int(os.environ.get("MOVESCU_LIES", "12"))
SEED = int(os.environ.get("MOVESCU_SEED", "0"))


class Archive(liar.Archive):
    """The archive, in place of each association of a client."""

    local_address = ("127.0.0.1", 1)
    storage = ()
    verify = False
    take_up = staticmethod(lambda **_: None)

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        super().__init__(HELD, self.lie_in_find, self.lie_in_move)

    def close(self) -> None:
        """End the association."""
        self.is_open = False

    release = cancel = abort = close

    def lie_in_find(self, answer: Answer) -> Answer:
        """Answer a query, and lie in one of four."""
        kind = self.random.choice(("omit", "status", "count", "foreign", "foreign", "no uid", *[""] * 18))
        tag = UNIQUE_KEYS[answer.level]
        if not answer.matches:
            return answer
        if kind == "omit":
            del answer.matches[self.random.randrange(len(answer.matches))]
        elif kind == "status":
            answer.status = self.random.choice((0xA700, 0xC000, 0xFE00))
        elif kind == "count" and answer.level in liar.COUNTS:
            for match in answer.matches:
                match[liar.COUNTS[answer.level]] = str(self.random.randint(0, 5))
        elif kind == "foreign":
            answer.matches.append({**answer.matches[0], tag: f"{answer.matches[0][tag]}.9"})
        elif kind == "no uid":
            del answer.matches[0][tag]
        return answer

    def lie_in_move(self, said: Delivery) -> Delivery:
        """Answer a request, and lie in half of them."""
        assert said.final is not None
        kind = self.random.choice(("drop", "lost", "twice", "foreign", "refuse", *[""] * 5))
        if kind in ("drop", "lost") and said.delivered:
            del said.delivered[self.random.randrange(len(said.delivered))]
        elif kind == "twice" and said.delivered:
            said.delivered[-1] = said.delivered[0]
        elif kind == "foreign" and said.delivered:
            said.delivered[-1] = liar.Object("9.9", "9.9.9", "9.9.9.9")
        elif kind == "refuse" and said.delivered:
            said.failing[said.delivered[0].uid] = self.random.choice((0xA700, 0xC000))
        if kind == "lost":
            said.final = None
            return said
        number = len({one.uid for one in said.delivered} - said.failing.keys())
        counts: list[dict[str, Any]] = [
            {},
            {"completed": number, "failed": len(said.requested) - number, "status": 0xB000},
            {"completed": None, "failed": None, "warning": None},
            {"status": 0xA702},
            {"failed_sop_instance_uids": (said.requested[0].uid,) if said.requested else ()},
        ]
        if kind:
            said.final = replace(said.final, **self.random.choice(counts))
        return said


def run(archive: Archive, folder: Path) -> list[RowResult]:
    """Retrieve a list of both studies: verified or not, by resolved keys or not, in parts or not."""
    rows = folder / "rows.csv"
    rows.write_text("StudyInstanceUID\n1.2.3\n1.2.4\n")
    verify, resolve = archive.random.random() < 0.5, archive.random.random() < 0.5
    config = Config(
        AE("127.0.0.1", 104, "ARCHIVE"),
        receive=Receive(peers.free_port()),
        timeouts=Timeouts(linger=0.0, unannounced=0.0),
        request=Request(model="STUDY"),
        retry=Retry(pause=0.001, verify=verify, resume=True),
        selection=Selection(resolve=True) if resolve else None,
    )
    results: list[RowResult] = []
    with Client.configured(config, StorageOptions(ignore=True), closing=False) as client:
        archive.server = client.server
        archive.verify = verify
        for name, stand_in in (("take", lambda *_: archive), ("give_back", lambda *_: None), ("echo", lambda: None)):
            setattr(client, name, stand_in)
        split = archive.random.choice((0, 1, 1, 2))
        Runner(client, split=split, patience=0.5, on_row=results.append).run(read_rows(str(rows), model="STUDY"))
    return results


def against(archive: Archive, study: str) -> Iterator[str]:
    """Yield what speaks against a complete study, by the archive's own record."""
    here = {uid for uid in archive.stored if uid.startswith(f"{study}.")}
    if not here:
        yield "nothing is here"
    for said in archive.history:
        if isinstance(said, Delivery):
            named = () if said.final is None else said.final.failed_sop_instance_uids
            yield from (f"{uid} named as failed" for uid in named if uid.startswith(f"{study}.") and uid not in here)
            continue
        tag, wanted = UNIQUE_KEYS[said.level], said.keys.get(UNIQUE_KEYS[said.level], "").split("\\")
        for match in said.matches:
            uid = match.get(tag, "")
            if said.keys.get(STUDY) != study or not uid or (wanted != [""] and uid not in wanted):
                continue
            number = sum(one == uid or one.startswith(f"{uid}.") for one in here)
            stated = int(match.get(liar.COUNTS.get(said.level, 0), "0")) if archive.verify else 0
            if number < max(stated, 1):
                yield f"{said.level} {uid} listed with {stated} objects, and {number} are here"


@pytest.mark.parametrize("first", range(SEED, SEED + RUNS, 4))
def test_no_entry_is_complete_without_all_that_was_ever_listed_for_it(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 4):
        archive = Archive(seed)
        for result in run(archive, tmp_path):
            if result.result is not None and result.result.complete:
                study = result.row.identifier.text(STUDY)
                assert not list(against(archive, study)), f"MOVESCU_SEED={seed}"
