"""Web pages of others, in a real browser, against a running service: they print, read, change and frame nothing.

The attacker's pages come from a server of their own. ``evil.example`` is another site, ``127.0.0.1`` with another port
is the same site to a browser, which sends the console's cookie along; ``rebound.example`` is a name whose owner makes
it point at us once his page is loaded (DNS rebinding).
"""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.test_console import ARGUMENTS, CHROMIUM
from tests.instance import Instance, print_job, printed_samples, served

HOSTILE = [
    "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1",
    # A browser's own wall before local addresses is new, and not in every browser: ours must hold without it.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
]


class Attacker:
    """A web server that gives ``page`` for every address."""

    def __init__(self) -> None:
        self.page = ""
        attacker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(f"<!doctype html><title>evil</title>{attacker.page}".encode())

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def attacker() -> Iterator[Attacker]:
    made = Attacker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A service with one invoice that waits for a person: job 1."""
    folder = tmp_path_factory.mktemp("foreign")
    with served(folder / "state") as running:
        sample = printed_samples(folder / "samples")["facture-client-inconnu-fr"]
        running.settled(running.print(sample.file).number)
        yield running


@pytest.fixture(scope="module")
def browser(instance: Instance) -> Iterator[Browser]:
    """A browser, after the service: the client that prints needs an event loop of its own, and playwright has one."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *HOSTILE])
        yield started
        started.close()


@pytest.fixture(scope="module")
def cookies(browser: Browser, instance: Instance) -> Any:
    """What the console has put into a browser once its person is logged in."""
    with browser.new_context() as context:
        page = context.new_page()
        link = re.search(r"http://\S+/login/\S+", instance.run("console", "open").stdout)
        assert link
        page.goto(link[0])
        page.get_by_role("button").click()
        page.wait_for_url("**/invoices")
        return context.storage_state()


@pytest.fixture
def victim(browser: Browser, instance: Instance, cookies: Any) -> Iterator[Page]:
    """The window of somebody who is logged in to the console."""
    with browser.new_context(locale="en-GB", storage_state=cookies) as context:
        page = context.new_page()
        page.goto(f"http://{instance.address('ipp')}/invoices")
        yield page


def waiting(instance: Instance) -> str:
    """The id of the invoice that waits, which no foreign page has changed."""
    (invoice,) = instance.job(1)["invoices"]
    assert invoice["state"] == "waiting"
    return str(invoice["id"])


@pytest.mark.parametrize(("site", "status"), [("evil.example", 404), ("127.0.0.1", 403)])
def test_a_form_on_a_foreign_page_changes_nothing(
    victim: Page, instance: Instance, attacker: Attacker, site: str, status: int
) -> None:
    """From another site the cookie stays at home; from another port of ours it comes along, and the origin tells.

    The attacker knows the form's token here: neither protection leans on the other.
    """
    key, console = waiting(instance), f"http://{instance.address('ipp')}"
    token = victim.locator("input[name=form_token]").first.get_attribute("value")
    fields = {"form_token": token or "", "reason": "evil"}
    inputs = "".join(f'<input name="{name}" value="{html.escape(value)}">' for name, value in fields.items())
    for act in (f"/invoices/{key}/reject", "/logout"):
        attacker.page = f'<form method="post" action="{console}{act}">{inputs}<button>win</button></form>'
        victim.goto(f"http://{site}:{attacker.port}/")
        with victim.expect_response(f"{console}{act}") as answered:
            victim.get_by_role("button").click()
        assert answered.value.status == status
    assert waiting(instance) == key
    victim.goto(f"{console}/invoices")
    assert victim.get_by_role("button", name="Sign out").count() == 1


ATTEMPTS = """
async ([address, job]) => {
    const body = Uint8Array.from(job);
    const ways = [
        {mode: "no-cors", headers: {"Content-Type": "text/plain"}},
        {mode: "no-cors", headers: {}},
        {mode: "cors", headers: {"Content-Type": "application/ipp"}},
        {mode: "cors", headers: {"Content-Type": "text/plain"}},
    ];
    const told = [];
    for (const way of ways) {
        try {
            const answer = await fetch(address, {method: "POST", body, credentials: "include", ...way});
            told.push(answer.type === "opaque" ? "opaque" : answer.status);
        } catch (error) {
            told.push("blocked");
        }
    }
    return told;
}
"""


def a_job(printer: str) -> list[int]:
    """The octets of a Print-Job with a document."""
    return list(print_job(printer, "evil") + b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n")


@pytest.mark.parametrize("site", ["evil.example", "127.0.0.1"])
def test_a_foreign_page_prints_nothing(victim: Page, instance: Instance, attacker: Attacker, site: str) -> None:
    """What a browser sends without asking is refused, what it asks about is not granted, and nothing can be read."""
    attacker.page = ""
    victim.goto(f"http://{site}:{attacker.port}/")
    address = f"http://{instance.address('ipp')}/ipp/print"
    told = victim.evaluate(ATTEMPTS, [address, a_job(instance.printer)])
    assert told == ["opaque", "opaque", "blocked", "blocked"]
    assert [job["number"] for job in instance.json("jobs")] == [1]


REBOUND = """
async ([paths, job]) => {
    const answers = [];
    for (const path of paths) answers.push(await fetch(path, {credentials: "include"}));
    const headers = {"Content-Type": "application/ipp"};
    answers.push(await fetch("/ipp/print", {method: "POST", body: Uint8Array.from(job), headers}));
    return Promise.all(answers.map(async answer => [answer.status, await answer.text()]));
}
"""
DOORS = {"ipp": 421, "public": 421, "health": 421, "api": 401}
"""What each of our doors says to a name that is not ours; the contract's wants its secret first."""
PATHS = ["/", "/invoices", "/jobs/1", "/ipp/print", "/robots.txt", "/metrics", "/healthz", "/api/v1/status"]


@pytest.mark.parametrize("door", DOORS)
def test_a_rebound_name_reads_and_prints_nothing(victim: Page, instance: Instance, door: str) -> None:
    """A page whose name now means this machine may ask what it likes, and gets no word from any of the doors."""
    port = instance.address(door).rpartition(":")[2]
    there = f"http://rebound.example:{port}"
    victim.route(
        f"{there}/loaded-before", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html")
    )
    victim.goto(f"{there}/loaded-before")
    answers = victim.evaluate(REBOUND, [PATHS, a_job(instance.printer)])
    *looked, printed = [status for status, _ in answers]
    assert looked == [DOORS[door]] * len(PATHS)
    assert printed == (501 if door == "health" else DOORS[door])
    assert not re.search("FA-2026|marie|ipp_|Invoice Printer", json.dumps(answers))
    assert [job["number"] for job in instance.json("jobs")] == [1]


def test_the_console_shows_itself_in_no_foreign_frame(victim: Page, instance: Instance, attacker: Attacker) -> None:
    """No click is stolen: on a page of another port, where the cookie comes along, the frame stays empty."""
    console = f"http://{instance.address('ipp')}"
    attacker.page = f'<iframe src="{console}/invoices"></iframe><script src="{console}/static/console.css"></script>'
    with victim.expect_response(f"{console}/invoices") as framed:
        victim.goto(f"http://127.0.0.1:{attacker.port}/", wait_until="load")
    assert framed.value.status == 200, "the cookie came along, so the policy is what protects"
    frame = victim.frames[1]
    assert frame.url.startswith("chrome-error:")
    assert "FA-2026" not in frame.content()


def test_a_served_state_folder_is_left_as_it_was(instance: Instance) -> None:
    """After all of it there is one job, its invoice still waits, and the spool is empty."""
    assert waiting(instance)
    assert [path for path in Path(instance.state / "spool").iterdir() if path.is_file()] == []
