"""What ``doctor`` looks at beside the running service: settings, files, machine, mail relay, and what waits."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from printerd.evidence import receipt_page
from printerd.health import machine
from printerd.health.findings import Level
from printerd.health.site import Relay, Site
from printerd.model import Mode
from printerd.pipeline import confine
from printerd.storage import instance, schema
from printerd.storage.blobs import Blobs
from tests import archive_rows
from tests.authority import granted, make, reply, serving

from .site import finding, set_to
from .test_service import closed_port, silent


def test_whether_a_service_runs(site: Site) -> None:
    """Whoever holds the lock serves; a lock's file that nobody holds is left by one that ended."""
    assert not finding(site, "service").ok
    with (site.root / "lock").open("w") as lock:
        assert not finding(site, "service").ok
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert finding(site, "service").ok
    assert not finding(site, "service").ok


# Settings


def test_no_issuer(site: Site) -> None:
    """Without an issuer every invoice waits, and doctor says so."""
    assert finding(site, "issuers").what == "Issuers: moulin."
    assert not finding(set_to(site, issuers=()), "issuers").ok


@pytest.mark.parametrize(
    ("url", "encrypted", "reached"),
    [
        ("https://factures.moulin.example", True, True),
        ("http://factures.moulin.example", False, True),
        ("http://127.0.0.1:8632", True, False),
        ("http://[::1]:8632", True, False),
        ("http://localhost:8632", True, False),
        ("", True, False),
    ],
)
def test_where_links_lead(site: Site, url: str, encrypted: bool, reached: bool) -> None:
    """Plain http to anybody else is a fault; an address that only this machine can open is worth knowing."""
    told = set_to(site, receipts__public_url=url)
    assert finding(told, "public_url").ok is encrypted
    assert (finding(told, "links").level is Level.FINE) is reached


def test_a_rehearsal_whose_mail_goes_nowhere(site: Site) -> None:
    """In rehearsal an address is needed; a live instance needs none."""
    assert finding(site, "rehearsal").ok
    with site.database.write() as connection:
        instance.set_mode(connection, Mode.REHEARSAL)
    assert "goes nowhere" in finding(site, "rehearsal").what
    assert finding(set_to(site, rehearsal__to="claire@moulin.example"), "rehearsal").ok


def test_names_of_a_printer_that_others_reach(site: Site) -> None:
    """Beyond loopback a printer without names turns away whoever uses one."""
    opened = set_to(site, listen__ipp="0.0.0.0:8631")
    assert finding(opened, "names").level is Level.WARNING
    assert finding(set_to(opened, listen__names=("print.moulin.example",)), "names").level is Level.FINE


def test_a_live_instance_with_its_own_time(site: Site) -> None:
    """The built-in authority is named for what it is once invoices count."""
    assert finding(site, "own_time").level is Level.WARNING
    assert finding(site, "own_time", timestamp_url="https://tsa.example").level is Level.FINE


# Files


def test_a_state_folder_that_others_may_open(site: Site) -> None:
    """A folder that others may enter is told with its mode and the command that closes it."""
    site.root.chmod(0o750)
    found = finding(site, "state")
    assert "(mode 0750)" in found.what
    assert found.remedy == f"chmod 0700 {site.root}"
    site.root.chmod(0o700)
    assert finding(site, "state").ok


def test_keys_and_secrets_that_others_may_read(site: Site, tmp_path: Path) -> None:
    """Keys, the contract's secret and every file that a setting names are looked at; certificates are public."""
    for name in ("seal.key", "contract.secret", "seal.crt"):
        (site.keys / name).touch(0o600)
    (site.keys / "seal.crt").chmod(0o644)
    password = tmp_path / "smtp.secret"
    password.touch(0o600)
    told = replace(site, secrets=(password,))
    assert finding(told, "keys").ok
    for file in (site.keys / "seal.key", site.keys / "contract.secret", password):
        file.chmod(0o640)
        found = finding(told, "keys")
        assert not found.ok
        assert str(file) in found.what and f"chmod 0600 {file}" in found.remedy
        file.chmod(0o600)


def test_a_secret_that_is_not_there(site: Site, tmp_path: Path) -> None:
    """A setting that names no file is told with the path."""
    assert str(tmp_path / "gone") in finding(site, "secrets", secrets=(tmp_path / "gone",)).what
    assert finding(site, "secrets").ok


# Machine


def test_programs_that_are_missing(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ghostscript is named with its version, or with the package that brings it."""
    assert finding(site, "programs").what.startswith("Ghostscript 10")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = finding(site, "programs")
    assert (found.ok, found.remedy) == (False, "apt install ghostscript")
    program = tmp_path / "gs"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    assert "does not start" in finding(site, "programs").what


def test_fonts_that_are_missing(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without DejaVu receipts lack letters, and doctor names the package."""
    assert finding(site, "fonts").ok
    monkeypatch.setattr(receipt_page, "FACES", ({"plain": tmp_path / "none.ttf"},))
    assert finding(site, "fonts").remedy == "apt install fonts-dejavu-core"


def test_the_walls_are_looked_at_without_climbing_into_them(site: Site) -> None:
    """Probing what the kernel offers leaves this process its network, and names what is missing."""
    network = Path("/proc/self/ns/net")
    before = network.readlink()
    offered = confine.offered()
    assert network.readlink() == before
    found = finding(site, "walls")
    assert found.ok
    assert all(wall in found.what for wall, there in offered.items() if not there or all(offered.values()))


def test_a_wall_that_the_kernel_lacks_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without Landlock answers its probe with -1."""
    monkeypatch.setattr(confine, "landlock_version", lambda: -1)
    found = finding(site, "walls")
    assert found.level is Level.WARNING
    assert "by Landlock" in found.what


# The relay


class Taker:
    """A relay that would take everything."""


@contextmanager
def relay(**options: object) -> Iterator[int]:
    port = closed_port()
    controller = Controller(Taker(), hostname="127.0.0.1", port=port, **options)  # type: ignore[arg-type]
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def test_a_relay_that_answers(site: Site) -> None:
    """EHLO is enough where the settings ask for no more."""
    with relay() as port:
        assert finding(site, "smtp", relay=Relay("127.0.0.1", port, "none", "")).ok


def test_a_relay_that_cannot_be_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed, silent, without STARTTLS, without TLS, without a login: each is told with its own reason."""
    monkeypatch.setattr(machine, "SMTP_PATIENCE", 0.5)
    away = finding(site, "smtp", relay=Relay("127.0.0.1", closed_port(), "none", ""))
    with silent() as hung:
        quiet = finding(site, "smtp", relay=Relay("127.0.0.1", int(hung.rpartition(":")[2]), "none", ""))
    with relay() as port:
        plain = finding(site, "smtp", relay=Relay("127.0.0.1", port, "starttls", ""))
        encrypted = finding(site, "smtp", relay=Relay("127.0.0.1", port, "tls", ""))
        login = finding(site, "smtp", relay=Relay("127.0.0.1", port, "none", "compta"))
    words = ("refused", "timed out", "STARTTLS", "SSL", "smtp.user")
    for found, word in zip((away, quiet, plain, encrypted, login), words, strict=True):
        assert not found.ok
        assert word in found.what


def test_a_timestamp_is_really_asked_for(site: Site, tmp_path: Path) -> None:
    """doctor has one timestamp made and checks it: an authority that answers nonsense is not well."""
    folder = tmp_path / "authority"
    folder.mkdir()
    make(folder)
    with serving(lambda request: granted(reply(folder, request))) as url:
        assert finding(site, "stamp", timestamp_url=url).ok
    with serving(lambda request: granted(b"nonsense")) as url:
        assert "not valid" in finding(site, "stamp", timestamp_url=url).what
    assert finding(site, "stamp").ok


# What waits for people


def test_invoices_that_wait(site: Site) -> None:
    """Invoices that wait for accounting are counted, with the command that lists them."""
    assert finding(site, "waiting").level is Level.FINE
    with site.database.write() as connection:
        job = archive_rows.job(connection)
        archive_rows.invoice(connection, Blobs(site.root), job, state="waiting")
    found = finding(site, "waiting")
    assert (found.level, found.what[:1]) == (Level.WARNING, "1")
    assert found.remedy == "invoice-printer invoices --only waiting"


def test_mail_in_doubt(site: Site) -> None:
    """A mail in doubt is told with its number and the command that mails again; a used link settles it."""
    with site.database.write() as connection:
        connection.execute(schema.edges.insert().values(edge=archive_rows.EDGE, seq=2, head="0" * 64, alert=""))
        invoice = archive_rows.invoice(connection, Blobs(site.root), archive_rows.job(connection))
        delivery = archive_rows.delivery(connection, invoice)
        archive_rows.event(connection, delivery, "MailUncertain", 1, reason="no answer")
    found = finding(site, "uncertain")
    assert found.level is Level.WARNING
    assert "FA-2026-0042" in found.what
    assert f"invoice-printer invoices resend {invoice[:8]} --reason WHY" in found.remedy
    with site.database.write() as connection:
        archive_rows.event(connection, delivery, "ConsignmentAcceptance", 2, act="a")
    assert finding(site, "uncertain").level is Level.FINE


def test_the_socket_of_a_test_is_closed() -> None:
    """The port that a test calls closed refuses connections."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", closed_port()), timeout=1)
