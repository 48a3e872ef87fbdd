"""The one writer of the one SQLite file, and its reads.

`write` queues rows; whatever is queued while a transaction is under way shares the next one, and the future it returns is
done when the rows are on disk (WAL, synchronous=FULL). A transaction that fails is tried again batch by batch, so that only
the batch that cannot be written gets the error. Lives in the coordinator; decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar
from urllib.parse import quote

import aiosqlite

from ipc.errors import MozartError
from mozartd.store.statements import load_migrations, load_statements

#: A write that cannot be: the disk, a constraint; a number of more than 64 bits, text that is not Unicode.
WriteError = (sqlite3.Error, OverflowError, UnicodeEncodeError)

#: Of SQLite's `auto_vacuum`: pages that are free are given back when they are asked for. And how many of them at a time.
INCREMENTAL, PAGES_AT_ONCE = 2, 500

#: What SQLite says of a file whose bytes are not what was written.
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

T = TypeVar("T")
Row = Mapping[str, Any]
#: (statement name, row): what one write is made of.
Write = tuple[str, Row]


@dataclass(slots=True)
class _Batch:
    writes: Iterable[Write]
    done: asyncio.Future[None]


class Store:
    """Open it with `await Store.open(path)`; close it with `await close()`."""

    def __init__(self, database: aiosqlite.Connection, path: str) -> None:
        self._database = database
        self._path = path
        self._is_read_only = False
        """SQLite refused to write, which it goes on doing after the disk is writable again when that was so at the opening."""
        self._statements = load_statements()
        self._queue: list[_Batch] = []
        self._writer: asyncio.Task[None] | None = None
        self.on_damage: Callable[[str], None] = lambda sentence: None
        """A part of the file cannot be read: told each time."""

    def __repr__(self) -> str:
        return f"<Store {len(self._queue)} batches queued>"

    @classmethod
    async def open(cls, path: str) -> Store:
        """Raises MozartError: E401 or E404 when the file is no database of ours, or a newer one; E402 or E403 when the disk
        does not let it be read or written, which may pass."""
        database = aiosqlite.connect(path, isolation_level=None)
        try:
            await database
        except sqlite3.Error as error:
            # It stops its thread and does not wait for it; a loop that is closed meanwhile makes that thread complain.
            await asyncio.to_thread(database._thread.join)
            raise _unusable(path, error) from None
        try:
            database.row_factory = aiosqlite.Row
            await _prepare(database)
            await _migrate(database, path)
        except sqlite3.Error as error:
            await database.close()
            raise _unusable(path, error) from None
        except MozartError:
            await database.close()
            raise
        return cls(database, path)

    async def close(self) -> None:
        """Write what is queued, then close."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        await self._database.close()

    # -- writing

    def write(self, writes: Iterable[Write]) -> asyncio.Future[None]:
        """Done when all of `writes` are on disk, in their order; fails with MozartError E403, and then none of them is. They
        are gone through on another thread, perhaps twice."""
        done = asyncio.get_running_loop().create_future()
        self._queue.append(_Batch(writes, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_queued(), name="store writer")
        return done

    async def _write_queued(self) -> None:
        while self._queue:
            batches, self._queue = self._queue, []
            if await self._transact(batches) is None:
                _settle(batches, None)
                continue
            for batch in batches:
                _settle([batch], await self._transact([batch]))

    async def _transact(self, batches: Sequence[_Batch]) -> Exception | None:
        try:
            # In one go on aiosqlite's thread, for which it has no public method: a hop for each statement would cost more
            # than the statements, and a read between two of them would see what is not committed.
            await self._database._execute(self._run, batches)  # type: ignore[no-untyped-call]
        except (*WriteError, MozartError) as error:
            return error
        return None

    def _run(self, batches: Sequence[_Batch]) -> None:
        try:
            if self._is_read_only and os.access(self._path, os.W_OK):
                self._open_again()
            self._commit(batches)
            self._is_read_only = False
        except sqlite3.Error as error:
            # A file that was moved away is another matter: what is at its path now, if anything, is not ours.
            code = _code(error)
            self._is_read_only = _kind(code) == sqlite3.SQLITE_READONLY and code != sqlite3.SQLITE_READONLY_DBMOVED
            raise _unsaved(self._path, error) from None

    def _open_again(self) -> None:
        """Here, on the thread that everybody else's reads come to: none of them finds the database closed."""
        self._database._conn.close()
        database = sqlite3.connect(f"file:{quote(self._path)}?mode=rw", uri=True, isolation_level=None)
        database.row_factory = aiosqlite.Row
        for pragma in _PRAGMAS:
            database.execute(f"PRAGMA {pragma}")
        self._database._connection = database

    def _commit(self, batches: Sequence[_Batch]) -> None:
        database = self._database._conn
        try:
            database.execute("BEGIN IMMEDIATE")
            writes = itertools.chain.from_iterable(batch.writes for batch in batches)
            for name, group in itertools.groupby(writes, key=itemgetter(0)):
                database.executemany(self._statements[name], map(itemgetter(1), group))
            database.execute("COMMIT")
        except WriteError:
            if database.in_transaction:
                # A disk that does not even let us roll back: the next BEGIN fails, and its batch is told.
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
            raise

    # -- reading

    async def read(self, statement: str, **values: Any) -> list[Row]:
        """The rows of a named statement. Sees every write that is done."""
        (rows,) = await self.snapshot((statement, values))
        return rows

    async def values(self, statement: str, **values: Any) -> set[Any]:
        """What a statement with one column gives: many, and made aside."""

        def read() -> set[Any]:
            return {value for (value,) in self._database._conn.execute(self._statements[statement], values)}

        return await self._visit(read)

    async def snapshot(self, *reads: tuple[str, Mapping[str, Any]]) -> list[list[Row]]:
        """The rows of several statements as of one moment: no write comes between them."""

        def read() -> list[list[Row]]:
            # One visit to the thread that also writes: nothing else runs there meanwhile.
            execute = self._database._conn.execute
            return [[dict(row) for row in execute(self._statements[name], values)] for name, values in reads]

        return await self._visit(read)

    async def shrink(self, free_pages: int) -> None:
        """Give back to the disk what is free in the file, some of it at a time, when it is more than so many pages. Raises
        MozartError."""
        try:
            while await self._visit(partial(self._shrink, free_pages)):
                pass  # Who has come meanwhile was served in between.
        except sqlite3.OperationalError as error:
            raise MozartError("E402", f"cannot make the database smaller: {error}") from None

    def _shrink(self, free_pages: int) -> bool:
        """Whether there is more to do."""
        database = self._database._conn
        ((mode,),) = database.execute("PRAGMA auto_vacuum")
        ((free,),) = database.execute("PRAGMA freelist_count")
        if free <= free_pages:
            return False
        if mode != INCREMENTAL:
            # Of an earlier version. Once, and only when somebody asks for all that is free: nobody else is served meanwhile.
            if free_pages == 0:
                database.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return False
        database.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
        ((left,),) = database.execute("PRAGMA freelist_count")
        if left <= free_pages or left >= free:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return False
        return True

    async def _visit(self, call: Callable[[], T]) -> T:
        """Have it done where everything is done, one after the other. Raises MozartError E401 or E402 when the file cannot be
        read."""
        try:
            found: T = await self._database._execute(call)  # type: ignore[no-untyped-call]
        except sqlite3.DatabaseError as error:
            kind = _kind(_code(error))
            if kind in DAMAGED:
                self.on_damage(_unusable(self._path, error).message)
            elif kind not in _HINTS:
                raise  # A statement of ours is wrong.
            raise _unusable(self._path, error) from None
        return found

    async def read_one(self, statement: str, **values: Any) -> Row | None:
        rows = await self.read(statement, **values)
        return rows[0] if rows else None


def _settle(batches: Sequence[_Batch], error: Exception | None) -> None:
    for batch in batches:
        if batch.done.cancelled():
            continue
        if error is None:
            batch.done.set_result(None)
        else:
            unsaved = error if isinstance(error, MozartError) else MozartError("E403", f"cannot save: {error}")
            batch.done.set_exception(unsaved)


#: Kinds of errors that tell of the disk, not of the file → what a person can do about it.
_HINTS = {
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_READONLY: "make the disk and the file writable",
    sqlite3.SQLITE_CANTOPEN: "check that its directory exists and is readable and writable",
    sqlite3.SQLITE_IOERR: "check dmesg for disk errors",
    sqlite3.SQLITE_BUSY: "end the program that has it locked",
    sqlite3.SQLITE_NOMEM: "free some memory",
}


def _unusable(path: str, error: sqlite3.Error) -> MozartError:
    """Why the database cannot be opened."""
    kind = _kind(_code(error))
    if kind not in _HINTS:
        hint = "restore it from a backup, or move it away to start with an empty one"
        return MozartError("E401", f"cannot use the database {path}: {error}", hint)
    if kind in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY):
        return MozartError("E403", f"cannot write to the database {path}: {error}", _HINTS[kind])
    return MozartError("E402", f"cannot open the database {path}: {error}", _HINTS[kind])


def _unsaved(path: str, error: sqlite3.Error) -> MozartError:
    """Why rows cannot be written. Of a read-only disk SQLite says no more than of any other that fails."""
    if _is_on_read_only_disk(path):
        return MozartError("E403", "cannot save: the disk is read-only", _HINTS[sqlite3.SQLITE_READONLY])
    return MozartError("E403", f"cannot save: {error}", _HINTS.get(_kind(_code(error)), ""))


def _is_on_read_only_disk(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)


def _kind(code: int) -> int:
    """The lowest byte; the rest tells more of it."""
    return code & 0xFF


_PRAGMAS = (
    # Only a file without tables takes it.
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    # Somebody's backup may have it for a moment. Reads wait behind a write that waits, and it is tried again anyway.
    "busy_timeout = 1000",
    "temp_store = MEMORY",
)


async def _prepare(database: aiosqlite.Connection) -> None:
    async with database.execute("PRAGMA page_count") as cursor:
        row = await cursor.fetchone()
    if row is not None and row[0] == 0:
        # Of a database that is new: to an older one it would be a write, and its disk may take none.
        await database.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
    for pragma in _PRAGMAS:
        await database.execute(f"PRAGMA {pragma}")


async def _migrate(database: aiosqlite.Connection, path: str) -> None:
    async with database.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    version = row[0] if row else 0
    _refuse_newer(path, version)
    missing = load_migrations()[version:]
    if version and missing:
        await database._execute(lambda: _back_up(database._conn, path, version))  # type: ignore[no-untyped-call]
    for number, script in enumerate(missing, start=version + 1):
        await database.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def backup_of(path: str, version: int) -> str:
    """Where the database is kept as the last Mozart that knows this version left it."""
    return f"{path}.version-{version}"


def _back_up(database: sqlite3.Connection, path: str, version: int) -> None:
    """Whole and on disk before anything is changed: an older Mozart cannot read what comes out of it."""
    target = backup_of(path, version)
    unfinished = f"{target}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(unfinished)
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(unfinished)) as copy:
            database.backup(copy)
        fd = os.open(unfinished, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(unfinished, target)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        message = f"cannot keep a copy of the database in {target} before it is changed for this version: {error}"
        raise MozartError("E403", message, "make room on the disk, and see that its directory is writable") from None


def check_version(path: str) -> None:
    """Raises MozartError E404 when a newer Mozart has written the database, E402 when it cannot be read."""
    if not os.path.exists(path):
        return
    try:
        database = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
        with contextlib.closing(database):
            (version,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise _unusable(path, error) from None
    _refuse_newer(path, version)


def _refuse_newer(path: str, version: int) -> None:
    known = len(load_migrations())
    if version > known:
        message = f"cannot use the database {path}: it has version {version}, this Mozart knows {known}"
        hint = "install the newer Mozart again"
        kept = [backup_of(path, number) for number in range(known, 0, -1) if os.path.exists(backup_of(path, number))]
        if kept:
            restore = f"rm -f {path}-wal {path}-shm && cp {kept[0]} {path}"
            hint += f", or go back to what was kept before the upgrade: {restore}"
        raise MozartError("E404", message, hint)
