"""Our own storage SCP, and what becomes of what it receives: the library's terms for what the command line says.

What is asked for is in ``movescu.retrieval.config``. Nothing here is loaded for a retrieve without a port of our own.
"""

from __future__ import annotations

from movescu._runtime.record import Record
from movescu.dataset.encoding import MAX_INFLATED, Encoding
from movescu.dictionary.uids import UNCOMPRESSED
from movescu.storage.durability import Durability

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.dictionary.uids import TransferSyntax
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


class ListenOptions(Record):
    """Our own storage SCP. ``port`` 0 lets the system choose; ``address`` empty means all interfaces.

    ``calling_ae_titles``: those that may store, none for any. ``require_called_ae_title``: the sender has to call the
    AE title that was given to the archive as the move destination. ``access_rules``: heed hosts.allow and hosts.deny;
    ``host_lookup``: look up the names of hosts for them.
    """

    port: int
    address: str = ""
    transfer_syntaxes: tuple[TransferSyntax, ...] = UNCOMPRESSED
    accept_unknown: bool = False
    calling_ae_titles: tuple[str, ...] = ()
    require_called_ae_title: bool = False
    access_rules: bool = False
    host_lookup: bool = True
    maximum_associations: int = 64
    storage: StorageOptions = StorageOptions()
