"""The state machine of the Upper Layer: PS3.8 section 9.2, as data.

Theory of operation. An association is in one of thirteen states, Sta1 to Sta13 (tables 9-1 to 9-5), and meets nineteen
events, Evt1 to Evt19: a service primitive of the local user, a PDU of the peer, an indication of the transport service,
or the end of the ARTIM timer. Table 9-10 pairs state and event with an action. An action (tables 9-6 to 9-9) has
effects, in order, and a next state; AE-6 and AR-8 alone choose between two.

- Establishment (AE-1 to AE-8). The requestor goes Sta1, Sta4, Sta5, Sta6; the acceptor Sta1, Sta2, Sta3, Sta6.
- Data transfer (DT-1, DT-2). Both stay in Sta6.
- Release (AR-1 to AR-10). The side that asks waits in Sta7, the side that is asked in Sta8. If both ask at once, the
  requestor of the association goes Sta9, Sta11 and the acceptor Sta10, Sta12: the acceptor confirms last.
- Abort (AA-1 to AA-8). Whoever sends A-ABORT waits in Sta13 until the peer closes the connection or ARTIM expires.

A PDU that is invalid, or not allowed in a state, has a cell wherever a PDU can arrive: AA-1 in Sta2, AA-8 in Sta3 to
Sta12, AA-6 or AA-7 in Sta13. No peer can reach a blank cell; this side can, and ``association`` raises
``LocalProtocolError``. ``TRANSITIONS`` is table 9-10, ``ACTIONS`` are tables 9-6 to 9-9.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto

from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class State(IntEnum):
    """The states of PS3.8 tables 9-1 to 9-5."""

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
    STA13 = 13  # awaiting transport connection close indication: the association no longer exists


class Event(IntEnum):
    """The events of PS3.8 table 9-10, in the order of its rows: Evt1 to Evt19."""

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
    """One step of an action."""

    CONNECT = auto()  # issue TRANSPORT CONNECT request
    SEND = auto()  # send the PDU that goes with the event
    SEND_USER_ABORT = auto()  # send A-ABORT, service-user source
    SEND_PROVIDER_ABORT = auto()  # send A-ABORT, service-provider source
    JUDGE = auto()  # AE-6: indicate an A-ASSOCIATE-RQ that the service provider accepts, answer another with -RJ
    INDICATE = auto()  # issue the indication or confirmation primitive that goes with the event
    INDICATE_PROVIDER_ABORT = auto()  # issue A-P-ABORT indication
    START_ARTIM = auto()
    STOP_ARTIM = auto()
    CLOSE = auto()  # close the transport connection


class Action(Record):
    """An action of PS3.8 tables 9-6 to 9-9: its effects in order, and its next state.

    Of two next states the first is that of an acceptable request (AE-6) or of the association requestor (AR-8).
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
    "AE-1": _action(4, _E.CONNECT),  # TRANSPORT CONNECT request
    "AE-2": _action(5, _E.SEND),  # A-ASSOCIATE-RQ
    "AE-3": _action(6, _E.INDICATE),  # A-ASSOCIATE confirmation, accept
    "AE-4": _action(1, _E.INDICATE, _E.CLOSE),  # A-ASSOCIATE confirmation, reject
    "AE-5": _action(2, _E.START_ARTIM),  # TRANSPORT CONNECT response: the connection was accepted by the system
    "AE-6": _action((3, 13), _E.STOP_ARTIM, _E.JUDGE),  # A-ASSOCIATE indication, or A-ASSOCIATE-RJ and ARTIM
    "AE-7": _action(6, _E.SEND),  # A-ASSOCIATE-AC
    "AE-8": _action(13, _E.SEND, _E.START_ARTIM),  # A-ASSOCIATE-RJ
    # PS3.8 table 9-7, data transfer
    "DT-1": _action(6, _E.SEND),  # P-DATA-TF
    "DT-2": _action(6, _E.INDICATE),  # P-DATA indication
    # PS3.8 table 9-8, associate release
    "AR-1": _action(7, _E.SEND),  # A-RELEASE-RQ
    "AR-2": _action(8, _E.INDICATE),  # A-RELEASE indication
    "AR-3": _action(1, _E.INDICATE, _E.CLOSE),  # A-RELEASE confirmation
    "AR-4": _action(13, _E.SEND, _E.START_ARTIM),  # A-RELEASE-RP
    "AR-5": _action(1, _E.STOP_ARTIM),
    "AR-6": _action(7, _E.INDICATE),  # P-DATA indication: the peer had not read the A-RELEASE-RQ yet
    "AR-7": _action(8, _E.SEND),  # P-DATA-TF: data that precede the A-RELEASE-RP
    "AR-8": _action((9, 10), _E.INDICATE),  # A-RELEASE indication, release collision
    "AR-9": _action(11, _E.SEND),  # A-RELEASE-RP
    "AR-10": _action(12, _E.INDICATE),  # A-RELEASE confirmation
    # PS3.8 table 9-9, associate abort
    "AA-1": _action(13, _E.SEND_USER_ABORT, _E.START_ARTIM),
    "AA-2": _action(1, _E.STOP_ARTIM, _E.CLOSE),
    "AA-3": _action(1, _E.INDICATE, _E.CLOSE),  # A-ABORT or A-P-ABORT indication, by the source of the A-ABORT
    "AA-4": _action(1, _E.INDICATE_PROVIDER_ABORT),
    "AA-5": _action(1, _E.STOP_ARTIM),
    "AA-6": _action(13),  # ignore the PDU
    "AA-7": _action(13, _E.SEND_PROVIDER_ABORT),
    "AA-8": _action(13, _E.SEND_PROVIDER_ABORT, _E.INDICATE_PROVIDER_ABORT, _E.START_ARTIM),
}

# PS3.8 table 9-10: a row for each event (Evt1 to Evt19), a column for each state; "-" is a blank cell.
#   Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
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
