"""The table of all checks: what each is called, where it looks, what it says and what to do.

One rule: /healthz asks the rows that are ``always`` asked, ``doctor`` all of them. docs/operations.md shows this table
(a test compares them).
"""

from __future__ import annotations

from printerd.health import machine, service
from printerd.health.findings import Check, Level

JOURNAL = "It is started again by itself. If that goes on, the log says why: journalctl -u invoice-printer"

CHECKS = (
    # The processes
    Check(
        "service",
        machine.service,
        "The service runs in {folder}.",
        "No service runs in {folder}.",
        "Start it: systemctl start invoice-printer, or: invoice-printer serve",
    ),
    Check(
        "printer",
        service.printer,
        "The printer answers at {address}.",
        "The printer does not answer at {address} ({why}).",
        JOURNAL,
        always=True,
        running=True,
    ),
    Check(
        "worker",
        service.worker,
        "The worker answers.",
        "The worker has had a batch in its stage “{stage}” for {age}.",
        JOURNAL,
        always=True,
        running=True,
    ),
    Check(
        "children",
        service.children,
        "No process is started again and again.",
        "The process {role} ended {count} times within five minutes, the last time with status {status}.",
        "The log says why: journalctl -u invoice-printer. A wrong setting is named by: invoice-printer config check",
        always=True,
        running=True,
    ),
    Check(
        "folder",
        service.hot_folder,
        "The hot folder: {state}.",
        "The hot folder does not work. {why}",
        "Mend what it names; it is looked at again by itself. See docs/hot-folder.md",
        always=True,
        running=True,
    ),
    # What they stand on
    Check(
        "database",
        service.database,
        "The database takes a transaction.",
        "The database takes no transaction.",
        "See which other program holds it: fuser -v DIR/printerd.db. Work goes on by itself once it is free.",
        always=True,
    ),
    Check(
        "disk",
        service.disk,
        "{free} free in {folder}.",
        "Only {free} free in {folder}, less than limits.free_space ({limit}): new jobs are not taken.",
        "Make room on that file system; print clients send again by themselves.",
        always=True,
    ),
    Check(
        "clock",
        service.clock,
        "The clock goes on from the ledger's last entry.",
        "The clock runs backwards: it shows {now}, the ledger's last entry is of {last}.",
        "Set the clock of this machine (timedatectl); until then new entries bear the time of the last one.",
        always=True,
    ),
    Check(
        "certificate",
        service.certificate,
        "{file} is good: {days} days left.",
        "{file} has {days} days left.",
        "Renew it, then restart the service. With a key of its own: move seal.key and seal.crt (or tsa.*) away.",
        always=True,
    ),
    # The others
    Check(
        "timestamp",
        service.authority,
        "Timestamp authority: {where}.",
        "Documents wait for the timestamp authority {where} ({count}): {why}.",
        "Nothing is lost, it is asked again by itself. See that it is reachable, or set timestamp.url to another one.",
        always=True,
    ),
    Check(
        "edge",
        service.edge,
        "The delivery server {edge} answers (version {version}).",
        "The delivery server does not answer.",
        JOURNAL,
        always=True,
        running=True,
    ),
    Check(
        "mail",
        service.mail,
        "Mail: {state}.",
        "The mail relay takes no mail ({count} waiting): {reply}",
        "It is tried again by itself. Compare its words with the settings smtp.*; then: invoice-printer doctor",
        always=True,
        running=True,
    ),
    Check(
        "collecting",
        service.collecting,
        "Events of the delivery server are collected.",
        "Nothing is collected from the delivery server {edge} any more: {why}",
        "One side was restored or changed. Change nothing; compare both databases with their backups.",
        always=True,
    ),
    # The work
    Check(
        "restored",
        service.restored,
        "The instance has its whole history.",
        "This instance was restored from a backup of {made_at}: nothing is sent until somebody has looked.",
        "See what may have been sent meanwhile, then let it go: invoice-printer resume",
        always=True,
    ),
    Check(
        "backlog",
        service.backlog,
        "Due work: {count}.",
        "Work has waited for {age} in the stage “{stage}”; due in all: {count}.",
        "If the worker answers, it has too much to do: see pools.readers, pools.sealers and the machine's load.",
        always=True,
    ),
    Check(
        "retries",
        service.retries,
        "Nothing fails again and again.",
        "In the stage “{stage}” {count} fail again and again: {why}.",
        "Mend what it names; it is tried again by itself. Each one: invoice-printer jobs, invoice-printer invoices",
        always=True,
    ),
    Check(
        "templates",
        service.templates,
        "Layouts of your own: {count}.",
        "A layout cannot be read ({where}): {why}.",
        "Mend or remove that file. Until then the layouts count that could be read last; a worker does not start.",
        always=True,
    ),
    # The settings
    Check(
        "issuers",
        machine.issuers,
        "Issuers: {names}.",
        "No issuer is set: every invoice waits.",
        "Add one under [issuers.NAME] in config.toml.",
    ),
    Check(
        "public_url",
        machine.public_url,
        "No customer is sent to a page without encryption.",
        "Links in mails begin with {url}: what customers open is not encrypted.",
        "Put a reverse proxy with a certificate in front of receipts.public, and set receipts.public_url to https://…",
    ),
    Check(
        "links",
        machine.public_pages,
        "Links lead to {url}.",
        "Links in mails lead to this machine only (receipts.public_url: {url}).",
        "Set receipts.public_url to the address under which customers reach the pages.",
        Level.WARNING,
    ),
    Check(
        "rehearsal",
        machine.rehearsal,
        "The instance is in {mode} mode.",
        "The instance rehearses and rehearsal.to is not set: its mail goes nowhere.",
        "Set rehearsal.to to an address of yours, or end the rehearsal: invoice-printer go-live",
    ),
    Check(
        "names",
        machine.names,
        "Clients reach the printer under names that it knows.",
        "The printer listens at {host} and listen.names is empty: clients that use a name are turned away.",
        "Set listen.names to the host names that print clients use.",
        Level.WARNING,
    ),
    Check(
        "own_time",
        machine.own_time,
        "Timestamps: {url}.",
        "Timestamps are of the built-in authority: they prove an order, no time.",
        "Set timestamp.url to an authority that others trust.",
        Level.WARNING,
    ),
    # The files
    Check(
        "state",
        machine.state_folder,
        "Others cannot open {folder}.",
        "Others may open {folder} (mode {mode}).",
        "chmod 0700 {folder}",
    ),
    Check(
        "keys",
        machine.private_files,
        "Keys and secrets are their owner's alone.",
        "Others may read {files}.",
        "chmod 0600 {paths}. Who could read them so far may have copies: think of new ones.",
    ),
    Check(
        "secrets",
        machine.absent_files,
        "The files that hold secrets are there.",
        "There is no file {files}, which a setting names.",
        "Write the secret into its first line, mode 0600, or mend the setting: invoice-printer config show",
    ),
    # The machine
    Check(
        "programs",
        machine.programs,
        "Ghostscript {version}.",
        "Ghostscript does not start.",
        "apt install ghostscript",
    ),
    Check(
        "fonts",
        machine.fonts,
        "The fonts of receipts and text are there.",
        "DejaVu is not installed: receipts lack letters beyond Latin, and text cannot be printed.",
        "apt install fonts-dejavu-core",
    ),
    Check(
        "walls",
        machine.walls,
        "Readers are confined by {there}.",
        "This kernel does not confine readers by {missing}; the other walls hold.",
        "Linux 6.1 or later has all of them. A unit may forbid namespaces and give a network of its own instead.",
        Level.WARNING,
    ),
    # The others, asked once
    Check(
        "smtp",
        machine.smtp,
        "The mail relay {relay} answers (tls: {tls}).",
        "The mail relay {relay} cannot be used: {why}.",
        "Check smtp.host, smtp.port and smtp.tls, and whether this machine may connect to it.",
    ),
    Check(
        "stamp",
        machine.stamp,
        "A timestamp of {authority} was checked.",
        "The timestamp authority gave no valid timestamp.",
        "Check timestamp.url and the way to it.",
    ),
    # What waits for people
    Check(
        "waiting",
        machine.waiting,
        "No invoice waits for accounting.",
        "{count} invoices wait for accounting.",
        "invoice-printer invoices --only waiting",
        Level.WARNING,
    ),
    Check(
        "uncertain",
        machine.uncertain,
        "No mail is in doubt.",
        "{count} mails may have arrived or not: {numbers}.",
        "Ask the customer; a used link settles it by itself. If it did not arrive: {commands}",
        Level.WARNING,
    ),
)

ALWAYS = tuple(check for check in CHECKS if check.always)
"""What /healthz asks."""
