"""A C-MOVE client and storage SCP: retrieves objects from DICOM archives (PS3.4 annexes B and C).

``Client`` and ``AsyncClient`` are the library. What they raise is in ``movescu.errors``, what they tell in
``movescu.events``; an archive for tests is in ``movescu.testing``. These and the names below are public; everything
else may change. All are loaded when they are used: importing the package takes no time.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from movescu import errors, events, testing
    from movescu.cohort.async_client import AsyncClient, AsyncRetrieve
    from movescu.cohort.client import Client
    from movescu.cohort.cluster.collection import Collected, collect
    from movescu.dataset.encoding import Encoding, GroupLength
    from movescu.dictionary.uids import TransferSyntax
    from movescu.query.match import Match
    from movescu.query.python_keys import Keys
    from movescu.query.selection import Selection
    from movescu.retrieve.config import AE, Receive, Request, Retry, Timeouts
    from movescu.retrieve.handle import Retrieve
    from movescu.retrieve.judgement import Judgement, Outcome, Reason
    from movescu.retrieve.parts import Part
    from movescu.retrieve.result import Result
    from movescu.services.move import MoveResponse
    from movescu.storage.durability import Durability
    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.sinks import Directory, Memory, OnBytes, OnDataset, Sink
    from movescu.transport.tls import TLSOptions
    from movescu.ul.user_information import UserIdentity

__all__ = [
    "AE",
    "AsyncClient",
    "AsyncRetrieve",
    "Client",
    "Collected",
    "Directory",
    "Durability",
    "Encoding",
    "GroupLength",
    "Incoming",
    "Judgement",
    "Keys",
    "Match",
    "Memory",
    "MoveResponse",
    "ObjectReceiver",
    "OnBytes",
    "OnDataset",
    "Outcome",
    "Part",
    "Reason",
    "Receive",
    "Request",
    "Result",
    "Retrieve",
    "Retry",
    "Selection",
    "Sink",
    "TLSOptions",
    "Timeouts",
    "TransferSyntax",
    "UserIdentity",
    "collect",
    "errors",
    "events",
    "testing",
]

_PLACES = {
    "AE": "retrieve.config",
    "AsyncClient": "cohort.async_client",
    "AsyncRetrieve": "cohort.async_client",
    "Client": "cohort.client",
    "Collected": "cohort.cluster.collection",
    "Directory": "storage.sinks",
    "Durability": "storage.durability",
    "Encoding": "dataset.encoding",
    "GroupLength": "dataset.encoding",
    "Incoming": "storage.incoming_object",
    "Judgement": "retrieve.judgement",
    "Keys": "query.python_keys",
    "Match": "query.match",
    "Memory": "storage.sinks",
    "MoveResponse": "services.move",
    "ObjectReceiver": "storage.incoming_object",
    "OnBytes": "storage.sinks",
    "OnDataset": "storage.sinks",
    "Outcome": "retrieve.judgement",
    "Part": "retrieve.parts",
    "Reason": "retrieve.judgement",
    "Receive": "retrieve.config",
    "Request": "retrieve.config",
    "Result": "retrieve.result",
    "Retrieve": "retrieve.handle",
    "Retry": "retrieve.config",
    "Selection": "query.selection",
    "Sink": "storage.sinks",
    "TLSOptions": "transport.tls",
    "Timeouts": "retrieve.config",
    "TransferSyntax": "dictionary.uids",
    "UserIdentity": "ul.user_information",
    "collect": "cohort.cluster.collection",
}
_MODULES = ("errors", "events", "testing")


def __getattr__(name: str) -> object:
    """Load a public name."""
    if name not in _PLACES and name not in _MODULES:
        raise AttributeError(f"module 'movescu' has no attribute {name!r}")
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"movescu.{name}")
    return getattr(import_module(f"movescu.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))
