"""The worlds of the two roles: each is built here, once, from the settings, and handed to what does the work.

One rule: a role imports what it needs and nothing else. Capture must answer
two seconds after it starts, so it never loads the engine or a PDF library.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn
from zoneinfo import ZoneInfo

from printerd import choices, config, systemd, wake
from printerd.config import Settings
from printerd.errors import ConfigurationError
from printerd.storage import instance
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.supervisor import LISTENS, Layout, bind, is_open, shown, tell

if TYPE_CHECKING:
    from printerd.health.site import Site
    from printerd.intake import Intake
    from printerd.listener.dnssd.announcer import Announcer
    from printerd.listener.dnssd.interfaces import Listening
    from printerd.listener.http import Application
    from printerd.listener.service import Service

PRINTER_NAME = "Invoice Printer"
QUEUES: Mapping[str, str] = {"invoices": PRINTER_NAME}
"""The printers by the names under which queues address them."""
SHIPPED = Path(__file__).parent / "pipeline/templates"
CHECKPOINT_EVERY = 60.0
"""Seconds between two signed heads of the ledger, while it grows."""
TELL_EVERY = 5
"""Seconds between two words of capture that its loop turns."""
COLLECT_WAIT = 25
"""Seconds that the edge holds our question for events open."""

log = logging.getLogger(__name__)

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


def capture(layout: Layout, settings: Settings) -> None:
    """Printer and console on one address, until SIGTERM."""
    import uvicorn
    import uvloop

    from printerd.listener.connections import TimedProtocol

    wanted = {name: getattr(settings.listen, name) for name in LISTENS["capture"]}
    sockets = {name: bind(name, address) for name, address in wanted.items() if is_open(name, address)}
    if not settings.listen.ipp.startswith("fd://"):  # no supervisor tells it
        tell(layout, {name: shown(one) for name, one in sockets.items()})
    server = uvicorn.Server(
        uvicorn.Config(
            _capture_app(layout, settings, sockets),
            http=TimedProtocol,
            lifespan="on",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whoever prints is who connects: a header may name anybody
            log_config=None,
            timeout_graceful_shutdown=5,
            callback_notify=_answering,
            timeout_notify=TELL_EVERY,
        )
    )
    gc.freeze()  # what is there now stays: no collection need look at it again
    uvloop.run(server.serve(sockets=[sockets["ipp"]]))


async def _answering() -> None:
    """The loop turns and the sockets are served: uvicorn calls this first once it does."""
    systemd.notify("READY=1", "WATCHDOG=1")


def _capture_app(layout: Layout, settings: Settings, sockets: Mapping[str, socket.socket]) -> App:
    from printerd.console import app as console
    from printerd.intake import Intake
    from printerd.listener import http, printer

    database, blobs = Database(layout.database_url(settings)), Blobs(layout.root)
    with database.write() as connection:
        identity = instance.identity(connection)
    ring = partial(wake.ring, layout.bell)
    intake = Intake(
        database,
        blobs,
        document_limit=settings.limits.document,
        free_space=settings.limits.free_space,
        committed=ring,
        document_timeout=settings.jobs.multiple_operation_time_out,
        policy=choices.Policy(
            settings.choices.routes,
            settings.choices.copies,
            partial(choices.template_names, (SHIPPED, layout.templates)),
        ),
        language=settings.language,
    )
    firm = next((one.name for one in settings.issuers.values()), PRINTER_NAME)
    names = [name.lower().rstrip(".") for name in settings.listen.names]
    ipp = http.application(
        database,
        intake,
        name=PRINTER_NAME,
        uuid=identity,
        language=settings.language,
        names=names,
        organization=firm,
        console="/",
        report_within=settings.jobs.report_within,
        operators=settings.listen.operators,
        zone=ZoneInfo(settings.time_zone),
        doors=(*_doors(settings, sockets, database, blobs, intake), *_folders(layout, settings, intake)),
    )
    pages = console.application(
        database,
        blobs,
        names=names,
        language=settings.language,
        firm=firm,
        doors={name: shown(one) for name, one in sockets.items()},
        wake=ring,
    )
    if settings.listen.dnssd:
        _announce(ipp, names, sockets, database, settings.listen.dnssd_name or PRINTER_NAME)

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """The printer has its path; everything else is the console's."""
        is_print = scope["type"] == "lifespan" or scope["path"].startswith(printer.PATH)
        await (ipp if is_print else pages)(scope, receive, send)

    return app


def _doors(
    settings: Settings, sockets: Mapping[str, socket.socket], database: Database, blobs: Blobs, intake: Intake
) -> Iterator[AbstractAsyncContextManager[object]]:
    """The ways in besides IPP that are open."""
    from printerd.listener import backend
    from printerd.listener.door import Door
    from printerd.listener.lpd import Lpd
    from printerd.listener.peers import Guests
    from printerd.listener.raw import Raw

    if "backend" in sockets:
        cups = backend.Backend(intake, QUEUES, users=backend.print_system(), language=settings.language)
        yield Door("cups", sockets["backend"], Guests(()), cups.serve, backend.LAST_CALL)
    serve = {
        "raw": Raw(intake, PRINTER_NAME, settings.listen.raw_idle).serve,
        "lpd": Lpd(intake, database, QUEUES, blobs.spool, settings.listen.raw_idle).serve,
    }
    for name, serving in serve.items():
        if name in sockets:
            yield Door(name, sockets[name], Guests(settings.listen.networks), serving)


def _folders(layout: Layout, settings: Settings, intake: Intake) -> Iterator[AbstractAsyncContextManager[object]]:
    """The hot folder, where one is set."""
    folders = settings.folders
    if not folders.path:
        return
    from printerd.listener.hotfolder import HotFolder
    from printerd.listener.resting import Patience

    yield HotFolder(
        intake,
        Path(folders.path),
        QUEUES,
        patience=Patience(folders.rest, folders.sidecar_wait, folders.complete_within),
        every=folders.look_every,
        told=layout.folders,
        language=settings.language,
    )


def _announce(
    ipp: Application, names: list[str], sockets: Mapping[str, socket.socket], database: Database, chosen: str
) -> None:
    """Have the printers announced while they serve, if others can reach them; their host's name joins ``names`` then.

    The default is called ``chosen``, the others as their own words say.
    """
    from printerd.listener.dnssd import records
    from printerd.listener.dnssd.interfaces import opened

    open_ = opened({name: sockets[name] for name in records.KINDS if name in sockets})
    if not open_:
        log.info("the printer is not announced (DNS-SD): listen.ipp is reached from this machine alone")
        return
    from printerd.listener.dnssd.multicast import host_name

    default, *others = ipp.services
    place, host, given = next(iter(open_.values())), host_name(default.printer.uuid), tuple(names)
    doors = {name: one.port for name, one in open_.items()}
    if "ipp" in doors:
        doors["http"] = doors["ipp"]  # the console

    def joins(name: str) -> None:
        names[:] = (*given, name.lower())

    for service, wanted in ((default, chosen), *((one, one.printer.info) for one in others)):
        ipp.live_with(_announcer(service, records.label(wanted), place, doors, host, database, joins))


def _announcer(
    service: Service,
    wanted: str,
    place: Listening,
    doors: Mapping[str, int],
    host: str,
    database: Database,
    joins: Callable[[str], None],
) -> Announcer:
    """What announces one printer as ``wanted``, or under the name that it had to take instead."""
    from printerd.listener.dnssd import records
    from printerd.listener.dnssd.announcer import Announcer

    def remember(name: str) -> None:
        with database.write() as connection:
            instance.set_dns_sd_name(connection, wanted, name)

    def seen_as(name: str, host: str) -> None:
        joins(host)
        service.known_as(name)

    with database.read() as connection:
        name = instance.dns_sd_name(connection, wanted)
    announcer = Announcer(
        place,
        lambda host: records.services(service.printer, host, doors),
        name=name,
        host=host,
        remember=remember,
        seen_as=seen_as,
    )
    service.onlookers.append(announcer.look_again)
    return announcer


def worker(layout: Layout, settings: Settings) -> None:
    """Engine, pools and collector, until SIGTERM. Only one worker works on a state folder."""
    from printerd.worker import Worker

    with (layout.run / "worker.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                "Another worker works on this instance.", where=str(layout.root), remedy="Stop it first."
            ) from None
        database = Database(layout.database_url(settings))
        Blobs(layout.root).recover()
        stages, chores = _work(layout, settings, database)
        working = Worker(database, stages, chores, layout.bell, layout.metrics)

        def stop(_number: int, _frame: FrameType | None) -> None:
            working.stop()
            wake.ring(layout.bell)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        _to_the_end(working.run)


def _to_the_end(run: Callable[[], None]) -> NoReturn:
    """Run, then end this process at once, and with it its pools.

    What is at work goes on with the next worker. Were it ended step by step, documents would be recorded as having
    broken the readers that we closed on them.
    """
    try:
        run()
    except Exception:
        log.exception("the worker failed")
        os._exit(1)
    os._exit(0)


def _work(layout: Layout, settings: Settings, database: Database) -> tuple[Any, Any]:
    """The stages of both rooms, and the chores."""
    from printerd.delivery.edge import EdgeClient
    from printerd.delivery.workflow import Delivering
    from printerd.pipeline.pools import Limits, Pool
    from printerd.pipeline.readers import Readers
    from printerd.pipeline.workflow import Pipeline
    from printerd.worker import Chore

    issuers, blobs = config.issuers(settings), Blobs(layout.root)
    firm = next((issuer.party.name for issuer in issuers), PRINTER_NAME)
    seal = {
        "keys_folder": str(layout.keys),
        "timestamp_url": settings.timestamp.url,
        "stamped": settings.timestamp.invoices,
        "pkcs12": systemd.secret_file(settings.signature.pkcs12),
        "pkcs12_passphrase_file": systemd.secret_file(settings.signature.passphrase_file),
        "firm": firm,
    }
    spool = layout.run / "pools"
    sealers = Pool("printerd.evidence.sealing:start", seal, size=settings.pools.sealers, limits=None, folder=spool)
    limits = Limits(cpu=int(settings.pools.reader_seconds))
    readers = Readers(layout.templates, size=settings.pools.readers, limits=limits, folder=spool)
    edge = EdgeClient(_edge_address(settings.receipts.api), layout.secret.read_text().strip())
    delivering = Delivering(
        database=database,
        blobs=blobs,
        edge=edge,
        sealers=sealers,
        issuers=issuers,
        language=settings.language,
        out_tray=layout.out_tray,
        rehearsal_to=settings.rehearsal.to,
        zone=settings.time_zone,
        expiry=timedelta(days=settings.receipts.expiry_days),
    )
    pipeline = Pipeline(
        database=database,
        blobs=blobs,
        readers=readers,
        sealers=sealers,
        issuers=issuers,
        language=settings.language,
        archived=delivering.archived,
        reader_seconds=settings.pools.reader_seconds,
    )

    chores = (Chore(partial(delivering.collect, COLLECT_WAIT), 0.05), Chore(pipeline.checkpoint, CHECKPOINT_EVERY))
    return (*pipeline.stages(), *delivering.stages()), chores


def health(layout: Layout, settings: Settings) -> None:
    """/healthz and /metrics on an address of their own, until SIGTERM."""
    from printerd.health.server import Server, Watch

    if not settings.listen.health:
        raise ConfigurationError(
            "listen.health is empty: there is no address to serve.", remedy="Set it, for example to 127.0.0.1:8635."
        )
    if not layout.secret.exists():
        raise ConfigurationError(
            f"There is no instance in {layout.root} yet.", remedy="Start it first: invoice-printer serve"
        )
    watch = Watch(site(layout, settings))
    server = Server(bind("health", settings.listen.health), watch, settings.listen.names, _alive)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))  # it holds nothing
    systemd.notify("READY=1")
    server.serve_forever()


def _alive() -> None:
    systemd.notify("WATCHDOG=1")


def site(layout: Layout, settings: Settings) -> Site:
    """What the checks look at, for the process that answers monitors and for ``doctor``."""
    from printerd import metrics
    from printerd.delivery.edge import EdgeClient
    from printerd.health import service
    from printerd.health.site import Relay, Site

    edge = EdgeClient(_edge_address(settings.receipts.api), layout.secret.read_text().strip(), timeout=service.PATIENCE)
    secrets = (settings.smtp.password_file, settings.signature.pkcs12, settings.signature.passphrase_file)
    return Site(
        root=layout.root,
        keys=layout.keys,
        templates=layout.templates,
        children=layout.children,
        locks=(layout.root / "lock", layout.run / "worker.lock"),
        database=Database(layout.database_url(settings), patience=int(service.PATIENCE * 1000)),
        edge=edge.status,
        worker=partial(metrics.ask, layout.metrics, service.PATIENCE),
        reach=_reach,
        printer=settings.listen.ipp,
        free_space=settings.limits.free_space,
        timestamp_url="" if settings.timestamp.url == "local:" else settings.timestamp.url,
        firm=next((one.name for one in settings.issuers.values()), PRINTER_NAME),
        own_key=bool(settings.signature.pkcs12),
        relay=Relay(settings.smtp.host, settings.smtp.port, settings.smtp.tls, settings.smtp.user),
        folders=layout.folders if settings.folders.path else None,
        secrets=tuple(Path(systemd.secret_file(one)) for one in secrets if one),
        settings={
            "issuers": tuple(settings.issuers),
            "receipts.public_url": settings.receipts.public_url,
            "rehearsal.to": settings.rehearsal.to,
            "listen.ipp": settings.listen.ipp,
            "listen.names": settings.listen.names,
        },
    )


def _reach(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=3).close()


def _edge_address(address: str) -> str:
    return address if address.startswith("unix://") else f"http://{address}"


ALONE: Mapping[str, Callable[[Layout, Settings], None]] = {"capture": capture, "worker": worker, "health": health}
"""The roles that are processes of this program, by their name."""
