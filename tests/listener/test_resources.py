"""What clients fetch by GET, and what the printer says of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.message import GroupTag, Message
from printerd.ipp.registry import Operation, Status
from printerd.listener import jobs as shown
from printerd.listener.resources import ICONS
from printerd.storage.database import SEARCH_TABLE
from tests import archive_rows
from tools import icons

from .printing import RunningPrinter


def get(printer: RunningPrinter, address: str, host: str = "localhost", method: str = "GET") -> tuple[int, str, bytes]:
    connection = printer.connect()
    connection.request(method, urlsplit(address).path, headers={"Host": host})
    response = connection.getresponse()
    found = response.status, response.getheader("content-type") or "", response.read()
    connection.close()
    return found


def test_icons_are_fetched_from_the_printer(printer: RunningPrinter) -> None:
    """printer-icons are PNGs of 48, 128 and 512 pixels, at the name by which the client knows us."""
    claims = printer.ask(printer.request(Operation.GET_PRINTER_ATTRIBUTES)).first(GroupTag.PRINTER)
    addresses = claims.texts("printer-icons")
    assert [urlsplit(one).netloc for one in addresses] == [f"localhost:{printer.port}"] * 3
    for address, size in zip(addresses, ICONS, strict=True):
        status, media_type, body = get(printer, address)
        assert (status, media_type) == (200, "image/png")
        assert body[16:24] == size.to_bytes(4, "big") * 2
        assert body == icons.png(size) or size > 128  # the large one takes seconds to draw


@pytest.mark.parametrize(("language", "said"), [("fr-FR", "Numéro de facture"), ("de", "Invoice number")])
def test_words_come_in_the_language_of_the_client(printer: RunningPrinter, language: str, said: str) -> None:
    """printer-strings-uri names the catalogue of the client's language, or of the printer's."""
    request = printer.request(Operation.GET_PRINTER_ATTRIBUTES)
    spoken = tuple(
        attribute(one.name, language) if one.name == "attributes-natural-language" else one for one in request.operation
    )
    asked = Message(request.version, request.code, 1, (type(request.groups[0])(GroupTag.OPERATION, spoken),))
    address = printer.ask(asked).first(GroupTag.PRINTER).text("printer-strings-uri")
    status, media_type, body = get(printer, address)
    assert (status, media_type) == (200, "text/strings; charset=utf-8")
    lines = body.decode().splitlines()
    assert all(re.fullmatch(r'"[a-z.-]+" = "[^"]+";', line) for line in lines)
    assert f'"invoice-number" = "{said}";' in lines


@pytest.mark.parametrize("name", ["icon-49.png", "icon-48.gif", "../jobs.py", "de.strings", "", "icon-48.png/.."])
def test_nothing_else_is_served(printer: RunningPrinter, name: str) -> None:
    assert get(printer, f"/ipp/print/{name}")[0] in (404, 405)


def test_resources_are_for_those_who_call_us_by_name(printer: RunningPrinter) -> None:
    """A rebound name reads nothing, HEAD has no body."""
    assert get(printer, "/ipp/print/icon-48.png", host="rebound.example")[0] == 421
    assert get(printer, "/ipp/print/icon-48.png", method="HEAD") == (200, "image/png", b"")


def test_pages_are_where_the_client_reaches_us(start: Callable[..., RunningPrinter]) -> None:
    """printer-more-info and job-more-info lead to the console by the name that the client used."""
    printer = start(claims={"console": "/"})
    claims = printer.ask(printer.request(Operation.GET_PRINTER_ATTRIBUTES)).first(GroupTag.PRINTER)
    assert claims.text("printer-more-info") == f"http://localhost:{printer.port}/"
    printer.print_job()
    job = printer.ask(printer.request(Operation.GET_JOB_ATTRIBUTES, attribute("job-id", 1))).first(GroupTag.JOB)
    assert job.text("job-more-info") == f"http://localhost:{printer.port}/jobs/1"


def test_what_became_of_the_invoices(printer: RunningPrinter) -> None:
    """invoice-printer-invoices names each invoice, a keyword and words, for the owner alone."""
    printer.print_job()
    (row,) = printer.rows()
    with printer.database.write() as connection:
        connection.exec_driver_sql(SEARCH_TABLE)
        archive_rows.delivery(connection, archive_rows.invoice(connection, printer.blobs, row.id))
    asked = (attribute("job-id", 1), attribute("requested-attributes", shown.INVOICES))
    mine = printer.ask(printer.request(Operation.GET_JOB_ATTRIBUTES, *asked)).first(GroupTag.JOB).get(shown.INVOICES)
    assert mine is not None and isinstance(mine.value, tuple)
    assert [(one.name, one.value) for one in mine.value] == [
        ("invoice-number", "FA-2026-0042"),
        ("invoice-state", "pending"),
        ("invoice-state-message", "archived, mail under way"),
    ]
    others = printer.ask(printer.request(Operation.GET_JOB_ATTRIBUTES, *asked, user="bert"))
    assert others.code == Status.SUCCESSFUL_OK
    assert "FA-2026" not in repr(others)


def test_both_spellings_are_answered_and_claim_nothing(printer: RunningPrinter) -> None:
    """mopria-certified and mopria_certified are there, and have no value: nobody has certified this printer."""
    claims = printer.ask(printer.request(Operation.GET_PRINTER_ATTRIBUTES)).first(GroupTag.PRINTER)
    for name in ("mopria-certified", "mopria_certified"):
        found = claims.get(name)
        assert found is not None and found.value is None
