"""Pseudonyms (``--pseudonymise``): report and page without anything that identifies a person.

An allow-list: each event is made anew from numbers, sizes, durations, states, statuses and reasons. Identifiers become
keyed hashes (HMAC-SHA-256, 64 bits), so that equal ones stay equal and two reports of one machine can be compared; the
key never leaves it. Free text, columns of the list and times of day are left out: times count from 1970-01-01.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

from movescu.dictionary.tags import keyword_of, tag_of
from movescu.errors import DirectoryNotWritableError
from movescu.events import (
    AssociationEvent,
    EndEvent,
    EntryEvent,
    Event,
    FallbackEvent,
    ObjectEvent,
    RejectedContext,
    ResponseEvent,
    RetryEvent,
)
from movescu.retrieve.causes import every_cause

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY_SIZE: Final = 32
_DIGITS: Final = 16
_STANDARD: Final = re.compile(r"1\.2\.840\.10008\.[0-9.]{1,40}")
"""UIDs registered in the standard: SOP classes and transfer syntaxes."""
_PLAIN_KEYS: Final = {
    "QueryRetrieveLevel": re.compile("PATIENT|STUDY|SERIES|IMAGE"),
    "Modality": re.compile("[A-Z]{2,8}"),
}
_MODALITY: Final = _PLAIN_KEYS["Modality"]
_OUTCOMES: Final = ("complete", "not found", "incomplete", "failed", "cancelled")


def load_key() -> bytes:
    """Return this user's key, generated at the first use. Raise ``DirectoryNotWritableError``."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = os.path.join(home, "movescu", "pseudonyms.key")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(path, "xb", opener=_private) as file:
            file.write(secrets.token_bytes(_KEY_SIZE))
        with open(path, "rb") as file:
            key = file.read()
    except OSError as error:
        raise DirectoryNotWritableError(f"cannot store the pseudonym key in {path!r}: {error.strerror}") from error
    if len(key) < _KEY_SIZE:
        raise DirectoryNotWritableError(f"{path!r} is not a pseudonym key", hint="remove the file: a new key is made")
    return key


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Pseudonyms:
    """Pseudonyms by a key; ``begun``: of the run, in seconds since 1970."""

    def __init__(self, key: bytes, begun: float) -> None:
        self._key = key
        self._begun = begun

    def of(self, value: str) -> str:
        """Return the pseudonym of a value, empty for an empty one."""
        if not value:
            return ""
        return hmac.new(self._key, value.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:_DIGITS]

    def event(self, event: Event) -> Event:
        """Return an event without anything that identifies a person."""
        match event:
            case ObjectEvent():
                return self._object(event)
            case EntryEvent():
                return self._entry(event)
            case EndEvent():
                return self._end(event)
            case ResponseEvent():
                return self._response(event)
            case _:
                return self._incident(event)

    def _incident(self, event: AssociationEvent | RetryEvent | FallbackEvent) -> Event:
        match event:
            case AssociationEvent():
                return AssociationEvent(
                    time=self._time(event),
                    row=event.row,
                    role=event.role,
                    state=event.state,
                    peer="",
                    calling_ae_title=self.of(event.calling_ae_title),
                    called_ae_title=self.of(event.called_ae_title),
                    rejected_contexts=tuple(map(self._context, event.rejected_contexts)),
                )
            case RetryEvent():
                return RetryEvent(
                    time=self._time(event),
                    row=event.row,
                    attempt=event.attempt,
                    objects=event.objects,
                    pause=event.pause,
                    reason="",
                )
            case FallbackEvent():
                return FallbackEvent(time=self._time(event), row=event.row, reason="")

    def _time(self, event: Event) -> float:
        return max(event.time - self._begun, 0.0)

    def _uids(self, uids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(self.of, uids))

    def _standard(self, uid: str) -> str:
        return uid if _STANDARD.fullmatch(uid) else self.of(uid)

    def _context(self, context: RejectedContext) -> RejectedContext:
        return RejectedContext(
            sop_class_uid=self._standard(context.sop_class_uid),
            transfer_syntax_uids=tuple(map(self._standard, context.transfer_syntax_uids)),
        )

    def _object(self, event: ObjectEvent) -> ObjectEvent:
        return ObjectEvent(
            time=self._time(event),
            row=event.row,
            sop_class_uid=self._standard(event.sop_class_uid),
            sop_instance_uid=self.of(event.sop_instance_uid),
            transfer_syntax_uid=self._standard(event.transfer_syntax_uid),
            study_instance_uid=self.of(event.study_instance_uid),
            series_instance_uid=self.of(event.series_instance_uid),
            size=event.size,
            seconds=event.seconds,
            status=event.status,
        )

    def _response(self, event: ResponseEvent) -> ResponseEvent:
        return ResponseEvent(
            time=self._time(event),
            row=event.row,
            message_id=event.message_id,
            status=event.status,
            remaining=event.remaining,
            completed=event.completed,
            failed=event.failed,
            warning=event.warning,
            failed_sop_instance_uids=self._uids(event.failed_sop_instance_uids),
            seconds=event.seconds,
            service="C-GET" if event.service == "C-GET" else "",
        )

    def _end(self, event: EndEvent) -> EndEvent:
        return EndEvent(
            time=self._time(event),
            row=event.row,
            outcome=event.outcome if event.outcome in _OUTCOMES else "failed",
            stored=event.stored,
            failed=event.failed,
            size=event.size,
            seconds=event.seconds,
            missing=event.missing,
            verified=event.verified,
            missing_sop_instance_uids=self._uids(event.missing_sop_instance_uids),
            extra_sop_instance_uids=self._uids(event.extra_sop_instance_uids),
            already_there=event.already_there,
            attempts=event.attempts,
            exit_code=event.exit_code,
            same_as=event.same_as,
        )

    def _entry(self, event: EntryEvent) -> EntryEvent:
        cause = every_cause().get(event.reason)  # its words, not the event's: those of an error may name somebody
        return EntryEvent(
            time=self._time(event),
            row=event.row,
            state=event.state,
            keys=tuple(map(self._keyed, event.keys)),
            study_instance_uids=self._uids(event.study_instance_uids),
            stored=event.stored,
            already_there=event.already_there,
            missing=event.missing,
            failed=event.failed,
            size=event.size,
            seconds=event.seconds,
            attempts=event.attempts,
            verified=event.verified,
            reason="" if cause is None else cause.code,
            words="" if cause is None else cause.words,
            fault="" if cause is None else cause.fault.value,
            passing=cause is not None and cause.passing,
            advice="" if cause is None else cause.advice,
            status=event.status,
            same_as=event.same_as,
            missing_sop_instance_uids=self._uids(event.missing_sop_instance_uids),
        )

    def _keyed(self, key: str) -> str:
        """Return a key with the name of its attribute, if the standard has it, and the pseudonym of its value."""
        name, _, value = key.partition("=")
        tag = tag_of(name)
        known = None if tag is None else keyword_of(tag)
        plain = _PLAIN_KEYS.get(known or "")
        told = value if plain is not None and plain.fullmatch(value) else self.of(value)
        return f"{known or self.of(name)}={told}"

    def archive(self, archive: Mapping[str, Any]) -> dict[str, Any]:
        """Return the report's archive; the model alone stays."""
        hidden = {name: self.of(value) if isinstance(value, str) else 0 for name, value in archive.items()}
        return hidden | {"model": archive["model"]}

    def labels(self, labels: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        """Return the labels of each series, reduced to the modality."""
        told = ((self.of(uid), one.get("modality", "")) for uid, one in labels.items())
        return {uid: {"modality": modality} for uid, modality in told if _MODALITY.fullmatch(modality)}
