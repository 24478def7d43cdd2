"""The worker: claims what is due, runs it as durable workflows, collects what comes back.

One rule: this module alone knows the engine. A stage is a plain function of a
batch; here it becomes a workflow that survives a crash, is started again after
one, and is held when it fails for a reason that time does not mend.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from printerd import logs, metrics, systemd
from printerd.errors import Failure, IntegrityError, TransientError
from printerd.model import BatchId
from printerd.precedence import Precedence
from printerd.storage import claims
from printerd.storage.claims import Stage
from printerd.storage.database import Database, workflow_engine
from printerd.wake import Bell, ring

APPLICATION_VERSION = "1"
"""Pinned: the engine's default hashes the code and would leave old workflows behind after an upgrade."""
EXECUTOR = "worker"
IN_FLIGHT = 2
"""Batches of one stage at a time: while one waits for its programs the next one is claimed."""
IDLE = 5.0
"""Seconds between two looks when nobody rings."""
MEND_EVERY = 60.0
"""Seconds between two looks for batches that were left."""
MEND_SOON = 2.0
"""Seconds until the next look after a batch has failed."""
STARTS = 2
"""A batch that ends its worker so often is let go, and its rows are tried one by one."""
KEEP_ENDED = timedelta(days=1)
"""How long an ended workflow stays readable; the rows tell the story after that."""

LONGEST_PAUSE = 60.0
SUSPICIOUS = 300.0
FORGOTTEN = 500
"""Ended workflows that are deleted at a time."""
UNFINISHED = ["PENDING", "ENQUEUED", "DELAYED"]
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """What is done for ever beside the stages, with ``pause`` seconds between two times."""

    run: Callable[[], object]
    pause: float


class Worker:
    """Runs ``stages`` until :meth:`stop`; ``chores`` are called for ever in threads of their own."""

    def __init__(
        self, database: Database, stages: Sequence[Stage], chores: Sequence[Chore], bell: Path, metrics_socket: Path
    ) -> None:
        self._database = database
        self._stages = {stage.name: stage for stage in stages}
        self._first_free = claims.first_free(stages)
        self._precedence = Precedence({stage.name: stage.patience for stage in stages})
        self._chores = chores
        self._bell = Bell(bell)
        self._ring = bell
        self._metrics_socket = metrics_socket
        self._running: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._mend_at = 0.0

    def run(self) -> None:
        """Start the engine, take up what an earlier worker left, and dispatch until :meth:`stop`."""
        self._launch()
        metrics.tell(self._metrics_socket, self.oldest)
        systemd.notify("READY=1")
        for chore in self._chores:
            threading.Thread(target=self._for_ever, args=(chore,), daemon=True).start()
        while not self._stopping.is_set():
            self._turn()
            systemd.notify("WATCHDOG=1")

    def stop(self) -> None:
        """Claim nothing more. What runs may be killed: it is started again with the next worker."""
        self._stopping.set()

    def busy(self) -> bool:
        with self._lock:
            return any(self._running.values())

    def oldest(self) -> dict[str, float]:
        """For how many seconds the oldest batch of each stage has been at work; stages that rest are left out."""
        now = time.monotonic()
        with self._lock:
            return {stage: now - min(begun.values()) for stage, begun in self._running.items() if begun}

    # The engine

    def _launch(self) -> None:
        """Workflows are registered by the stage's name, so that a later program finds them again."""
        url = self._database.url.render_as_string(hide_password=False)
        DBOS(
            config=DBOSConfig(
                name="invoice-printer",
                system_database_url=url,
                system_database_engine=workflow_engine(url),
                application_version=APPLICATION_VERSION,
                executor_id=EXECUTOR,
                serializer=DBOSPortableJSONSerializer(),
                log_level="WARNING",
                scheduler_polling_interval_sec=60.0,
                notification_listener_polling_interval_sec=10.0,
            )
        )
        self._workflows = {stage.name: self._durable(stage) for stage in self._stages.values()}
        DBOS.launch()

    def _durable(self, stage: Stage) -> Callable[[str], None]:
        # No step inside: it would only tell a second run what the rows tell it too, for two more commits a batch.
        @DBOS.workflow(name=stage.name, max_recovery_attempts=STARTS)
        def workflow(batch: str) -> None:
            self._begins(stage, batch)
            try:
                with logs.bound(stage=stage.name, batch=batch), metrics.STAGE_SECONDS.labels(stage.name).time():
                    stage.run(BatchId(batch))
            except Exception:
                self._mend_at = time.monotonic() + MEND_SOON
                raise
            finally:
                self._ends(stage, batch)

        return workflow

    def _begins(self, stage: Stage, batch: str) -> None:
        with self._lock:
            self._running[stage.name].setdefault(batch, time.monotonic())

    def _ends(self, stage: Stage, batch: str) -> None:
        with self._lock:
            self._running[stage.name].pop(batch, None)
        ring(self._ring)

    # The dispatcher

    def _turn(self) -> None:
        """Claim until nothing more is due, then wait for the bell or for the next postponed row."""
        try:
            self._mend()
            with self._database.read() as connection:
                due = claims.due(connection, self._first_free, now := _now())
            ready = [name for name, moment in due.items() if moment <= now]
            claimed = [self._dispatch(self._stages[name]) for name in self._first(ready)]
            pause = 0.0 if any(claimed) else _pause(due.values(), now)
        except TransientError as error:
            log.warning("the dispatcher waits: %s", error.what)
            pause = IDLE
        if pause:
            self._bell.wait(pause)

    def _first(self, ready: Sequence[str]) -> list[str]:
        with self._lock:
            running = [name for name, begun in self._running.items() if begun]
        return self._precedence.first(ready, running, time.monotonic())

    def _dispatch(self, stage: Stage) -> bool:
        """Claim one batch and start its workflow under the batch's id: a second start of the same id does nothing."""
        with self._lock:
            if len(self._running[stage.name]) >= IN_FLIGHT:
                return False
        with self._database.write() as connection:
            batch = claims.claim(connection, stage, _now())
        if batch is None:
            return False
        self._begins(stage, batch)
        with SetWorkflowID(batch):
            DBOS.start_workflow(self._workflows[stage.name], batch)
        return True

    # Mending

    def _mend(self) -> None:
        """Free the rows of batches that nobody works on: a crash fell between two commits, or a workflow failed."""
        if time.monotonic() < self._mend_at:
            return
        due, self._mend_at = self._mend_at, time.monotonic() + MEND_EVERY
        try:
            self._free_what_was_left(first=not due)
        except TransientError:
            self._mend_at = due  # a disk that is full keeps batches held: they shall not wait for the look after next
            raise
        self._forget(_now())

    def _free_what_was_left(self, first: bool) -> None:
        for stage in self._stages.values():
            with self._database.read() as connection:
                held = claims.batches(connection, stage)
            for batch in set(held) - self._at_work(stage, held, first):
                with self._database.write() as connection:
                    claims.let_go(connection, stage, batch, _now())

    def _at_work(self, stage: Stage, held: Sequence[BatchId], first: bool) -> set[str]:
        """Batches that run here, and at the first look those that the engine is taking up again.

        Later its word does not count: when the database fails, so does its note that a workflow has ended.
        """
        with self._lock:
            running = set(self._running[stage.name])
        return running | (_unfinished(held) if first else set())

    def _forget(self, now: datetime) -> None:
        """The engine keeps ended workflows for ever; their rows tell the same."""
        ended = DBOS.list_workflows(
            status=ENDED, end_time=(now - KEEP_ENDED).isoformat(), limit=FORGOTTEN, load_input=False, load_output=False
        )
        if ended:
            DBOS.delete_workflows([status.workflow_id for status in ended])

    # Chores

    def _for_ever(self, chore: Chore) -> None:
        """A chore that fails is tried again more and more seldom; one that finds forged evidence waits five minutes."""
        pause = chore.pause
        while not self._stopping.wait(pause):
            try:
                chore.run()
                pause = chore.pause
            except IntegrityError as error:
                log.critical("%s %s", error.what, error.remedy)
                pause = SUSPICIOUS
            except Failure as error:
                log.warning("%s", error.what)
                pause = min(LONGEST_PAUSE, max(1.0, pause * 2))
            except Exception:
                log.exception("a chore failed")
                pause = LONGEST_PAUSE
            ring(self._ring)


def _unfinished(batches: Sequence[BatchId]) -> set[str]:
    """Those batches whose workflow runs or will run."""
    if not batches:
        return set()
    found = DBOS.list_workflows(workflow_ids=list(batches), status=UNFINISHED, load_input=False, load_output=False)
    return {status.workflow_id for status in found}


def _pause(due: Iterable[datetime], now: datetime) -> float:
    """Seconds until the next postponed row; what is due already waits for the end of a batch, which rings."""
    return min([IDLE, *(max(0.05, (moment - now).total_seconds()) for moment in due if moment > now)])


def _now() -> datetime:
    return datetime.now(UTC)
