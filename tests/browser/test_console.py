"""The console in a real browser: one person's morning, and everybody's access to it."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from printerd.console import application, open_link
from printerd.storage import archive
from printerd.storage.schema import invoices
from tests import archive_rows as rows

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Served:
    """The console on a free port, with a morning's invoices."""

    def __init__(self, folder: Path) -> None:
        self.db, blobs = rows.opened(folder)
        self.ids = rows.day(self.db, blobs)
        self.woken = 0
        app = application(
            self.db,
            blobs,
            names=[],
            language="fr",
            firm="Au bon moulin",
            doors={"ipp": "0.0.0.0:8631", "backend": "unix:///run/backend.sock", "raw": "192.0.2.10:9100"},
            wake=self._wake,
            clock=lambda: datetime.now(UTC),
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, ws="none", access_log=False, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def _wake(self) -> None:
        self.woken += 1

    def login(self, who: str = "marie") -> str:
        return self.address + open_link(self.db, who, datetime.now(UTC))

    def state(self, of: str) -> str:
        with self.db.read() as conn:
            return str(conn.execute(sa.select(invoices.c.state).where(invoices.c.id == self.ids[of])).scalar())

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        self.db.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


def page_of(browser: Browser, served: Served, *, complaints: list[str] | None = None, **options: Any) -> Page:
    """A new browser window that is logged in as a person does it: link, button."""
    context = browser.new_context(**{"locale": "en-GB", "viewport": DESKTOP} | options)
    page = context.new_page()
    if complaints is not None:
        page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if _ours(request.url, served) else complaints.append(request.url))
    page.goto(served.login())
    page.get_by_role("button").click()
    page.wait_for_url("**/invoices")
    return page


def _is_complaint(message: ConsoleMessage) -> bool:
    """The door has no icon for the browser that asks by itself."""
    return message.type == "error" and not message.location["url"].endswith("/favicon.ico")


def _ours(url: str, served: Served) -> bool:
    return url.startswith((served.address, "chrome-extension://", "chrome://resources/", "data:", "blob:", "about:"))


def test_a_held_invoice_is_found_corrected_and_goes_back_to_the_checks(browser: Browser, served: Served) -> None:
    """Login, list, page, correction: as a person does it, without one complaint of the browser about our policy."""
    complaints: list[str] = []
    page = page_of(browser, served, complaints=complaints)
    page.get_by_role("link", name=re.compile("^To review")).click()
    page.wait_for_url("**state=waiting")
    page.get_by_role("link", name="Review FA-2026-0048").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("FA-2026-0048")
    expect(page.get_by_text("Customer C004Z is not among the customers.")).to_be_visible()
    page.get_by_label("Customer code").fill("C0042")
    page.get_by_label("Total").fill("1234.56")
    page.get_by_label("Why do you correct it?").fill("misread by the template")
    page.get_by_role("button", name="Correct and check again").click()
    expect(page.get_by_text("Corrected. The invoice is being checked again.")).to_be_visible()
    assert served.state("waiting") == "checking"
    assert served.woken == 1
    assert complaints == [], complaints[:40]
    page.context.close()


def test_an_invoice_is_released_without_a_script(browser: Browser, served: Served) -> None:
    """Every act works with JavaScript switched off."""
    page = page_of(browser, served, java_script_enabled=False)
    page.goto(f"{served.address}/invoices/{served.ids['releasable']}")
    page.get_by_label("Why may it go out as it stands?").fill("agreed with the customer")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("FA-2026-0047")
    assert served.state("releasable") == "checking"
    page.context.close()


def test_a_page_in_progress_renews_itself_until_it_is_done(browser: Browser, served: Served) -> None:
    """Nobody has to reload to see what became of an invoice."""
    with served.db.write() as conn:
        conn.execute(sa.update(invoices).where(invoices.c.id == served.ids["releasable"]).values(state="checking"))
    page = page_of(browser, served)
    page.goto(f"{served.address}/invoices/{served.ids['releasable']}")
    expect(page.get_by_text("Being worked on")).to_be_visible()
    with served.db.write() as conn:
        conn.execute(sa.update(invoices).where(invoices.c.id == served.ids["releasable"]).values(state="rejected"))
    expect(page.get_by_text("It was never sealed nor sent.")).to_be_visible(timeout=8000)
    page.context.close()


def test_a_doubtful_mail_is_explained_and_sent_again_by_a_person(browser: Browser, served: Served) -> None:
    """The doubt is said before the button, and the button wants a reason."""
    page = page_of(browser, served)
    page.goto(f"{served.address}/invoices/{served.ids['uncertain']}")
    expect(page.get_by_text("the mail may have arrived or not")).to_be_visible()
    page.get_by_label("Why is it sent again?").fill("the customer has not got it")
    page.get_by_role("button", name="Send again to compta@canal.example").click()
    expect(page.get_by_text("Another mail with a link of its own is on its way.")).to_be_visible()
    with served.db.read() as conn:
        assert "ledger.act.resend" in [entry.kind for entry in archive.time_line(conn, served.ids["uncertain"])]
    page.context.close()


PAGES = (
    "/invoices",
    "/invoices?state=rejected",
    "/jobs",
    "/add-printer",
    "/jobs/2",
    "/jobs/3",
    "/zzz",
    "waiting",
    "acknowledged",
    "failed",
)


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_every_page_is_accessible(browser: Browser, served: Served, viewport: dict[str, int], scheme: str) -> None:
    """axe-core finds nothing, by day and by night, on a desk and on a telephone; nothing is wider than the window."""
    page = page_of(browser, served, viewport=viewport, color_scheme=scheme, locale="fr-FR")
    page.route("**/pdf", lambda route: route.abort())  # the browser's own viewer is not our page
    for name in PAGES:
        page.goto(served.address + (name if name.startswith("/") else f"/invoices/{served.ids[name]}"))
        assert violations(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    page.goto(served.login())
    assert violations(page) == []
    page.context.close()


def violations(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {iframes: false}).then(result => result.violations)")
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


def test_a_page_is_light(browser: Browser, served: Served) -> None:
    """Less than 150 kB travel for the first page, and less than 20 kB for the next ones."""
    page = page_of(browser, served)
    sizes = page.evaluate("performance.getEntriesByType('resource').map(one => one.encodedBodySize)")
    assert 0 < sum(sizes) < 150_000
    page.goto(f"{served.address}/jobs")
    travelled = page.evaluate(
        "performance.getEntries().filter(one => one.transferSize).reduce((sum, one) => sum + one.transferSize, 0)"
    )
    assert travelled < 20_000
    page.context.close()


def test_the_keyboard_reaches_the_content_first(browser: Browser, served: Served) -> None:
    """The first stop skips the navigation."""
    page = page_of(browser, served)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.context.close()
