"""The execution of a job: one retrieve through an ``ArchiveClient``, and its reports; the same in all workers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.record import replace
from movescu.cohort.job import MOST_NAMED, JobVerdict, ObjectsReport, PartsReport
from movescu.cohort.request_end import end_of_error, end_of_result
from movescu.errors import PeerError
from movescu.retrieve.catalogue import Place
from movescu.retrieve.causes import cause_of
from movescu.retrieve.earlier_request import MOST, EarlierRequest, earlier_of, series_of
from movescu.retrieve.parts import is_complete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from movescu.cohort.job import Job, Report
    from movescu.errors import StoreError
    from movescu.query.identifier import Identifier
    from movescu.retrieve.client import ArchiveClient
    from movescu.retrieve.config import Config
    from movescu.retrieve.request_state import RequestState
    from movescu.retrieve.result import Result
    from movescu.services.move import MoveResponse
    from movescu.storage.target import Target

_RESPONSES: Final = 100
"""Highest number of final responses in a verdict; failures take precedence."""
_LONGEST: Final = 500
"""Longest message, in characters."""
_NOWHERE: Final = Place("", "", "")


class JobRun:
    """One job being carried out. ``config``: of the cohort. ``report``: takes the reports.

    ``target``: of the objects. Default: the client's.
    """

    def __init__(
        self,
        client: ArchiveClient,
        config: Config,
        job: Job,
        report: Callable[[Report], None],
        target: Target | None = None,
    ) -> None:
        self.job = job
        self._report = report
        self._seconds = 0.0  # of the requests
        self._error: PeerError | None = None
        self._client = client
        if job.model:
            config = replace(config, request=replace(config.request, model=job.model))
        self._retrieve = client.prepare(
            (job.identifier,),
            config=config,
            target=target,
            row=job.entry,
            until=None if job.seconds is None else clock.now() + job.seconds,
            earlier=job.earlier,
            split=job.split,
        )

    def cancel(self) -> None:
        """Cancel the retrieve. Safe from any thread and from a signal handler."""
        self._retrieve.cancel()

    def request(self) -> None:
        """Carry out the requests."""
        begun = clock.now()
        try:
            self._retrieve.request()
        except PeerError as error:
            self._error = error
        self._seconds = clock.now() - begun

    @property
    def is_delivered(self) -> bool:
        """Whether the archive has delivered all objects, so that only a flush is left."""
        return self._error is None and self._retrieve.is_delivered

    def conclude(self, failure: StoreError | None = None, *, flushed: bool = True) -> None:
        """Judge the job and send its reports.

        ``failure``: of the flush for its objects. Default: None. ``flushed``: others have flushed. Default: True.
        """

        def flush() -> None:
            if failure is not None:
                raise failure

        begun = clock.now() - self._seconds  # without the wait for the flush
        retrieve, client, job, report = self._retrieve, self._client, self.job, self._report
        result, error = None, self._error
        if error is None:
            result = retrieve.conclude(flush if flushed else None)
            reached = client.service.gets or not client.port or client.server.was_reached
            no_space = any(state.tally.no_space for state in retrieve.states)
            end = end_of_result(result, reached=reached, no_space=no_space)
        else:
            end = end_of_error(error)
        states = retrieve.states
        for state in states:
            for one in _objects(job, state):
                report(one)
        split = any(state.is_split for state in states)
        if split:
            parts = (part for state in states if state.inventory is not None for part in _parts(state, job.split))
            while some := tuple(islice(parts, MOST_NAMED)):
                report(PartsReport(job.number, some))
        refusals = (state.error or state.refusal for state in states)
        error = error or next((one for one in refusals if one is not None), None)
        report(
            JobVerdict(
                job.number,
                end,
                None if result is None else bounded(result),
                None if result is not None and result.complete else cause_of(result, error),
                "" if error is None else str(error)[:_LONGEST],
                studies=tuple(islice(_studies(states), MOST_NAMED)),
                seconds=clock.now() - begun,
                listed=any(state.inventory is not None for state in states),
                split=split,
                cancelled=retrieve.cancelled,
                hints=tuple(dict.fromkeys(retrieve.hints))[:_RESPONSES],
                earlier=known_of(states, job.earlier, retrieve.unrequested, retrieve.counts),
            )
        )


def _parts(state: RequestState, split: int) -> Iterator[Identifier]:
    assert state.inventory is not None
    return state.inventory.parts(state.missing, split)


def _studies(states: Iterable[RequestState]) -> Iterator[str]:
    listed = (state.inventory.objects.values() for state in states if state.inventory is not None)
    yield from sorted({place.study for places in listed for place in places})


def known_of(
    states: Iterable[RequestState],
    before: tuple[EarlierRequest, ...],
    unrequested: Iterable[Identifier],
    counts: Mapping[str, int],
) -> tuple[EarlierRequest, ...]:
    """Return what another job has to know. Of objects that are here, it names few over all requests.

    ``before``: what this job had to know; it stays for requests that the job did not come to. ``unrequested``: requests
    of the archive's list that it did not come to either: what was listed once stays wanted. ``counts``: objects that
    the archive stated for these, by UID of study or series.
    """
    found: dict[Identifier, EarlierRequest] = {}
    most = MOST
    for state in states:
        if (one := earlier_of(state, max(most, 0))) is not None:
            found[one.identifier] = one
            most -= sum(len(series.uids) for series in (*one.missing, *one.here))
    for one in before:
        found.setdefault(one.identifier, one.with_counts(counts))
    for identifier in unrequested:
        found.setdefault(identifier, EarlierRequest(identifier, 0, (), ()).with_counts(counts))
    return tuple(found.values())


def _objects(job: Job, state: RequestState) -> Iterator[ObjectsReport]:
    """Yield the reports on the objects of a request, at least one."""
    inventory = state.inventory
    identifier = job.identifier if inventory is None else inventory.scope.identifier
    listed: Mapping[str, Place] = {} if inventory is None else inventory.objects
    first = ObjectsReport(job.number, identifier, inventory is not None, is_complete(state))
    here = iter([(uid, listed.get(uid, _NOWHERE)) for uid in _in_order(state.here, listed)])
    missing = iter([(uid, listed.get(uid, _NOWHERE)) for uid in sorted(state.missing_uids)])
    some, some_missing = dict(islice(here, MOST_NAMED)), dict(islice(missing, MOST_NAMED))
    while True:
        yield replace(first, here=tuple(series_of(some)), missing=tuple(series_of(some_missing)))
        some, some_missing = dict(islice(here, MOST_NAMED)), dict(islice(missing, MOST_NAMED))
        if not (some or some_missing):
            return


def _in_order(here: set[str], listed: Mapping[str, Place]) -> list[str]:
    """Return objects in the order of the archive's list, those beside it last."""
    return [*(uid for uid in listed if uid in here), *sorted(here - listed.keys())]


def bounded(result: Result) -> Result:
    """Return a result of limited size, without the missing objects, which are reported by themselves."""
    return replace(
        result,
        responses=_responses(result.responses),
        evidence=replace(result.evidence, statuses=tuple(dict.fromkeys(result.evidence.statuses))),
        failures={uid: why[:_LONGEST] for uid, why in islice(result.failures.items(), MOST_NAMED)},
        rejected=result.rejected[:_RESPONSES],
        broken_off=result.broken_off[:MOST_NAMED],
        missing_uids=(),
        extra_uids=result.extra_uids[:MOST_NAMED],
        unfound=result.unfound[:MOST_NAMED],
        unlisted=result.unlisted[:_LONGEST],
        unmet=result.unmet[:_LONGEST],
        errors=tuple(error[:_LONGEST] for error in result.errors[:_RESPONSES]),
    )


def _responses(responses: tuple[MoveResponse, ...]) -> tuple[MoveResponse, ...]:
    few = responses
    if len(few) > _RESPONSES:
        few = tuple(sorted(few, key=lambda one: not one.status))[:_RESPONSES]
    left, cut = MOST_NAMED, []
    for one in few:
        named = one.failed_sop_instance_uids
        cut.append(one if len(named) <= left else replace(one, failed_sop_instance_uids=named[:left]))
        left -= min(len(named), left)
    return tuple(cut)
