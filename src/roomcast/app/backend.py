"""The services that need the database: store, relay, worker, use cases and API.

A process without a database does not import this module.

Layer: app.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from roomcast.api.app import create_api, create_internal_api
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices, SignIn
from roomcast.app.errors import AppError
from roomcast.app.metrics import (
    Outbox,
    activity_families,
    http_families,
    relay_families,
    store_families,
    worker_families,
)
from roomcast.app.parts.files import build_files, prompt_files, running_contents
from roomcast.app.parts.moderation import running_moderation
from roomcast.app.parts.pushing import build_vapid, running_pushes
from roomcast.app.parts.responders import build_responders
from roomcast.app.parts.search_index import index_earlier_messages
from roomcast.app.parts.sessions import follow_ended_sessions
from roomcast.app.parts.webhooks import running_webhooks
from roomcast.app.process import STOP_LIMIT_S, Process, SharedServices
from roomcast.auth.tokens import TokenVerifier
from roomcast.chat.answers.following import TurnFollower
from roomcast.chat.delivery.activity import ActivityNotifier
from roomcast.chat.delivery.relay import Relay, RelayOptions
from roomcast.chat.errors import ChatNotFound, Muted, NotAMember, RightMissing, StoreUnavailable, TurnNotFound
from roomcast.chat.model import ANYONE, Caller
from roomcast.chat.notifications.preferences import Devices, Preferences
from roomcast.chat.ports import Head, SystemClock, WebhookSender
from roomcast.chat.use_cases.admission import Admissions
from roomcast.chat.use_cases.feed import Feed
from roomcast.chat.use_cases.keeping import erase_deleted_chats, expire_messages
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.chat.use_cases.personal import PersonalData
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.chat.use_cases.read_state import ReadState
from roomcast.chat.use_cases.reading import ChatReader
from roomcast.chat.use_cases.searching import ChatSearch
from roomcast.chat.use_cases.sessions import Sessions
from roomcast.chat.use_cases.turns import Turns
from roomcast.chat.use_cases.webhooks import Webhooks
from roomcast.chat.use_cases.writing import ChatOptions, ChatWriter
from roomcast.contract.cursor import Cursor
from roomcast.contract.errors import ErrorCode
from roomcast.files.contents import ObjectContents
from roomcast.gateway.announcing import RoomAnnouncer
from roomcast.gateway.ports import Admission, AdmissionDenied, ApiUnavailable, ChatAdmission, Refused, UnknownTurn
from roomcast.observability.readiness import Problem
from roomcast.push.vapid import Vapid
from roomcast.realtime.transports.proxies import ASGIApp
from roomcast.store.engine.database import sqlite_url
from roomcast.store.errors import StoreError
from roomcast.store.migrating import HEAD, OnStep, migrate
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from roomcast.worker.options import WorkerOptions
from roomcast.worker.service import Worker
from roomcast.worker.turn_run import TurnServices
from roomcast.worker.waking import WorkerCall, answer_calls

#: Longest time between two sweeps of a relay, in seconds, if other processes use the same database.
SHARED_SWEEP_S: Final = 2.0
#: Errors of PostgreSQL that waiting cannot mend. psycopg gives no code for an error of a connection attempt.
_REFUSED: Final = re.compile(r"authentication failed|does not exist|permission denied|no pg_hba.conf entry")


@dataclass(frozen=True, slots=True)
class Backend:
    """The running services with the database.

    Attributes:
        activity: Announces activity in chats, once `announce_through` was called.
        reads: Announces what users have read, too.
        admissions: The use case that admits users to chats.
        turns: The use cases of AI turns.
        api: The REST API and the chat page; None: the process serves none.
        internal_api: The API for gateways in other processes; None as well.
    """

    activity: ActivityNotifier
    reads: ReadState
    admissions: Admissions
    turns: Turns
    api: ASGIApp | None = None
    internal_api: ASGIApp | None = None

    def announce_through(self, announcer: RoomAnnouncer) -> None:
        """Start announcing to users and chats."""
        self.activity.announce_through(announcer)
        self.reads.announce_through(announcer)

    def local_admission(self) -> ChatAdmission:
        """The admission of a gateway in this process."""
        return LocalAdmission(self.admissions, self.turns)


@asynccontextmanager
async def running_backend(process: Process, shared: SharedServices) -> AsyncIterator[Backend]:
    """Start store, relay, use cases and worker. On exit every accepted write is committed.

    A process with an API runs a worker unless it is turned off; a process without one is a worker.
    """
    worker = process.config.settings.worker or process.config.api_port is None
    settings, tasks, metrics = process.config.settings, process.tasks, process.metrics
    # First: a responder that cannot be loaded ends the process, and nothing is running yet.
    responders = build_responders(settings)
    vapid = build_vapid(process)
    async with (
        running_contents(process) as contents,  # a bucket that cannot be used ends the process, too
        running_moderation(process) as moderation,
        open_store(database_options(process.config.database), tracer=process.tracer) as store,
        running_pushes(process, store, vapid if worker else None),
        running_webhooks(process, store.webhooks, store.feed, sends=worker) as sender,
    ):
        # Another process that shares the database may die between commit and publish, and a database server may
        # complete a commit after its client lost the connection. A sweep finds such events.
        sweep_every_s = SHARED_SWEEP_S if store.shared else None
        process.readiness.watch("database", lambda: _check_store(store), worked=True)
        metrics.add(lambda: store_families(store))
        outbox = Outbox(store.chats)
        tasks.start("outbox monitor", outbox.run())
        metrics.add(outbox.families)
        options = RelayOptions(stop_limit_s=STOP_LIMIT_S, sweep_every_s=sweep_every_s)
        relay = Relay(store.chats, shared.log, options, tracer=process.tracer)
        await relay.start()
        tasks.start("relay", relay.supervise())
        metrics.add(lambda: relay_families(relay.counters))
        tasks.start("search index", index_earlier_messages(store.search))
        shared.on_reconnect(relay.restore)
        activity = ActivityNotifier(store.chats, open_to_all=settings.auth is None)
        reads = ReadState(store.chats)
        metrics.add(lambda: activity_families(activity.counters, reads.counters))

        # The use cases and the worker depend on each other: a message wakes the worker, which ends turns.
        def wake() -> None:
            wake_workers()

        turns = Turns(
            store.turns,
            relay,
            shared.log,
            listener=activity,
            wake_worker=wake,
            default_responder=next(iter(settings.responders), None),
            quotas=None if settings.auth is None else settings.quotas,
        )
        if worker:
            worker_options = WorkerOptions(
                concurrency=settings.worker_turns,
                sweep_s=SHARED_SWEEP_S if store.shared else 15.0,
                token_budget=settings.token_budget,
                system_prompt=settings.system_prompt,
            )
            services = TurnServices(
                store.turns,
                turns,
                shared.streams,
                shared.log,
                responders,
                process.tracer,
                prompt_files(contents, settings.files),
                None if moderation is None or moderation.answers == "off" else moderation,
            )
            running = Worker(services, SystemClock(), worker_options)
            wake_workers = running.wake
            metrics.add(lambda: worker_families(running.counters))
            tasks.start("worker", running.run())
            if shared.redis is not None:
                tasks.start("calls of the worker", answer_calls(shared.log, running.wake))
            serve = process.config.serve
            process.on_drain(lambda: running.drain(serve.unready_s + serve.drain_limit_s))
        else:
            call = WorkerCall(shared.log)
            wake_workers = call.wake
            tasks.start("calls to workers", call.run())
        try:
            yield _build_backend(
                process, shared, store, relay, activity, reads, turns, wake, moderation, vapid, sender, contents
            )
        finally:
            if worker:
                await running.stop()
            await tasks.stop()
            await activity.close()
            await reads.close()
            await relay.stop()


def _build_backend(
    process: Process,
    shared: SharedServices,
    store: Store,
    relay: Relay,
    activity: ActivityNotifier,
    reads: ReadState,
    turns: Turns,
    wake_workers: Callable[[], None],
    moderation: Moderation | None,
    vapid: Vapid | None,
    sender: WebhookSender,
    contents: ObjectContents | None,
) -> Backend:
    """Build the use cases and, if the process has a port for it, the API."""
    settings = process.config.settings
    admissions = Admissions(store.chats, relay)
    if process.config.api_port is None:
        return Backend(activity, reads, admissions, turns)
    files = build_files(process, shared, store, contents)
    writer = ChatWriter(
        store.chats,
        relay,
        listener=activity,
        wake_worker=wake_workers,
        options=ChatOptions(
            responders=settings.responders,
            additions=settings.additions,
            quotas=None if settings.auth is None else settings.quotas,
        ),
        limiter=shared.limiter,
        moderation=moderation,
        files=None if files is None else files.downloads,
    )
    process.tasks.start("erasure of deleted chats", erase_deleted_chats(store.chats))
    process.tasks.start("deletion of old messages", expire_messages(writer.keeping, settings.retention_days))
    sessions = _build_sessions(process, store)
    personal = PersonalData(store.personal, store.chats, Publishing(relay, activity, wake_workers), turns, sessions)
    process.tasks.start("erasure of personal data", personal.run())
    services = ApiServices(
        writer,
        ChatReader(store.chats),
        admissions,
        turns,
        TurnFollower(shared.log, shared.streams, store.chats, store.turns),
        sessions,
        reads,
        Feed(store.feed),
        ChatSearch(store.chats, store.search),
        Preferences(store.chats),
        Devices(store.pushes, None if vapid is None else settings.push.rules),
        None if settings.auth is None else TokenVerifier(settings.auth, process.ended),
        sign_in=_build_sign_in(process),
        default_responder=next(iter(settings.responders), None),
        tracer=process.tracer,
        limiter=shared.limiter,
        push_key=None if vapid is None else vapid.public_key,
        webhooks=Webhooks(store.webhooks, store.feed, sender, SystemClock()),
        personal=personal,
        files=files,
    )
    api = create_api(services, process.config.api)
    internal_api = create_internal_api(services, _internal_options(process), api.state.durations)
    process.metrics.add(lambda: http_families(api.state.durations))
    return Backend(activity, reads, admissions, turns, api, internal_api)


def _build_sign_in(process: Process) -> SignIn | None:
    options, auth, ended = process.config.settings.sign_in, process.config.settings.auth, process.ended
    if options is None or auth is None or ended is None:
        return None
    from roomcast.auth.browser_sessions import BrowserSessions
    from roomcast.auth.open_id import OpenIdClient

    return SignIn(OpenIdClient(options, auth), BrowserSessions(auth, ended), options.page_url)


def _build_sessions(process: Process, store: Store) -> Sessions:
    ended = process.ended
    if ended is None:
        return Sessions(store.sessions, lambda _sessions: None)
    sessions = Sessions(store.sessions, ended.add)
    process.tasks.start("ended sessions", follow_ended_sessions(ended, sessions.ended))
    return sessions


def _internal_options(process: Process) -> ApiOptions:
    # Gateways reach the internal address by a name of their own, which ALLOWED_HOSTS, for browsers, does not list.
    unlisted = process.config.settings.allowed_hosts is None
    return ApiOptions(allowed_hosts=process.config.api.allowed_hosts if unlisted else None)


async def _check_store(store: Store) -> Problem | None:
    try:
        await store.check()
    except StoreUnavailable as error:
        if store.failure is not None:
            return Problem("damaged, deleted or replaced, as the log says", lasting=True, detail=store.failure)
        if _REFUSED.search(str(error)):
            return Problem("the login or a privilege is refused: correct DATABASE_URL", lasting=True, detail=str(error))
        readable = await store.readable()
        return Problem("no writes are accepted" if readable else "no answer", partial=readable, detail=str(error))
    return None


class LocalAdmission:
    """`roomcast.gateway.ports.ChatAdmission` in the process that has the database: direct calls, no HTTP."""

    def __init__(self, admissions: Admissions, turns: Turns) -> None:
        self._admissions = admissions
        self._turns = turns

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:
        """See the port."""
        try:
            admitted = await self._admissions.admit(chat_id, user_id, since)
        except (ChatNotFound, NotAMember) as error:
            raise AdmissionDenied(str(error)) from None
        except StoreUnavailable as error:
            raise ApiUnavailable(str(error)) from error
        return Admission(Head(admitted.epoch, admitted.seq), admitted.reset, admitted.silent_until)

    async def confirm(self, chat_id: str, user_id: str) -> None:
        """See the port."""
        await self.admit(chat_id, user_id, None)

    def revoke(self, chat_id: str, user_id: str) -> None:
        """See the port. Nothing is cached."""

    async def request_publish(self, chat_id: str) -> None:
        """See the port."""
        await self._admissions.request_publish(chat_id)

    async def stop_turn(self, chat_id: str, turn_id: str, user_id: str | None) -> None:
        """See the port."""
        try:
            await self._turns.stop(ANYONE if user_id is None else Caller(user_id), chat_id, turn_id)
        except ChatNotFound as error:
            raise AdmissionDenied(str(error)) from None
        except TurnNotFound as error:
            raise UnknownTurn(str(error)) from None
        except (RightMissing, Muted) as error:
            raise Refused(ErrorCode.MUTED if isinstance(error, Muted) else ErrorCode.FORBIDDEN, str(error)) from None
        except StoreUnavailable as error:
            raise ApiUnavailable(str(error)) from error


def migrate_database(
    database: Path | str,
    *,
    new_epoch: bool = False,
    on_step: OnStep | None = None,
    progress: Callable[[int, int], None] = lambda _left, _total: None,
) -> tuple[str | None, str]:
    """Migrate a database to the newest schema, and index the messages of earlier versions.

    Args:
        database: An SQLite file, or the URL of PostgreSQL.
        new_epoch: Start a new epoch, because the database was restored from a backup: clients whose cursor is beyond
            the backup then load their chats again (docs/decisions/0001).
        on_step: As for `store.migrating.migrate`.
        progress: Called with the number of messages that are not indexed yet, and of all messages.

    Returns:
        The revision of the schema before the migration (None: there was no database) and after it.

    Raises:
        AppError: the database cannot be used.
    """
    try:
        options = database_options(database)
        before = asyncio.run(migrate(options, new_epoch=new_epoch, on_step=on_step, progress=progress))
    except StoreError as error:
        raise AppError(str(error)) from error
    return before, HEAD


def database_options(database: Path | str | None) -> DatabaseOptions:
    """The options that open a configured database.

    Raises:
        ValueError: no database is configured, which is a bug in the caller.
    """
    if database is None:
        raise ValueError("the configuration names no database")
    return DatabaseOptions(url=sqlite_url(database) if isinstance(database, Path) else database)
