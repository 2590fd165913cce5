"""The state transition table of the Upper Layer: PS3.8 section 9.2, table 9-10, as data and nothing else.

``TRANSITIONS[state, event]`` names the action; ``ACTIONS`` says what an action does, in the order of PS3.8 tables 9-6
to 9-9, and the states it may end in. A pair that is not in ``TRANSITIONS`` is a blank cell of the table: a local
error. ``association`` carries the actions out.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto

from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class State(IntEnum):
    """PS3.8 tables 9-1 to 9-5."""

    STA1 = 1  # idle
    STA2 = 2  # transport connection open, awaiting A-ASSOCIATE-RQ PDU
    STA3 = 3  # awaiting local A-ASSOCIATE response primitive
    STA4 = 4  # awaiting transport connection opening to complete
    STA5 = 5  # awaiting A-ASSOCIATE-AC or -RJ PDU
    STA6 = 6  # association established, ready for data transfer
    STA7 = 7  # awaiting A-RELEASE-RP PDU
    STA8 = 8  # awaiting local A-RELEASE response primitive
    STA9 = 9  # release collision, requestor: awaiting A-RELEASE response primitive
    STA10 = 10  # release collision, acceptor: awaiting A-RELEASE-RP PDU
    STA11 = 11  # release collision, requestor: awaiting A-RELEASE-RP PDU
    STA12 = 12  # release collision, acceptor: awaiting A-RELEASE response primitive
    STA13 = 13  # awaiting transport connection close indication


class Event(IntEnum):
    """The rows of PS3.8 table 9-10, in its order."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRMATION = 2
    ASSOCIATE_AC_PDU = 3
    ASSOCIATE_RJ_PDU = 4
    TRANSPORT_INDICATION = 5
    ASSOCIATE_RQ_PDU = 6
    ASSOCIATE_ACCEPT = 7
    ASSOCIATE_REJECT = 8
    P_DATA_REQUEST = 9
    P_DATA_TF_PDU = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ_PDU = 12
    RELEASE_RP_PDU = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT_PDU = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


class Effect(Enum):
    """What an action consists of."""

    CONNECT = auto()  # issue TRANSPORT CONNECT request
    SEND = auto()  # send the PDU that goes with the event
    SEND_USER_ABORT = auto()  # send A-ABORT, service-user source
    SEND_PROVIDER_ABORT = auto()  # send A-ABORT, service-provider source
    JUDGE = auto()  # AE-6 alone: is the A-ASSOCIATE-RQ acceptable to the service provider?
    INDICATE = auto()  # issue the indication or confirmation primitive that goes with the event
    INDICATE_PROVIDER_ABORT = auto()  # issue A-P-ABORT indication
    START_ARTIM = auto()
    STOP_ARTIM = auto()
    CLOSE = auto()  # close the transport connection


class Action(Record):
    """One of AE-1 to AA-8: its effects in order, and the next state, or two where PS3.8 leaves a choice.

    The first of two is that of the acceptable request (AE-6), or of the association requestor (AR-8).
    """

    effects: tuple[Effect, ...]
    next_states: tuple[State, ...]


_STA: Final = {int(state): state for state in State}


def _action(next_states: tuple[int, ...] | int, *effects: Effect) -> Action:
    numbers = (next_states,) if isinstance(next_states, int) else next_states
    return Action(effects, tuple(_STA[number] for number in numbers))


_E = Effect

ACTIONS: Final[dict[str, Action]] = {
    # PS3.8 table 9-6, associate establishment
    "AE-1": _action(4, _E.CONNECT),
    "AE-2": _action(5, _E.SEND),
    "AE-3": _action(6, _E.INDICATE),
    "AE-4": _action(1, _E.INDICATE, _E.CLOSE),
    "AE-5": _action(2, _E.START_ARTIM),
    "AE-6": _action((3, 13), _E.STOP_ARTIM, _E.JUDGE),
    "AE-7": _action(6, _E.SEND),
    "AE-8": _action(13, _E.SEND, _E.START_ARTIM),
    # table 9-7, data transfer
    "DT-1": _action(6, _E.SEND),
    "DT-2": _action(6, _E.INDICATE),
    # table 9-8, associate release
    "AR-1": _action(7, _E.SEND),
    "AR-2": _action(8, _E.INDICATE),
    "AR-3": _action(1, _E.INDICATE, _E.CLOSE),
    "AR-4": _action(13, _E.SEND, _E.START_ARTIM),
    "AR-5": _action(1, _E.STOP_ARTIM),
    "AR-6": _action(7, _E.INDICATE),
    "AR-7": _action(8, _E.SEND),
    "AR-8": _action((9, 10), _E.INDICATE),
    "AR-9": _action(11, _E.SEND),
    "AR-10": _action(12, _E.INDICATE),
    # table 9-9, associate abort
    "AA-1": _action(13, _E.SEND_USER_ABORT, _E.START_ARTIM),
    "AA-2": _action(1, _E.STOP_ARTIM, _E.CLOSE),
    "AA-3": _action(1, _E.INDICATE, _E.CLOSE),
    "AA-4": _action(1, _E.INDICATE_PROVIDER_ABORT),
    "AA-5": _action(1, _E.STOP_ARTIM),
    "AA-6": _action(13),
    "AA-7": _action(13, _E.SEND_PROVIDER_ABORT),
    "AA-8": _action(13, _E.SEND_PROVIDER_ABORT, _E.INDICATE_PROVIDER_ABORT, _E.START_ARTIM),
}

# PS3.8 table 9-10, a row per event, a column per state Sta1 to Sta13; "-" is a blank cell.
_TABLE_9_10: Final = """
 1  AE-1  -     -     -     -     -     -     -     -     -     -     -     -
 2  -     -     -     AE-2  -     -     -     -     -     -     -     -     -
 3  -     AA-1  AA-8  -     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
 4  -     AA-1  AA-8  -     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
 5  AE-5  -     -     -     -     -     -     -     -     -     -     -     -
 6  -     AE-6  AA-8  -     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
 7  -     -     AE-7  -     -     -     -     -     -     -     -     -     -
 8  -     -     AE-8  -     -     -     -     -     -     -     -     -     -
 9  -     -     -     -     -     DT-1  -     AR-7  -     -     -     -     -
10  -     AA-1  AA-8  -     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
11  -     -     -     -     -     AR-1  -     -     -     -     -     -     -
12  -     AA-1  AA-8  -     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
13  -     AA-1  AA-8  -     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
14  -     -     -     -     -     -     -     AR-4  AR-9  -     -     AR-4  -
15  -     -     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  -
16  -     AA-2  AA-3  -     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
17  -     AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
18  -     AA-2  -     -     -     -     -     -     -     -     -     -     AA-2
19  -     AA-1  AA-8  -     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
"""

TRANSITIONS: Final[dict[tuple[State, Event], str]] = {
    (_STA[column], event): action
    for number, *cells in map(str.split, _TABLE_9_10.strip().splitlines())
    for event in (Event(int(number)),)
    for column, action in enumerate(cells, start=1)
    if action != "-"
}
"""(state, event) -> name of the action."""
