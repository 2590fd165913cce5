"""Settings of one run: the final value of every option, and the parameters.

``command_line`` makes them, ``configuration`` turns them into the library's terms. ``table`` names the fields.
"""

from __future__ import annotations

from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from movescu.dictionary.uids import TransferSyntax

    LogLevel = Literal["off", "fatal", "error", "warn", "info", "debug", "trace"]
    Model = Literal["PATIENT", "STUDY", "PSONLY"]
    GroupLength = Literal["recalculate", "create", "remove"]
    IPVersion = Literal["4", "6", "auto"]
    Service = Literal["move", "get", "auto"]
    Durable = Literal["end", "object", "off"]


class CommandSettings(Record):
    """Every option's final value, and the parameters.

    Time-outs are in seconds; None is no limit. ``move_destination`` None is ``calling_aet``, ``listen_port`` None
    receives nothing, ``write_syntax`` None keeps the transfer syntax received. ``cancel_after`` counts pending
    responses; 0 is never. ``query`` is the level, empty for that of the keys. ``max_studies`` 0 is no limit, None is
    the default. ``warnings`` are to be logged once the log is set up.
    """

    peer: str
    port: int
    query_files: tuple[str, ...]
    keys: tuple[str, ...]

    show_arguments: bool
    log_level: LogLevel
    log_config: str | None

    model: Model
    calling_aet: str
    called_aet: str
    move_destination: str | None
    preferred: tuple[TransferSyntax, ...]
    proposed: tuple[TransferSyntax, ...]
    access_control: bool
    listen_port: int | None
    pending_read: bool
    connect_timeout: float | None
    acse_timeout: float | None
    dimse_timeout: float | None
    max_pdu: int
    host_lookup: bool
    repeat: int
    abort: bool
    ignore: bool
    cancel_after: int
    uid_padding: bool

    output_directory: str
    bit_preserving: bool
    write_file_format: bool
    write_syntax: TransferSyntax | None
    new_vr: bool
    group_length: GroupLength
    explicit_length: bool
    padding: tuple[int, int]
    compression_level: int

    retrieve: Service
    durable: Durable
    layout: str
    keys_only: bool
    accept_unknown: bool
    accept_nonstandard: bool
    allowed_aets: tuple[str, ...]
    require_called_aet: bool
    accept_from: tuple[str, ...]
    only_requested: bool
    listen_address: str
    max_associations: int
    max_inflated: int
    priority: int
    relational: bool
    enhanced_conversion: bool
    linger: float
    store_timeout: float
    stall_timeout: float
    total_timeout: float
    user_name: str | None
    password_file: str | None
    kerberos_file: str | None
    saml_file: str | None
    jwt_file: str | None
    ip: IPVersion
    site: str | None
    check: bool
    progress: bool
    report: str | None
    events: str | None
    html: str | None
    live: int | None
    thumbnails: bool
    pseudonymise: bool
    verify: bool
    retries: int
    resume: bool
    retry_pause: float
    on_study: str | None
    on_series: str | None
    on_jobs: int
    manifest: str | None
    list_file: str | None
    failed: str | None
    journal: str | None
    status: str | None
    check_files: str | None
    sample: str | None
    jobs: int
    cluster: str | None
    ae_pool: str | None
    worker_files: str
    collect: str | None
    slots: int | None
    wait_for_archive: int
    between: str | None
    order: str
    split: int
    limit_rate: str | None
    dry_run: bool
    query: str | None
    format: str
    count: bool
    resolve: bool
    only: tuple[str, ...]
    exclude: tuple[str, ...]
    max_studies: int | None

    tls: tuple[str, str] | None
    tls_password: str | None
    tls_key_format: str
    tls_trusted_files: tuple[str, ...]
    tls_trusted_directories: tuple[str, ...]
    tls_crl_files: tuple[str, ...]
    tls_peer: str
    tls_check_host: bool
    tls_profile: str
    tls_ciphers: tuple[str, ...]
    tls_server_name: str | None
    tls_expected_name: str | None

    warnings: tuple[str, ...] = ()

    @property
    def receives(self) -> bool:
        """Whether objects are received: on a port, by workers, or over the association with the archive."""
        return self.listen_port is not None or self.ae_pool is not None or self.retrieve != "move"

    @property
    def follows_up(self) -> bool:
        """Whether commands or a manifest follow a retrieve."""
        return not (self.on_study is None and self.on_series is None and self.manifest is None)

    @property
    def file_padding(self) -> int:
        """Bytes to a multiple of which the file is padded; 0: no padding."""
        return self.padding[0]

    @property
    def item_padding(self) -> int:
        """Bytes to a multiple of which each item is padded; 0: no padding."""
        return self.padding[1]
