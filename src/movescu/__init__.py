"""A C-MOVE client and storage SCP: retrieves objects from DICOM archives (PS3.4 annexes B and C).

``retrieve`` and ``Retriever`` are the library; what they raise is in ``movescu.errors``, what they tell in
``movescu.events``. An archive for tests is in ``movescu.testing``. All names are loaded when they are used: importing
the package takes no time.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from movescu.query.python_keys import Keys
    from movescu.retrieval.client import Retriever, Settings, retrieve
    from movescu.retrieval.result import RetrieveResult
    from movescu.storage.durability import Durability
    from movescu.storage.sinks import Directory, Memory, OnBytes

__all__ = [
    "Directory",
    "Durability",
    "Keys",
    "Memory",
    "OnBytes",
    "RetrieveResult",
    "Retriever",
    "Settings",
    "retrieve",
]

_PLACES = {
    "Durability": "movescu.storage.durability",
    "Directory": "movescu.storage.sinks",
    "Keys": "movescu.query.python_keys",
    "Memory": "movescu.storage.sinks",
    "OnBytes": "movescu.storage.sinks",
    "RetrieveResult": "movescu.retrieval.result",
    "Retriever": "movescu.retrieval.client",
    "Settings": "movescu.retrieval.client",
    "retrieve": "movescu.retrieval.client",
}


def __getattr__(name: str) -> object:
    """Load a public name."""
    if name not in _PLACES:
        raise AttributeError(f"module 'movescu' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))
