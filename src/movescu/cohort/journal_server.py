"""The journal of a cohort in a database server: PostgreSQL, for runs on several machines. Nothing else imports this.

Theory. As in a file, each run has a row with a lease. The server's clock tells the time of leases, so those of the
machines may differ. An entry is claimed by a transaction that locks its row for that long; a row that another run has
locked is left out (``SKIP LOCKED``), so no run waits for another. A run whose machine stops amid a transaction loses
it after ``_IDLE`` seconds, with its locks.

A server that restarts, or is away for a moment, is waited for: a transaction that failed is repeated, for ``PATIENCE``
seconds. The repetition has the same effect as the first one, if that was committed and only its answer was lost. That
is less than a lease, so no entry is taken from a run that waited. A server that is silent is noticed by ``_Watch``,
which ends the connection: the protocol has no time-out of its own.

Messages name the database without a password. It need not be in the URL at all: PGPASSWORD, ``~/.pgpass`` and service
files work as for every client of PostgreSQL.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from itertools import islice
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.cohort.journal_store import POSTGRESQL, VERSION, JournalReading, check_version
from movescu.errors import JournalError, UsageError
from movescu.transport import network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from movescu.cohort.journal_store import Database, T

_log: Final = logger_of("movescu.cohort")

PATIENCE: Final = 30.0
"""Seconds. Longest wait for a server that is away, once it was there; less than a lease."""
SILENCE: Final = 15.0
"""Seconds without an answer after which a connection is ended."""
_CONNECT: Final = 10
_PAUSE: Final = 0.5
_IDLE: Final = "10s"
_TOGETHER: Final = 1000
"""Rows that are sent at once."""
_LOCK: Final = 0x4D4F5645
"""Of runs that begin: see ``JournalStore.transact``."""
_SECRETS: Final = ("password", "sslpassword")
_HINT: Final = "install the extra: pip install 'movescu[cluster]'"
_RESUME: Final = "continue with --resume once it is there"
_CHECK: Final = (
    "check host, port, user and database in its URL, the password (~/.pgpass), and that the server is running"
)

_START: Final = (
    "SELECT set_config('idle_in_transaction_session_timeout', ?, true), extract(epoch FROM clock_timestamp())"
)
_PASSING: Final = (
    *("40001", "40P01", "55P03"),  # conflicts with another transaction
    *("57P01", "57P02", "57P03", "25P03", "53300"),  # the server ends, or starts, or has no connection left
)
"""SQLSTATE of failures that a repetition may not meet."""
_FULL: Final = "53100"
_FORBIDDEN: Final = "42501"


class ServerStore:
    """A journal in a database server; see ``JournalStore``. The tables are made in a database that has none.

    ``url``: as SQLAlchemy parses it. Raise ``UsageError`` if it cannot, ``JournalError`` if the server is away, or the
    tables are of a newer version.
    """

    dialect = POSTGRESQL
    together = 0.0  # what ends during one transaction shares the next

    def __init__(self, url: str) -> None:
        self._engine, self.name = _engine_of(url)
        self._patience = 0.0  # not before it was there
        self._watch = _Watch()
        self._failure: JournalError | None = None
        try:
            self.transact(self._prepare, alone=True)
        except BaseException:
            self.close()
            raise
        self._patience = PATIENCE

    def _prepare(self, database: Database, _: float) -> None:
        """Make the tables, unless they are there."""
        if database.execute("SELECT to_regclass('journal_version')").fetchone() == (None,):
            (encoding,) = database.execute("SELECT current_setting('server_encoding')").fetchone()
            if encoding != "UTF8":
                raise JournalError(
                    f"the database {self.name} cannot keep every text: its encoding is {encoding}",
                    hint="make another one: createdb --encoding UTF8 --template template0 NAME",
                )
            for statement in ("CREATE TABLE journal_version (version BIGINT NOT NULL)", *POSTGRESQL.tables()):
                database.execute(statement)
            database.execute("INSERT INTO journal_version VALUES (?)", (VERSION,))
        _check_version(database, self.name)

    def transact(self, work: Callable[[Database, float], T], *, durable: bool = False, alone: bool = False) -> T:  # noqa: ARG002 - claims are flushed, too: a server may fail alone
        """See ``JournalStore``. Wait for a server that is away."""
        return self._persist(lambda: self._transact_once(work, alone=alone))

    def _transact_once(self, work: Callable[[Database, float], T], *, alone: bool) -> T:
        with self._engine.connect() as connection, self._watch.over(connection) as watched, connection.begin():
            database = _Statements(watched)
            _, now = database.execute(_START, (_IDLE,)).fetchone()
            if alone:
                database.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
            return work(database, float(now))

    def read(self, work: Callable[[Database], T]) -> T:
        """See ``JournalStore``. Wait for a server that is away."""

        def read() -> T:
            with self._engine.connect() as connection:
                alone = connection.execution_options(isolation_level="AUTOCOMMIT")
                with self._watch.over(alone) as watched:
                    return work(_Statements(watched))

        return self._persist(read)

    def _persist(self, work: Callable[[], T]) -> T:
        """Repeat a transaction that failed, while the server may come back."""
        if self._failure is not None:
            raise self._failure
        until, told = clock.now() + self._patience, False
        while True:
            try:
                with _told_as_journal_errors(self.name, known=self._patience > 0):
                    result = work()
            except _PassingError as error:
                if clock.now() >= until:
                    self._failure = JournalError(str(error), hint=error.hint)
                    raise self._failure from error
                if not told and error.is_away:
                    _log.warning("%s; waiting for it", error)
                    told = True
                clock.sleep(_PAUSE)
            else:
                if told:
                    _log.warning("the journal %s is there again", self.name)
                return result

    def close(self) -> None:
        """See ``JournalStore``."""
        self._watch.close()
        self._engine.dispose()


@contextlib.contextmanager
def reading_server(url: str) -> Iterator[JournalReading]:
    """Yield a journal as it is at one moment; see ``journal_status.reading``."""
    engine, name = _engine_of(url)
    watch = _Watch()
    try:
        with _told_as_journal_errors(name), engine.connect() as plain:
            connection = plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with watch.over(connection) as watched, connection.begin():
                database = _Statements(watched)
                (table,) = database.execute("SELECT to_regclass('journal_version')").fetchone()
                if table is None:
                    raise UsageError(f"there is no journal in {name}", hint="name the URL of a run's --journal")
                _check_version(database, name)
                _, now = database.execute(_START, (_IDLE,)).fetchone()
                yield JournalReading(database, name, float(now), POSTGRESQL)
    finally:
        watch.close()
        engine.dispose()


def _check_version(database: Database, name: str) -> None:
    found = database.execute("SELECT version FROM journal_version").fetchone()
    if found is None:
        raise JournalError(
            f"the journal {name} is damaged: its version is missing", hint="name an empty database or schema"
        )
    check_version(found[0], name)


def _engine_of(url: str) -> tuple[Any, str]:
    """Return SQLAlchemy's engine for a URL, and the database's name without a password."""
    try:
        import psycopg  # noqa: F401 - SQLAlchemy imports it only for the first connection
        import sqlalchemy
    except ImportError as error:
        raise JournalError(f"a journal in PostgreSQL needs SQLAlchemy and psycopg: {error}", hint=_HINT) from error
    try:
        address = sqlalchemy.make_url(url.replace("postgres://", "postgresql://", 1))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        address = None
    if address is None or "@" in (address.host or ""):  # the rest of a password
        raise UsageError(
            "the URL of --journal cannot be parsed",
            hint="write it as postgresql://user@host:5432/name; in a password, write @ as %40 and / as %2F",
        )
    query = {name: value for name, value in address.query.items() if name not in _SECRETS}
    shown = sqlalchemy.URL.create(
        "postgresql", address.username, None, address.host, address.port, address.database, query
    )
    if address.password or any(name in address.query for name in _SECRETS):
        _log.warning(
            "other users of this machine can see the password in the journal's URL (ps): use ~/.pgpass, PGPASSWORD or "
            "a service file"
        )
    defaults = {"connect_timeout": _CONNECT, "application_name": "movescu"}
    options = {name: value for name, value in defaults.items() if name not in address.query}
    engine = sqlalchemy.create_engine(
        address.set(drivername="postgresql+psycopg"),
        connect_args=options | {"prepare_threshold": None},  # a pooler (PgBouncer) has other connections each time
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
    )
    return engine, shown.render_as_string()


# -- statements --------------------------------------------------------------------------------------------------------


class _Statements:
    """Executes statements of ``JournalStore`` over a connection."""

    def __init__(self, watched: _Watched) -> None:
        self._watched = watched

    def execute(self, statement: str, parameters: Sequence[object] = (), /) -> _Fetched:
        connection = self._watched.connection()
        result = connection.exec_driver_sql(_translated(statement), tuple(map(_storable, parameters)))
        return _Fetched(map(tuple, result) if result.returns_rows else ())

    def executemany(self, statement: str, parameters: Iterable[Sequence[object]], /) -> None:
        left = iter(parameters)
        while rows := [tuple(map(_storable, one)) for one in islice(left, _TOGETHER)]:
            self._watched.connection().exec_driver_sql(_translated(statement), rows)


class _Fetched(list[Any]):
    """The rows of a result; see ``JournalRows``."""

    def fetchone(self) -> Any:  # noqa: ANN401 - of any types
        return self.pop(0) if self else None

    def fetchall(self) -> list[Any]:
        return self


@lru_cache
def _translated(statement: str) -> str:
    return statement.replace("?", "%s")


def _storable(value: object) -> object:
    """Return a parameter as PostgreSQL can store it: a text has no zero bytes."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) and "\0" in value else value


# -- failures ----------------------------------------------------------------------------------------------------------


class _PassingError(JournalError):
    """A transaction failed that may succeed if it is repeated. ``is_away``: there is no connection."""

    def __init__(self, message: str, *, hint: str = "", is_away: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.is_away = is_away


@contextlib.contextmanager
def _told_as_journal_errors(name: str, *, known: bool = False) -> Iterator[None]:
    """Raise ``JournalError`` instead of SQLAlchemy's own errors, without statements and parameters.

    ``known``: the database was there before, so its URL is right.
    """
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        words = " ".join(str(error.orig).split()) or type(error.orig).__name__
        operational = isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)
        if state in _PASSING or error.connection_invalidated or (operational and state[:2] in ("", "08")):
            is_away = not state.startswith("40")
            what = f"the journal's database is away: {name}" if is_away else f"the journal {name} is busy"
            if is_away and not known:
                what = f"cannot connect to the journal's database {name}"
            raise _PassingError(f"{what}: {words}", hint=_RESUME if known else _CHECK, is_away=is_away) from None
        if state == _FULL:
            raise JournalError(f"the journal's database is full: {name}", hint="free space there; " + _RESUME) from None
        hint = "check the rights of this user there" if state == _FORBIDDEN else "check its log; " + _RESUME
        raise JournalError(f"cannot use the journal {name}: {words}", hint=hint) from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise JournalError(f"cannot use the journal {name}: {type(error).__name__}", hint=_RESUME) from None


class _Watched:
    """A connection whose silence is noticed."""

    def __init__(self, watch: _Watch, connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
        self._watch, self._connection = watch, connection

    def connection(self) -> Any:  # noqa: ANN401 - as above
        """Return it for the next statement."""
        self._watch.touch()
        return self._connection


class _Watch:
    """Ends a connection whose server does not answer, so that the thread that waits for it goes on."""

    def __init__(self) -> None:
        self._changed = clock.Condition()
        self._until: float | None = None
        self._socket: network.socket | None = None
        self._closed = False
        self._thread = clock.Thread(target=self._run, name="movescu-journal-watch", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def over(self, connection: Any) -> Iterator[_Watched]:  # noqa: ANN401 - SQLAlchemy's
        """Watch a connection meanwhile."""
        second = network.duplicate(connection.connection.driver_connection.fileno())  # stays when that is closed
        with second:
            with self._changed:
                self._socket = second
                self.touch()
            try:
                yield _Watched(self, connection)
            finally:
                with self._changed:
                    self._until = self._socket = None

    def touch(self) -> None:
        """Note that the connection is in use: an answer is awaited from now on."""
        self._until = clock.now() + SILENCE

    def close(self) -> None:
        """End the watch."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        with self._changed:
            while not self._changed.wait_for(lambda: self._closed, min(1.0, SILENCE / 4)):
                if self._socket is not None and self._until is not None and clock.now() >= self._until:
                    self._until = None
                    with contextlib.suppress(OSError):
                        network.shutdown(self._socket, SHUT_RDWR)
