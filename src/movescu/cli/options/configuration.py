"""Conversion of ``CommandSettings`` to the values of ``retrieve.config`` and ``storage.options``."""

from __future__ import annotations

import os
import sys
from functools import cache, partial

from movescu._runtime.late_log import logger_of
from movescu.cli.logging.level import shows_progress
from movescu.dictionary.uids import OTHER_TRANSFER_SYNTAXES
from movescu.errors import UsageError
from movescu.query.identifier import make_identifier
from movescu.query.levels import LEVEL, MODELS
from movescu.retrieve.config import AE, Config, Receive, Request, RetrieveBy, Retry, Timeouts
from movescu.ul.user_information import UserIdentity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final, TypeVar

    from movescu.cli.options.settings import CommandSettings
    from movescu.query.identifier import Identifier
    from movescu.query.selection import Selection
    from movescu.retrieve.observer import Observer
    from movescu.storage.layout.template import Layout
    from movescu.storage.options import StorageOptions
    from movescu.transport.tls import TLSOptions

if TYPE_CHECKING:
    Parsed = TypeVar("Parsed")

_log: Final = logger_of("movescu.cli")

PASSWORD_VARIABLE: Final = "MOVESCU_PASSWORD"  # noqa: S105 - the name of the variable, not its value

# The sub-items of the user information share 65535 bytes (PS3.8 9.3.2.3); our others take some 200.
_LONGEST_IDENTITY: Final = 65000


def config_of(settings: CommandSettings) -> Config:
    """Return the configuration of the settings.

    Raise ``UsageError`` if a file with a password, ticket or token cannot be read or used.
    """
    return Config(
        archive=AE.unchecked(settings.peer, settings.port, settings.called_aet),
        ae_title=settings.calling_aet,
        destination=settings.move_destination,
        timeouts=Timeouts(
            connect=settings.connect_timeout,
            acse=settings.acse_timeout,
            dimse=settings.dimse_timeout,
            linger=settings.linger,
            unannounced=Timeouts.unannounced if settings.linger == Timeouts.linger else settings.linger,
            store=settings.store_timeout,
            stall=settings.stall_timeout or None,
            total=settings.total_timeout or None,
        ),
        retry=Retry(settings.verify, settings.retries, settings.retry_pause, settings.resume),
        receive=_receive(settings) if settings.receives else None,
        request=Request(
            model=settings.model,
            transfer_syntaxes=settings.proposed,
            maximum_length=settings.max_pdu & ~1,  # as DCMTK: fragments are of even length in any case (PS3.8 E.1)
            priority=settings.priority,
            relational=settings.relational,
            enhanced_conversion=settings.enhanced_conversion,
            user_identity=_user_identity(settings),
            cancel_after=settings.cancel_after,
            read_pending=settings.pending_read,
            ip=settings.ip,
        ),
        tls=_tls(settings),
        selection=_selection(settings),
        retrieve_by=RetrieveBy(settings.retrieve),
    )


def _selection(settings: CommandSettings) -> Selection | None:
    """Return the selection among the matches, None without options for it."""
    if not (settings.resolve or settings.only or settings.exclude) and settings.max_studies is None:
        return None
    from movescu.query.selection import Selection  # late: few select anything

    return Selection(settings.resolve, settings.only, settings.exclude, settings.max_studies)


def identifiers(settings: CommandSettings) -> list[Identifier]:
    """Return the identifiers of the requests. Raise ``UsageError`` for invalid keys or query files."""
    queried = settings.dry_run or settings.check or settings.query is not None or settings.check_files is not None
    resolved = partial(_with_level, settings) if queried or lists(settings) or resolves(settings) else None
    options = {"relational": settings.relational, "keys_only": settings.keys_only}
    model, level = settings.model, settings.compression_level
    return [
        make_identifier(settings.keys, file, model=model, compression_level=level, resolved=resolved, **options)
        for file in settings.query_files or (None,)
    ]


def _with_level(settings: CommandSettings, identifier: Identifier, whole: Identifier) -> Identifier:
    """Return the identifier with a level of the model; ``whole``: its keys before ``--keys-only`` dropped any."""
    if identifier.text(LEVEL) in MODELS[settings.model]:
        return identifier
    from movescu.query.inferred_level import with_level  # late: most keys state their level

    return with_level(identifier, settings.model, None if settings.query is not None else whole)


def check_scopes(wanted: Iterable[Identifier], config: Config) -> None:
    """Raise ``UsageError`` for a request whose keys name no object or cannot be listed; see ``scope``.

    Warn of wild cards in unique keys, whether they are taken as such or not, and of unique keys without a value.
    """
    from movescu.query.scope import Scope
    from movescu.query.selection import Selection  # late: needed with an inventory alone
    from movescu.retrieve.resolution import check

    selection = config.selection or Selection()
    for identifier in wanted:
        check(identifier, config.request.model, selection)
        Scope(identifier, config.request.model).note_blank()
        if selection.resolve:
            note_patterns(identifier)
        else:
            note_literals(identifier)


def note_patterns(identifier: Identifier) -> None:
    """Warn of unique keys that are taken as patterns."""
    from movescu.query.scope import Scope

    for name in Scope(identifier, "PATIENT").patterns:
        _log.warning("%s is taken as a pattern: * stands for any characters, ? for one", name)


def note_literals(identifier: Identifier, where: str = "") -> bool:
    """Warn of a unique key whose wild cards are taken literally, and return True; ``where``: begins the message."""
    from movescu.query.scope import Scope

    names = Scope(identifier, "PATIENT").patterns
    if names:
        _log.warning("%s%s is taken literally, with its * or ?: --resolve takes patterns", where, ", ".join(names))
    return bool(names)


def resolves(settings: CommandSettings) -> bool:
    """Return True if the keys of a request are matched by C-FIND before the first C-MOVE."""
    return settings.resolve or bool(settings.only or settings.exclude)


def observers(settings: CommandSettings) -> list[Observer]:
    """Return the observers of arriving objects: DCMTK's progress and the rate limit."""
    made: list[Observer] = []
    # Dots would spoil JSON on standard output.
    if shows_progress() and "-" not in (settings.report, settings.events, settings.html):
        from movescu.cli.output.dots import Dots  # late: needed for the dots alone

        made.append(Dots())
    if settings.limit_rate is not None:
        from movescu.retrieve.pace import Pace, parse_rate  # late: needed only with --limit-rate

        made.append(Pace(value_of("--limit-rate", settings.limit_rate, parse_rate)))
    return made


def value_of(option: str, text: str, parse: Callable[[str], Parsed]) -> Parsed:
    """Parse the value of an option. Raise ``UsageError``, which names both and says why, if it is invalid."""
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"Invalid value for option {option} ({text}): {error}", hint=error.hint) from error


def lists(settings: CommandSettings) -> bool:
    """Return True if the archive may be queried (C-FIND) for the objects of a request."""
    return settings.verify or settings.retries > 0 or settings.resume


def _receive(settings: CommandSettings) -> Receive:
    return Receive(
        port=None if settings.retrieve == "get" else settings.listen_port,
        address=settings.listen_address,
        transfer_syntaxes=(*settings.preferred, *((OTHER_TRANSFER_SYNTAXES,) if settings.accept_nonstandard else ())),
        accept_unknown=settings.accept_unknown,
        calling_ae_titles=tuple(title.strip()[:16] for title in settings.allowed_aets),
        require_called_ae_title=settings.require_called_aet,
        access_rules=settings.access_control,
        host_lookup=settings.host_lookup,
        accept_from=settings.accept_from,
        only_requested=settings.only_requested,
        maximum_associations=settings.max_associations,
    )


def storage_of(settings: CommandSettings) -> StorageOptions | None:
    """Return the options of storage, None if nothing is received.

    Raise ``UsageError`` for an invalid layout, or for a directory that does not exist or is not writable: DCMTK checks
    it even if nothing will be stored.
    """
    if not settings.receives:
        return None
    from movescu.dataset.encoding import Encoding, GroupLength  # late: needed to receive alone
    from movescu.storage.durability import Durability
    from movescu.storage.options import StorageOptions

    if settings.ignore:  # else the directory is checked when it is opened
        from movescu.storage.directory_check import check_directory

        check_directory(settings.output_directory)
    return StorageOptions(
        directory=settings.output_directory,
        ignore=settings.ignore,
        bit_preserving=settings.bit_preserving,
        file_format=settings.write_file_format,
        encoding=Encoding(
            transfer_syntax=settings.write_syntax,
            new_vr=settings.new_vr,
            group_length=GroupLength[settings.group_length.upper()],
            explicit_length=settings.explicit_length,
            file_padding=settings.file_padding,
            item_padding=settings.item_padding,
            compression_level=settings.compression_level,
        ),
        durability=Durability(settings.durable),
        maximum_inflated=settings.max_inflated << 20,
        forgive_blank_uids=settings.uid_padding,
        layout=None if settings.layout == "flat" else _layout(settings.layout),
    )


def _layout(text: str) -> Layout | None:
    from movescu.storage.layout.template import parse_layout  # late: needed for folders alone

    return parse_layout(text)


def _user_identity(settings: CommandSettings) -> UserIdentity | None:
    """Return the user identity (PS3.7 D.3.3.7.1), with secrets from files and the environment alone."""
    if settings.user_name is not None:
        # Bytes that are invalid in the terminal's encoding are sent unchanged.
        name = settings.user_name.encode("utf-8", "surrogateescape")
        if settings.password_file is not None:
            passcode = _secret(settings.password_file).rstrip(b"\r\n")
        elif PASSWORD_VARIABLE in os.environ:
            passcode = os.environb[PASSWORD_VARIABLE.encode()]
        else:
            return _checked(UserIdentity(1, name, positive_response_requested=True))
        return _checked(UserIdentity(2, name, passcode, positive_response_requested=True))
    for identity_type, path in ((3, settings.kerberos_file), (4, settings.saml_file), (5, settings.jwt_file)):
        if path is not None:
            secret = _secret(path)
            # A ticket is binary; the others are text, which may end with a line feed.
            return _checked(
                UserIdentity(
                    identity_type, secret if identity_type == 3 else secret.strip(), positive_response_requested=True
                )
            )
    return None


def _checked(identity: UserIdentity) -> UserIdentity:
    size = len(identity.primary_field) + len(identity.secondary_field)
    if not identity.primary_field:
        raise UsageError("the user identity is empty")
    if size > _LONGEST_IDENTITY:
        raise UsageError(f"the user identity has {size} bytes; an association request has room for {_LONGEST_IDENTITY}")
    return identity


def _secret(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST_IDENTITY + 1024)
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror}") from error


def _tls(settings: CommandSettings) -> TLSOptions | None:
    if settings.tls is None:
        return None
    from movescu.transport.tls import TLSOptions  # late: slow to load, and needed for TLS alone

    key, certificate = settings.tls
    return TLSOptions(
        key_file=key or None,
        certificate_file=certificate or None,
        password=_ask_password if settings.tls_password is None else settings.tls_password,
        trusted_files=settings.tls_trusted_files,
        trusted_directories=settings.tls_trusted_directories,
        crl_files=settings.tls_crl_files,
        peer_certificate=settings.tls_peer,
        check_host_name=settings.tls_check_host,
        server_name=settings.tls_server_name,
        expected_name=settings.tls_expected_name,
        profile=settings.tls_profile,
        ciphers=settings.tls_ciphers,
    )


@cache
def _ask_password() -> str:
    """Ask for the password of the private key, on the terminal; without one, on standard input (``+ps``)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    from getpass import getpass  # late: needed to ask alone

    return getpass("Password of the private key: ")
