"""Configuration of storage: where received objects go, and what their files look like (PS3.10).

Not loaded for a retrieve without a port of its own.
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
    """Storage of received objects.

    ``directory``: an existing one. Default: the current directory. ``ignore``: store nothing. ``bit_preserving``: write
    each data set as received; ``encoding`` is then ignored. ``file_format``: write preamble and file meta. Default:
    True. ``maximum_inflated``: bytes that a deflated data set may have when inflated; with ``bit_preserving`` none is.
    ``forgive_blank_uids``: do not warn of blanks in UIDs, which are removed. Default: False. ``layout``: folders and
    names in the directory. Default: None, flat. ``sink``: returns the receiver of each object instead
    (``storage.sinks``); of the other options, only ``ignore`` then has an effect.
    """

    directory: str = "."
    ignore: bool = False
    bit_preserving: bool = False
    file_format: bool = True
    encoding: Encoding = Encoding()
    durability: Durability = Durability.END
    maximum_inflated: int = MAX_INFLATED
    forgive_blank_uids: bool = False
    layout: Layout | None = None
    sink: Callable[[Incoming], ObjectReceiver] | None = None

    @property
    def to_files(self) -> bool:
        """Whether objects are written to files of the directory."""
        return not self.ignore and self.sink is None
