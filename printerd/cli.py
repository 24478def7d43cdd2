"""The command line: what IT, accounting and auditors type.

One rule: a command reads its settings, calls one room and prints. ``--json``
wherever something is listed or shown; a failure is three short lines on
standard error and the exit code of its class (``errors.py``). Heavy imports
stand in the commands that need them, so that ``--help`` is quick.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer

from printerd import __version__
from printerd.errors import ConfigurationError, Failure, RequestError
from printerd.terminal import plain, refused

if TYPE_CHECKING:
    from printerd.config import Settings
    from printerd.evidence.verify import Verdict
    from printerd.storage.blobs import Blobs
    from printerd.storage.database import Database
    from printerd.supervisor import Layout

StateDir = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="Folder of the instance.", show_default=False)
]
Assign = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting but secrets; repeatable.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")]
Who = Annotated[
    str,
    typer.Option(
        "--who",
        help="Who acts; it is kept in the ledger.",
        show_default="you",
        callback=lambda name: name or getpass.getuser(),
    ),
]


def _group(help: str) -> typer.Typer:
    return typer.Typer(help=help, no_args_is_help=False, rich_markup_mode=None)


app = typer.Typer(
    name="invoice-printer",
    help="A printer that seals, archives and delivers invoices, and files the customer's receipt.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
jobs_app = _group("Print jobs and what became of them.")
invoices_app = _group("Invoices: look up, correct, release, reject, resend.")
customers_app = _group("Customers: import, look up.")
queue_app = _group("Queues of CUPS on this machine: make, list, remove.")
console_app = _group("The web pages of the staff.")
config_app = _group("Settings: write a file, check it, show what is in force.")
for name, group in {
    "jobs": jobs_app,
    "invoices": invoices_app,
    "customers": customers_app,
    "queue": queue_app,
    "console": console_app,
    "config": config_app,
}.items():
    app.add_typer(group, name=name)


def main() -> NoReturn:
    """Run a command; a failure is told in its own words. What is written is its owner's alone, wherever it lies."""
    os.umask(0o077)
    try:
        app(standalone_mode=True)
    except Failure as failure:
        sys.exit(refused(failure))
    sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        _say(f"invoice-printer {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A printer that seals, archives and delivers invoices, and files the customer's receipt."""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as commands need it: where it lies, its settings, its rows and its bytes."""

    layout: Layout
    settings: Settings
    database: Database
    blobs: Blobs

    def ring(self) -> None:
        from printerd import wake

        wake.ring(self.layout.bell)


def _layout(state: Path | None) -> Layout:
    from printerd import config
    from printerd.supervisor import Layout

    return Layout((state or config.default_state()).absolute())


def _configured(state: Path | None, assign: Sequence[str] | None) -> tuple[Layout, Settings]:
    from printerd import config

    layout = _layout(state)
    return layout, config.load(layout.root, assign or ())


def _open(state: Path | None, assign: Sequence[str] | None) -> Instance:
    """The instance in a state folder, which must have been served once."""
    from printerd.storage import migrations
    from printerd.storage.blobs import Blobs
    from printerd.storage.database import Database

    layout, settings = _configured(state, assign)
    if not settings.database and not (layout.root / "printerd.db").exists():
        raise ConfigurationError(
            f"There is no instance in {layout.root}.",
            remedy="Start one with: invoice-printer serve --state DIR, or name its folder with --state.",
        )
    database = Database(layout.database_url(settings))
    migrations.upgrade(database)
    return Instance(layout, settings, database, Blobs(layout.root))


# Running ------------------------------------------------------------------------------------------------------------


@app.command()
def serve(
    state: StateDir = None,
    assign: Assign = None,
    only: Annotated[str, typer.Option("--only", help="Run one role: capture, worker, receipts or health.")] = "",
) -> None:
    """Run the whole service until Ctrl-C or SIGTERM."""
    from printerd import logs, supervisor

    layout, settings = _configured(state, assign)
    logs.to_stderr()
    if only and only not in supervisor.ROLES:
        raise RequestError(f"There is no role {only!r}.", remedy=f"Choose one of: {', '.join(supervisor.ROLES)}")
    if only and only != "receipts":  # which is a program of its own
        from printerd import roles  # the supervisor lives long, and needs nothing of what they load

        layout.make()
        if only != "health":  # it looks and changes nothing
            supervisor.prepare(layout, settings)
        roles.ALONE[only](layout, settings)
        return
    run = (only,) if only else supervisor.ROLES
    raise typer.Exit(supervisor.Supervisor(layout, settings, assign or (), run).run())


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the table.")] = False,
    state: StateDir = None,
) -> None:
    """Print the sample invoices to a fresh instance and follow them the whole way."""
    from printerd.demo import show

    raise typer.Exit(show.run(once=once, state=state))


@app.command("print")
def print_(
    file: Annotated[Path, typer.Argument(help="PDF, PostScript or plain text.", exists=True, dir_okay=False)],
    state: StateDir = None,
    assign: Assign = None,
    printer: Annotated[str, typer.Option("--printer", help="ipp:// address; this instance's when left out.")] = "",
    user: Annotated[str, typer.Option("--user", show_default="you")] = "",
    title: Annotated[str, typer.Option("--title", help="The job's name; the file's when left out.")] = "",
    as_json: Json = False,
) -> None:
    """Send a file to the printer, as any print client would."""
    from printerd import client

    address = printer or f"ipp://{addresses(_layout(state))['ipp']}/ipp/print"
    sent = client.print_file(address, file, user=user or getpass.getuser(), title=title or file.name)
    _show(sent, [f"Job {sent.number} accepted ({sent.state})."], as_json)


def addresses(layout: Layout) -> dict[str, str]:
    """Where a running instance listens, as its supervisor told it."""
    try:
        told: dict[str, str] = json.loads(layout.addresses.read_text())
        return told
    except (FileNotFoundError, ValueError):
        raise RequestError(
            f"No service runs in {layout.root}.", remedy="Start it with: invoice-printer serve"
        ) from None


@app.command("go-live")
def go_live(state: StateDir = None, assign: Assign = None, who: Who = "") -> None:
    """End the rehearsal: from now on mail goes to customers, and receipts count."""
    from printerd.evidence import acts
    from printerd.storage import messages

    instance = _open(state, assign)
    with instance.database.write() as connection:
        messages.refresh(connection, acts.go_live(connection, who, _now()), instance.settings.language)
    instance.ring()
    _say("The instance is live: mail goes to customers from now on.")


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="A sealed invoice or receipt.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check the whole archive of this instance.")] = False,
    trust: Annotated[
        list[Path] | None, typer.Option("--trust", help="Certificate (PEM) to trust; repeatable.", show_default=False)
    ] = None,
    state: StateDir = None,
    assign: Assign = None,
    as_json: Json = False,
) -> None:
    """Check a document without any database, or with --all the whole archive.

    Exit status: 0 valid, 1 something is wrong, 3 intact but the origin is not established.
    """
    if everything == (file is not None):
        raise RequestError("Name one file, or --all.", remedy="invoice-printer verify FILE.pdf --trust CERT.pem")
    code = _verify_all(state, assign, as_json) if file is None else _verify_file(file, trust or (), state, as_json)
    raise typer.Exit(code)


def _verify_file(file: Path, trust: Sequence[Path], state: Path | None, as_json: bool) -> int:
    from printerd.evidence import verify as checking

    if not file.is_file():
        raise RequestError(f"There is no file {file}.")
    keys = _layout(state).keys
    anchors = trust or sorted(keys.glob("*.crt"))
    verdict = checking.verify_file(file, anchors)
    _show(verdict, _said(verdict), as_json)
    return verdict.exit_code


def _said(verdict: Verdict) -> Iterable[str]:
    """A verdict in lines: first whether it holds, then by whom and when, then what is wrong or worth knowing."""
    from printerd.evidence.signatures import LOCAL_PHRASE

    origin = "origin established" if verdict.origin else "origin not established: name a certificate with --trust"
    yield f"INTACT, {origin}" if verdict.intact else "NOT INTACT"
    if verdict.signer:
        yield f"{verdict.kind}, sealed by {verdict.signer} (certificate {verdict.certificate})"
    if verdict.timestamp:
        by = LOCAL_PHRASE["en"] if verdict.timestamp.local else verdict.timestamp.authority
        yield f"timestamp {verdict.timestamp.time.isoformat()} ({by})"
    yield from verdict.faults
    yield from verdict.notes


def _verify_all(state: Path | None, assign: Sequence[str] | None, as_json: bool) -> int:
    from printerd.evidence import audit

    instance = _open(state, assign)
    findings = audit.verify_all(instance.database, instance.blobs, instance.layout.keys)
    _show(findings, findings.lines(), as_json)
    return findings.exit_code


# Backup -------------------------------------------------------------------------------------------------------------

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Its first line opens the backups.", show_default=False),
]


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of all backups of this instance.")],
    passphrase_file: PassphraseFile = None,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", metavar="age1…", help="Public key; repeatable.")
    ] = None,
    private_key: Annotated[bool, typer.Option("--with-private-key", help="Save the sealing key too.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Make none: check the latest one, without its key.")] = False,
    state: StateDir = None,
    assign: Assign = None,
    as_json: Json = False,
) -> None:
    """Save this instance, encrypted, while it runs. How to open the backups is chosen at the first one.

    Exit status: 0 all is saved, 1 something was missing or damaged, and it says what.
    """
    from printerd.backup import saving, vault

    folder = folder.absolute()
    if check:
        _checked(folder, as_json)
    layout, settings = _configured(state, assign)
    if settings.database:
        raise ConfigurationError(
            "The database is a server of its own.", where="setting database", remedy="Save it with its own tools."
        )
    _open(state, assign).database.close()
    saving.prepare(folder)
    whom = vault.recipients(folder, recipient or (), passphrase_file)
    report = saving.save(_saved(layout, private_key), folder, whom, _sealing(layout, settings), _now())
    lines = [
        f"Backup {report.name}: {report.files} files, {report.documents} documents "
        f"({report.stored_now} new, {report.bytes_now} bytes).",
        *(() if private_key else ("The sealing key is not in it: keep keys/seal.key safe elsewhere.",)),
        *(f"NOT SAVED: {fault}" for fault in report.faults),
    ]
    _show(report, lines, as_json)
    raise typer.Exit(1 if report.faults else 0)


def _checked(folder: Path, as_json: bool) -> NoReturn:
    from printerd.backup import manifest

    chosen = manifest.choose(folder)
    damaged = tuple(manifest.damaged(folder, chosen))
    lines = damaged or (f"Backup {chosen.name}: every file is as it was written.",)
    _show({"backup": chosen.name, "damaged": damaged}, lines, as_json)
    raise typer.Exit(1 if damaged else 0)


def _saved(layout: Layout, private_key: bool) -> Any:
    from printerd import config
    from printerd.backup.saving import Source

    return Source(layout.root, config.config_file(layout.root), private_key)


def _sealing(layout: Layout, settings: Settings) -> Callable[[bytes], bytes]:
    """The firm's seal over a SHA-256."""
    from printerd import systemd
    from printerd.evidence import cms, keys

    pkcs12, passphrase = settings.signature.pkcs12, settings.signature.passphrase_file
    if pkcs12:
        file = Path(systemd.secret_file(passphrase)) if passphrase else None
        pair = keys.from_pkcs12(Path(systemd.secret_file(pkcs12)), file)
        keys.remember(layout.keys, pair)
    else:
        pair = keys.seal(layout.keys, next((one.name for one in settings.issuers.values()), "Invoice Printer"))
    return lambda digest: cms.sign(pair, "data", digest)


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the backups.")],
    state: Annotated[Path, typer.Option("--state", metavar="NEW", help="State folder to make.", show_default=False)],
    name: Annotated[str, typer.Option("--backup", metavar="NAME", help="Which one; the latest when left out.")] = "",
    passphrase_file: PassphraseFile = None,
    identity: Annotated[
        Path | None, typer.Option("--identity", metavar="FILE", help="The age key of a recipient.", show_default=False)
    ] = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option("--trust", help="Certificate (PEM) that must have sealed it.", show_default=False),
    ] = None,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Make a new state folder from a backup. Nothing is sent from it until you resume."""
    from printerd.backup import manifest, restoring, vault

    folder, state = folder.absolute(), state.absolute()
    chosen = manifest.choose(folder, name)
    opener = vault.unlock(folder, passphrase_file, identity)
    report = restoring.restore(
        folder, chosen, state, opener, who, _now(), language_of=_language, anchors=tuple(trust or ())
    )
    key = (
        "Its sealing key was not saved: checking works, sealing waits until you put seal.key and tsa.key back into "
        f"{state / 'keys'} (mode 0600)."
    )
    lines = [
        f"Restored {report.backup} into {state}: {report.documents} documents.",
        f"Sealed by {report.signer}, certificate {report.certificate}.",
        f"What happened after {report.made_at} is lost.",
        *(() if report.private_key else (key,)),
        *(f"NOT IN IT: {fault}" for fault in report.faults),
        f"Nothing is sent until you decide about what may have been sent already ({report.held} held so far):",
        f"  invoice-printer serve --state {state}",
        f"  invoice-printer resume --state {state}",
    ]
    _show(report, lines, as_json)
    raise typer.Exit(1 if report.faults else 0)


def _language(state: Path) -> str:
    """What the settings say, if they are in order on this machine too: they can be mended after the restore."""
    from printerd import config

    with suppress(Failure):
        return config.load(state).language
    return "en"


@app.command()
def resume(
    listed: Annotated[bool, typer.Option("--list", help="List what is in doubt (as without any option).")] = False,
    release: Annotated[
        list[str] | None,
        typer.Option("--release", metavar="KEY", help="Send it: a number, an id, or all.", show_default=False),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="KEY", help="Never send it, it left before: the same.", show_default=False),
    ] = None,
    copies: Annotated[
        bool, typer.Option("--from-copies", help="Say that this folder was put together from copies: hold all.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")] = "",
    state: StateDir = None,
    assign: Assign = None,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """After a restore: list what may have been sent already, and decide. "all" ends the waiting too."""
    from printerd.evidence import resume as resuming

    instance = _open(state, assign)
    if copies:
        from printerd.backup import restoring

        held = restoring.adopt(instance.layout.root, who, _now(), instance.settings.language)
        _say(f"{held} held. Nothing is sent until: invoice-printer resume --release all --reason …")
        return
    forgotten = _forgotten(instance)
    if not release and not keep:
        _in_doubt(instance, forgotten, as_json)
        return
    now, language = _now(), instance.settings.language
    with instance.database.write() as connection:
        resuming.remember_sent(connection, [number for number, _ in forgotten.values() if number])
        kept = resuming.keep(connection, keep, who, reason, now, language) if keep else ()
        sent = resuming.send(connection, release, who, reason, now, language) if release else ()
    instance.ring()
    _say(f"{len(sent)} released, {len(kept)} kept back for good.")


def _in_doubt(instance: Instance, forgotten: Mapping[str, tuple[str, tuple[str, ...]]], as_json: bool) -> None:
    from printerd.evidence import resume as resuming
    from printerd.storage import instance as facts

    with instance.database.write() as connection:
        resuming.remember_sent(connection, [number for number, _ in forgotten.values() if number])
        begun, found = facts.restored(connection), resuming.doubts(connection)
    lost = [{"number": number, "to": ", ".join(to), "delivery": key} for key, (number, to) in forgotten.items()]
    if as_json:
        _say(_json({"restored": begun, "in_doubt": found, "forgotten": lost}))
        return
    if begun:
        _say(
            f"Restored from the backup {begun.backup}.",
            f"What happened between {begun.made_at} and {begun.restored_at} is unknown here.",
            "Nothing is sent until: invoice-printer resume --release all --reason … (or --keep all)",
            *(f"In the out-tray then, look whether it was posted: {name}" for name in begun.out_tray),
        )
    _list(found, ("kind", "number", "customer", "to", "since", "sent_before"), False, "Nothing is in doubt.")
    if lost:
        _say("", "Given to the delivery server in the lost time, and forgotten here. Printed again, they are held:")
        _list(lost, ("number", "to", "delivery"), False, "")


def _forgotten(instance: Instance) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Deliveries that the delivery server told of and that are not known here: number (if it answers), addresses."""
    from printerd.evidence import resume as resuming

    with instance.database.read() as connection:
        found = resuming.strangers(connection)
    if not found:
        return {}
    from printerd.delivery.edge import EdgeClient
    from printerd.model import DeliveryId

    told = _running(instance.layout).get("api") or instance.settings.receipts.api
    address = told if told.startswith("unix://") else f"http://{told}"
    with EdgeClient(address, instance.layout.secret.read_text().strip(), timeout=5) as edge:
        return {key: (_number(partial(edge.number_of, DeliveryId(key))), to) for key, to in found.items()}


def _running(layout: Layout) -> dict[str, str]:
    try:
        return addresses(layout)
    except RequestError:
        return {}


def _number(ask: Callable[[], str]) -> str:
    """Empty when the delivery server does not answer or does not know it either."""
    try:
        return ask()
    except Failure:
        return ""


@app.command()
def doctor(state: StateDir = None, assign: Assign = None, as_json: Json = False) -> None:
    """Look at everything: processes, disk, keys, mail relay, timestamps, settings, what waits.

    Exit status: 0 nothing is to be mended, 1 something is.
    """
    from printerd import roles
    from printerd.health import checks, findings, machine

    instance = _open(state, assign)
    site = roles.site(instance.layout, _as_it_runs(instance))
    runs = machine.service(site).fine
    found = findings.ask_all([check for check in checks.CHECKS if runs or not check.running], site)
    _show([finding.as_json() for finding in found], findings.table(found), as_json)
    raise typer.Exit(0 if all(finding.ok for finding in found) else 1)


def _as_it_runs(instance: Instance) -> Settings:
    """The settings with the addresses that a running service really has."""
    from printerd import config

    try:
        told = addresses(instance.layout)
    except RequestError:
        return instance.settings
    keys = {"ipp": "listen.ipp", "api": "receipts.api"}
    return config.moved(instance.settings, {keys[name]: place for name, place in told.items() if name in keys})


# Jobs ---------------------------------------------------------------------------------------------------------------


@jobs_app.callback(invoke_without_command=True)
def jobs_list(
    context: typer.Context,
    state: StateDir = None,
    assign: Assign = None,
    only: Annotated[str, typer.Option("--only", help="A state: received, done, aborted, held …")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """The latest jobs, newest first."""
    if context.invoked_subcommand:
        return
    from printerd.storage import archive

    with _open(state, assign).database.read() as connection:
        found = archive.list_jobs(connection, state=only or None, limit=limit)
    columns = ("number", "created_at", "user", "title", "state", "message")
    _list(found, columns, as_json, "No job yet. Print something: invoice-printer print FILE")


@jobs_app.command("show")
def jobs_show(key: str, state: StateDir = None, assign: Assign = None, as_json: Json = False) -> None:
    """One job by its number or id."""
    from printerd.storage import archive

    with _open(state, assign).database.read() as connection:
        job = archive.job(connection, key)
        found = archive.invoices_of(connection, job.id)
    if as_json:
        _say(_json({"job": job, "invoices": found}))
        return
    _say(_facts(job))
    _list(found, INVOICE_COLUMNS, False, "It holds no invoice.")


@jobs_app.command("retry")
def jobs_retry(key: str, reason: Reason, state: StateDir = None, assign: Assign = None, who: Who = "") -> None:
    """Read a job again, for example after a new template or customer."""
    from printerd.evidence import acts
    from printerd.storage import archive

    instance = _open(state, assign)
    with instance.database.write() as connection:
        job = archive.job(connection, key)
        acts.retry_job(connection, job.id, who, reason, _now())
    instance.ring()
    _say(f"Job {job.number} is read again.")


# Invoices -----------------------------------------------------------------------------------------------------------

INVOICE_COLUMNS = ("id", "number", "issued_on", "customer_code", "customer_name", "total", "state", "delivery")


@invoices_app.callback(invoke_without_command=True)
def invoices_list(
    context: typer.Context,
    state: StateDir = None,
    assign: Assign = None,
    only: Annotated[str, typer.Option("--only", help="A state: waiting, ready, archived, reprint, rejected")] = "",
    search: Annotated[str, typer.Option("--search", help="Number, customer or words of the text.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """The latest invoices, newest first."""
    if context.invoked_subcommand:
        return
    from printerd.storage import archive

    with _open(state, assign).database.read() as connection:
        found = archive.list_invoices(connection, state=only or None, search=search, limit=limit)
    _list(found, INVOICE_COLUMNS, as_json, "No such invoice. All of them: invoice-printer invoices")


@invoices_app.command("show")
def invoices_show(key: str, state: StateDir = None, assign: Assign = None, as_json: Json = False) -> None:
    """One invoice by its number or id: facts, reasons, hashes, time line."""
    from printerd import reasons
    from printerd.storage import archive

    instance = _open(state, assign)
    with instance.database.read() as connection:
        detail = archive.invoice(connection, key)
        told = archive.time_line(connection, detail.line.id)
    if as_json:
        _say(_json({"invoice": detail, "time_line": told}))
        return
    language = instance.settings.language
    _say(_facts(detail.line))
    for reason in detail.line.reasons:
        _say("", reasons.sentence(reason, language), reasons.remedy(reason, language, detail.line.id[:8]))
    for entry in told:
        facts = ", ".join(f"{name} {_cell(value)}" for name, value in entry.facts.items() if value)
        _say(f"{_cell(entry.time)}  {entry.kind}  {_cell(entry.contact)}  {facts}".rstrip())


@invoices_app.command("correct")
def invoices_correct(
    key: str,
    changes: Annotated[list[str], typer.Option("--set", metavar="FIELD=VALUE", help="A field as it should be read.")],
    state: StateDir = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")] = "read wrongly",
    who: Who = "",
) -> None:
    """Correct what was read; the page itself never changes."""
    from printerd.evidence import acts

    values = dict(_pair(change) for change in changes)
    _act(key, state, (), lambda connection, invoice: acts.correct(connection, invoice, values, who, reason, _now()))
    _say("Corrected; it is checked again.")


@invoices_app.command("release")
def invoices_release(key: str, reason: Reason, state: StateDir = None, assign: Assign = None, who: Who = "") -> None:
    """Let an invoice go on: check it again, accepting what a person may accept."""
    from printerd.evidence import acts

    _act(key, state, assign, lambda connection, invoice: acts.release(connection, invoice, who, reason, _now()))
    _say("Released; it is checked again.")


@invoices_app.command("reject")
def invoices_reject(key: str, reason: Reason, state: StateDir = None, assign: Assign = None, who: Who = "") -> None:
    """End an invoice unsealed and unsent."""
    from printerd.evidence import acts

    _act(key, state, assign, lambda connection, invoice: acts.reject(connection, invoice, who, reason, _now()))
    _say("Rejected.")


@invoices_app.command("resend")
def invoices_resend(
    key: str,
    reason: Reason,
    contact: Annotated[str, typer.Option("--contact", help="Id of one contact; all when left out.")] = "",
    state: StateDir = None,
    assign: Assign = None,
    who: Who = "",
) -> None:
    """Mail an archived invoice once more, with a link of its own (also when the first mail is UNCERTAIN)."""
    from printerd.evidence import acts

    def resend(connection: Any, invoice: str) -> None:
        acts.resend(connection, invoice, who, reason, _now(), contact=contact)

    _act(key, state, assign, resend)
    _say("It is mailed again.")


def _act(key: str, state: Path | None, assign: Sequence[str] | None, act: Callable[[Any, str], object]) -> None:
    """Do one act of a person in one transaction, then wake the worker. The print queue says what became of it."""
    from printerd.storage import archive, messages

    instance = _open(state, assign)
    with instance.database.write() as connection:
        line = archive.invoice(connection, key).line
        act(connection, line.id)
        messages.refresh(connection, [line.job], instance.settings.language)
    instance.ring()


def _pair(change: str) -> tuple[str, str]:
    name, equals, value = change.partition("=")
    if not equals:
        raise RequestError(f"--set takes FIELD=VALUE, not {change!r}.", remedy="For example: --set customer_code=C0042")
    return name.strip(), value.strip()


# Customers ----------------------------------------------------------------------------------------------------------


@customers_app.callback(invoke_without_command=True)
def customers_list(
    context: typer.Context, state: StateDir = None, assign: Assign = None, as_json: Json = False
) -> None:
    """All customers, by code."""
    if context.invoked_subcommand:
        return
    from printerd.storage import customers

    with _open(state, assign).database.read() as connection:
        found = customers.every(connection)
    rows = [
        {
            "code": one.code,
            "name": one.name,
            "route": one.route,
            "consent": one.consent.state,
            "contacts": ", ".join(contact.email for contact in one.contacts),
        }
        for one in found
    ]
    if as_json:
        _say(_json(found))
    else:
        _list(
            rows, ("code", "name", "route", "consent", "contacts"), False, "No customer yet: customers import FILE.csv"
        )


@customers_app.command("import")
def customers_import(
    file: Annotated[Path, typer.Argument(help="CSV file.", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, change nothing.")] = False,
    state: StateDir = None,
    assign: Assign = None,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Add and change customers from a CSV file; who is not in the file stays as he is."""
    from printerd.delivery import customers as importing
    from printerd.evidence import ledger
    from printerd.storage import customers

    read = importing.read(file)
    instance = _open(state, assign)
    with instance.database.write() as connection:
        rows = importing.difference(customers.every(connection), read)
        changed = [row for row in rows if row.change is not importing.Change.SAME]
        if changed and not dry_run:
            importing.apply(connection, changed, _now())
            ledger.append(connection, "act.customers", instance_id(connection), _imported(changed, who), _now())
    shown = [{"change": row.change, "code": row.customer.code, "name": row.customer.name} for row in changed]
    _list(shown, ("change", "code", "name"), as_json, "Nothing changes.")
    if not as_json and changed:
        _say(f"Customers that {'would change' if dry_run else 'changed'}: {len(changed)}")


def instance_id(connection: Any) -> str:
    from printerd.storage import instance

    return instance.identity(connection)


def _imported(changed: Iterable[Any], who: str) -> dict[str, Any]:
    return {"who": who, "changed": [{"change": row.change, "code": row.customer.code} for row in changed]}


# Queues of CUPS -----------------------------------------------------------------------------------------------------


@queue_app.command("ensure")
def queue_ensure(
    name: Annotated[str, typer.Option("--name", help="Name of the queue.")] = "invoices",
    state: StateDir = None,
    assign: Assign = None,
) -> None:
    """Make the queue that prints to this instance, or renew it: address, driver, description, not shared."""
    from printerd import queues

    _, settings = _configured(state, assign)
    device = queues.address(settings.listen.backend.removeprefix("unix://"), "invoices")
    with queues.connected() as server:
        done = queues.ensure(server, name, device)
    _say(f"{name}: {', '.join(done) or 'as it should be'} ({device})")


@queue_app.command("list")
def queue_list(as_json: Json = False) -> None:
    """Every queue that prints to an instance of this machine."""
    from printerd import queues

    with queues.connected() as server:
        found = queues.ours(server)
    columns = ("name", "device", "state", "accepting", "shared")
    _list(found, columns, as_json, "No queue yet. Make one: invoice-printer queue ensure")


@queue_app.command("remove")
def queue_remove() -> None:
    """Remove every queue that prints to an instance of this machine, with what waits in it."""
    from printerd import queues

    with queues.connected() as server:
        names = queues.remove(server)
    _say(*(f"{name}: removed" for name in names) if names else ("There is no queue of ours.",))


# Console and settings -----------------------------------------------------------------------------------------------


@console_app.command("open")
def console_open(state: StateDir = None, assign: Assign = None, who: Who = "") -> None:
    """Print a login link to the console: it works once, for ten minutes."""
    from printerd.console import login

    instance = _open(state, assign)
    path = login.open_link(instance.database, who, _now())
    _say(f"http://{addresses(instance.layout)['ipp']}{path}")


@config_app.command("init")
def config_init(
    state: StateDir = None,
    system: Annotated[
        bool, typer.Option("--system", help="Write the file of the service, below /etc, instead.")
    ] = False,
) -> None:
    """Write a commented config.toml into the state folder."""
    from printerd import config
    from printerd.supervisor import write_private

    layout = _layout(state)
    target = config.SYSTEM_CONFIG if system else layout.root / "config.toml"
    if not system:
        layout.make()
    if target.exists():
        raise RequestError(f"{target} exists already.", remedy="Edit it, or move it away first.")
    write_private(target, config.template().encode())
    if system:
        target.chmod(0o644)  # no setting is a secret; the service's user and whoever looks for a mistake read it
    _say(f"Written: {target}")


@config_app.command("check")
def config_check(state: StateDir = None, assign: Assign = None) -> None:
    """Say whether the settings are in order (exit status 78 when not)."""
    from printerd import config

    layout, settings = _configured(state, assign)
    _say(f"In order: {config.config_file(layout.root) or 'defaults'}")
    if not settings.issuers:
        _say("No issuer is set: every invoice will wait. Add one under [issuers.NAME].")


@config_app.command("show")
def config_show(state: StateDir = None, assign: Assign = None, as_json: Json = False) -> None:
    """The settings in force. Secrets are never among them."""
    layout, settings = _configured(state, assign)
    tree = settings.model_dump(mode="json")
    if as_json:
        _say(_json(tree))
        return
    _say(f"state = {layout.root}")
    for key, value in _flat(tree):
        _say(f"{key} = {json.dumps(value, ensure_ascii=False)}")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# Printing -----------------------------------------------------------------------------------------------------------


def _say(*lines: str, file: TextIO | None = None) -> None:
    """The only way out: whatever others wrote commands no terminal."""
    print(*map(plain, lines), sep="\n", file=file)


def _now() -> datetime:
    return datetime.now(UTC)


def _show(value: Any, lines: Iterable[str], as_json: bool) -> None:
    """JSON, or lines: no name in one begins another."""
    _say(*([_json(value)] if as_json else (line.replace("\n", " ") for line in lines)))


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, indent=2)


def _plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses are objects, times RFC 3339, amounts text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, datetime | date | Decimal | Path) else value


def _facts(value: Any) -> str:
    """A dataclass, a line a field; empty ones are left out."""
    rows = [(field.name, _cell(getattr(value, field.name))) for field in fields(value)]
    return "\n".join(f"{name:15} {text}" for name, text in rows if text)


def _list(rows: Sequence[Any], columns: Sequence[str], as_json: bool, nothing: str) -> None:
    """A table as wide as its cells; JSON has every field."""
    if as_json:
        _say(_json(rows))
        return
    if not rows:
        _say(nothing)
        return
    get: Callable[[Any, str], Any] = (lambda row, name: row[name]) if isinstance(rows[0], Mapping) else getattr
    table = [columns, *([_short(name, get(row, name)) for name in columns] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(columns))]
    with suppress(BrokenPipeError):
        for line in table:
            _say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _short(name: str, value: Any) -> str:
    return _cell(value)[:8] if name == "id" else _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if value is None or isinstance(value, tuple | dict | list) or is_dataclass(value):
        return ""
    return plain(" ".join(str(value).split()))
