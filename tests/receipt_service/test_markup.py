"""What a document, an ERP or a customer wrote is text in every page and every mail."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from receipt_service import links, look
from receipt_service.contract import Delivery
from receipt_service.letters import compose, compose_copy
from receipt_service.render import facts

from .harness import delivery
from .test_letters import NOW, OFFICE, TOKEN, parsed, part

EVIL = "\"'><x-evil onload=alert(1)><script>alert(1)</script>{{ 7 * 7 }}<!--"


class Elements(HTMLParser):
    """What a reader's program would make of a page: its elements, and the addresses in its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.acting: list[str] = []
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.acting += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]
        self.addresses |= {value or "" for name, value in attrs if name in ("href", "src", "action")}


def elements(page: str) -> Elements:
    assert "x-evil onload" in page, "what others wrote is not shown, so nothing is seen here"
    found = Elements()
    found.feed(page)
    assert "x-evil" not in found.names and "script" not in found.names and "49" not in page.split()
    assert found.acting == []
    return found


def evil(language: str, mode: str = "live") -> Delivery:
    """A delivery whose every free text is :data:`EVIL`."""
    plain = delivery()
    texts: dict[str, Any] = {
        "issuer": plain["issuer"] | {name: EVIL for name in ("name", "siren", "address", "phone")},
        "customer": {"code": EVIL, "name": EVIL},
        "contacts": [
            plain["contacts"][0] | {"name": EVIL, "role": EVIL},
            {"id": "other", "name": EVIL, "email": "other@client.fr", "role": EVIL},
        ],
        "invoice": plain["invoice"] | {"number": EVIL},
        "document": plain["document"] | {"file_name": EVIL.replace("/", "-")},
    }
    rehearsal = {"mode": "rehearsal", "rehearsal_to": "it@moulin.example"} if mode == "rehearsal" else {}
    return Delivery.model_validate(plain | {"language": language} | texts | rehearsal)


@pytest.mark.parametrize("mode", ["live", "rehearsal"])
@pytest.mark.parametrize("language", ["fr", "en"])
def test_no_name_makes_an_element_of_a_mail(language: str, mode: str) -> None:
    """The button and the printed link are the only links beside the firm's own address, whoever is called what."""
    body = evil(language, mode)
    page = part(parsed(compose(OFFICE, body, body.contacts[0], TOKEN, NOW, again=True)), "html")
    assert elements(page).addresses == {OFFICE.link(TOKEN), "mailto:compta@moulin.example"}


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_copy_for_accounting_is_plain_text(language: str) -> None:
    """Accounting's copy has no HTML that a name could get into."""
    message = parsed(compose_copy(OFFICE, evil(language), "bcc@moulin.example", NOW))
    assert [one.get_content_type() for one in message.walk()] == ["text/plain"]


@pytest.mark.parametrize("mode", ["live", "rehearsal"])
@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("state", ["new", "acknowledged", "gone", "staff"])
def test_no_name_makes_an_element_of_a_page(language: str, state: str, mode: str) -> None:
    """In every state of the page its links are our own files, our own addresses and the firm's mailbox."""
    body = evil(language, mode)
    words = facts(body, body.contacts[0]) | {
        "nonce": "0.0",
        "masked": links.mask_address(body.contacts[0].email),
        "available": state != "gone",
        "acknowledged": look.moment(NOW, body.language) if state == "acknowledged" else "",
        "receipt": state == "acknowledged",
        "receipt_path": "/l/t/receipt",
        "staff": state == "staff",
        "notice": "gone" if state == "gone" else "empty",
        "longest_question": 9,
    }
    page = OFFICE.templates.get_template(f"{language}/page.html").render(words)
    ours = {"/static/page.css", f"/static/{words['accent_file']}", "/l/t/receipt", "mailto:compta@moulin.example"}
    assert elements(page).addresses <= ours
    for what in ("paper", "not-for-me", "question"):
        answer = OFFICE.templates.get_template(f"{language}/answer.html").render(words | {"what": what})
        assert elements(answer).addresses <= ours | {"?"}
