"""The messages between driver and workers of a cohort: jobs, and reports on them.

The driver (``runner``) decides: order, admission, repetitions, the state of each entry, the journal. A worker retrieves
one job, reports its result, and keeps no state. So a job contains what earlier requests learned (``Job.earlier``), and
workers may be threads or other machines (``workers``).

All of these are records of plain values: they pickle, ``job_json`` has their JSON form, and each is of limited size.
But a job that continues another names all missing objects, and all requests of its entry. Other objects, of which there
may be a million, are reported in several records (``ObjectsReport``), all before the ``JobVerdict`` of the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.record import Record

if TYPE_CHECKING:
    from movescu.cohort.admission import RequestEnd
    from movescu.query.identifier import Identifier
    from movescu.retrieve.causes import Cause
    from movescu.retrieve.earlier_request import EarlierRequest, SeriesObjects
    from movescu.retrieve.result import Result

MOST_NAMED: Final = 1000
"""Highest number of objects, studies or messages that one record names, of each kind."""


class Job(Record):
    """One request for a worker, which has the cohort's configuration.

    ``number``: of the job, never used again. ``entry``: number of the list's entry. ``seconds``: left of the total
    timeout. Default: None, no limit. ``earlier``: what earlier jobs of the entry learned. ``split``: if more objects
    than this are missing, report the entry's series instead of requesting them. Default: 0, never. ``model``: query
    model. Default: empty, that of the configuration.
    """

    number: int
    entry: int
    identifier: Identifier
    seconds: float | None = None
    earlier: tuple[EarlierRequest, ...] = ()
    split: int = 0
    model: str = ""


class ObjectsReport(Record):
    """Objects of one request of a job: a key may be resolved to several. Several reports on a request add up.

    ``listed``: the archive has listed them. ``complete``: the request is proven complete, and flushed. ``here``: stored
    objects, those of earlier runs included. ``missing``: listed and not stored.
    """

    job: int
    identifier: Identifier
    listed: bool
    complete: bool
    here: tuple[SeriesObjects, ...] = ()
    missing: tuple[SeriesObjects, ...] = ()


class PartsReport(Record):
    """Series, or lists of objects, of a job whose entry is to be split: each can be requested by itself."""

    job: int
    parts: tuple[Identifier, ...]


class DeliveredReport(Record):
    """The archive has delivered all objects of a job, and serves the next request. The verdict follows a flush."""

    job: int


class JobVerdict(Record):
    """How a job ended; the last report on it.

    ``result``: None if there was no association, for the reason in ``error``; its missing objects are in
    ``ObjectsReport``. ``cause``: the likely one, None if complete. ``studies``: Study Instance UIDs of the archive's
    lists. ``listed``: there was any list. ``split``: nothing was requested, since the entry is to be split.
    ``cancelled``: by us. ``hints``: advice on its keys. ``earlier``: for another job of the entry.
    """

    job: int
    end: RequestEnd
    result: Result | None
    cause: Cause | None = None
    error: str = ""
    studies: tuple[str, ...] = ()
    seconds: float = 0.0
    listed: bool = False
    split: bool = False
    cancelled: bool = False
    hints: tuple[str, ...] = ()
    earlier: tuple[EarlierRequest, ...] = ()


class EchoReport(Record):
    """Whether the archive answered a C-ECHO."""

    answered: bool


class LostJob(Record):
    """A job without a verdict, whose worker is gone. ``stored``, ``size``: objects and bytes, as far as known.

    ``why``: what became of the worker, for messages. Default: it ended. ``counts``: the entry may have ended the
    worker. Default: True.
    """

    number: int
    stored: int = 0
    size: int = 0
    why: str = "its worker ended unexpectedly"
    counts: bool = True


class LateReport(Record):
    """What is known only once the last job has ended and no more objects arrive.

    ``late``: entry, and SOP instance UIDs of its objects that are not whole any more, with the reasons. ``superseded``:
    objects of earlier runs that others of their UID have replaced. ``unclaimed``: objects that nobody requested.
    ``compared``: each object was compared with all others of its UID. Default: True; False if several processes stored.
    """

    late: tuple[tuple[int, dict[str, str]], ...] = ()
    superseded: frozenset[str] = frozenset()
    unclaimed: tuple[str, ...] = ()
    compared: bool = True


Report = DeliveredReport | ObjectsReport | PartsReport | JobVerdict | EchoReport
