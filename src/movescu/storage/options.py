"""Configuration of storage: where received objects go, and what their files look like (PS3.10).

Nothing here is loaded for a retrieve without a port of our own.
"""

from __future__ import annotations

from movescu._runtime.record import Record
from movescu.dataset.encoding import MAX_INFLATED, Encoding
from movescu.storage.durability import Durability

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.layout.template import Layout


class StorageOptions(Record):
    """What becomes of received objects.

    ``directory``: an existing directory. ``ignore``: nothing is kept. ``file_format``: with preamble and file meta.
    ``encoding`` is not looked at where ``bit_preserving`` is set. ``maximum_inflated``: bytes to which a deflated data
    set may grow, unless ``bit_preserving`` is set: then it is not inflated. ``layout``: where in the directory, None
    for flat. ``sink`` makes the receivers of what goes elsewhere (``storage.sinks``); only ``ignore`` counts beside it.
    """

    directory: str = "."
    ignore: bool = False
    bit_preserving: bool = False
    file_format: bool = True
    encoding: Encoding = Encoding()
    durability: Durability = Durability.END
    maximum_inflated: int = MAX_INFLATED
    layout: Layout | None = None
    sink: Callable[[Incoming], ObjectReceiver] | None = None

    @property
    def to_files(self) -> bool:
        """Whether received objects become files of the directory."""
        return not self.ignore and self.sink is None
