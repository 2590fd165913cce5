"""What the words beside ``--sites`` and ``--setup`` mean: answers that the questions offer, or a mistake.

Imported only with these options.
"""

from __future__ import annotations

from movescu.cli.options.sites_file import SITE_NAME
from movescu.cli.options.wishes import SetUpSite, ShowSites
from movescu.errors import CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from movescu.cli.options.option import Winners
    from movescu.cli.options.wishes import Wish

_ANYWHERE: Final = ("verbosity", "log_level", "show_arguments", "--sites", "--setup")
"""Groups of options that change neither."""
_ANSWERS: Final = {
    "--site": "name",
    "--call": "call",
    "--aetitle": "aetitle",
    "--port": "listen-port",
    "--retrieve": "retrieve",
}
"""Options that answer a question of the setup -> the key of the answer."""
_FOUND_OUT: Final = "model"
"""Group of the options whose value the setup finds out."""


def wish_of(parameters: Sequence[str], winners: Winners) -> Wish:
    """Return what the options ask for. Raise ``CommandLineError`` for a word that neither uses."""
    others = [(option, values) for group, (option, values) in winners.items() if group not in _ANYWHERE]
    if "--sites" in winners:
        if others or parameters:
            word = others[0][0].long if others else repr(parameters[0])
            raise CommandLineError(f"--sites not allowed with {word}", hint="It lists all sites, as a table.")
        return ShowSites()
    given = {}
    for option, values in others:
        if option.long in _ANSWERS:
            given[_ANSWERS[option.long]] = values[0]
        elif option.group != _FOUND_OUT and not (option.long == "--ipv6" and ":" in "".join(parameters[:1])):
            raise CommandLineError(
                f"--setup not allowed with {option.long}",
                hint="Other options of a site can be added to sites.toml when --setup has written it.",
            )
    if len(parameters) > 2:
        raise CommandLineError("--setup not allowed with query files")
    if len(parameters) == 1 and "name" not in given and SITE_NAME.fullmatch(parameters[0]):
        return SetUpSite(given | {"name": parameters[0]})
    return SetUpSite(given | dict(zip(("peer", "port"), parameters, strict=False)))
