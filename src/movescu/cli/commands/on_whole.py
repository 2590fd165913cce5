"""Who is told of each object that is whole, and of its path: what follows a retrieve, and its page."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from movescu.cli.commands.follow_up import FollowUp
    from movescu.cli.output.accounts import Accounts
    from movescu.storage.target import OnWhole


def on_whole_of(follow_up: FollowUp | None, accounts: Accounts | None) -> OnWhole | None:
    """Return what is called with each whole object: none, one of the two, or both."""
    pages = None if accounts is None else accounts.on_whole
    if follow_up is None or pages is None:
        return pages if follow_up is None else follow_up.on_whole

    def both(sop_instance_uid: str, path: str, /, *, stored: bool = True) -> None:
        pages(sop_instance_uid, path, stored=stored)
        follow_up.on_whole(sop_instance_uid, path, stored=stored)

    return both
