"""The receipt: every fact is on its page, nothing is promised, nothing overflows."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2  # type: ignore[import-untyped]  # pypdfium2 comes without types
import pytest

from printerd.errors import IntegrityError
from printerd.evidence import canonical, receipt, receipt_file, receipt_page, signatures
from printerd.evidence.receipt_words import FORBIDDEN, WORDS
from tests.evidence import receipt_facts as made

FRAME = (30.5, 30.5, receipt_page.WIDTH - 30.5, receipt_page.HEIGHT - 30.5)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


def rendered(keys: Path, record: receipt.Facts) -> bytes:
    return receipt_file.render(record, *made.stamped(keys, record))


def text(pdf: bytes) -> str:
    """The page's text in one line with plain spaces."""
    with pypdfium2.PdfDocument(pdf) as document:
        assert len(document) == 1
        return " ".join(document[0].get_textpage().get_text_bounded().split())


def plain(value: str) -> str:
    return " ".join(value.split())


LONG = "Société coopérative des Meuniers réunis du Haut-Vaucourt " * 4
CASES: dict[str, dict[str, Any]] = {
    "French": {},
    "English": {"language": "en"},
    "rehearsal": {"mode": "rehearsal"},
    "credit note": {"invoice": made.delivery()["invoice"] | {"kind": "credit-note", "total": "-12.00"}},
    "extreme": {
        "customer": {"code": "C" * 64, "name": LONG},
        "contacts": [
            {"id": f"c{n}", "name": LONG, "email": f"{'x' * 60}{n}@{'y' * 60}.example", "role": ""} for n in (1, 2, 3)
        ],
        "document": {"sha256": made.DOCUMENT, "size": 10**9, "pages": 1, "file_name": "z" * 250 + ".pdf"},
        "invoice": made.delivery()["invoice"] | {"number": "N" * 120},
    },
    "odd characters": {"customer": {"code": "=C1", "name": "日本 Ωж <b>&amp; ‮ evil\u2029 €œŒ«\u202f»"}},
}


@pytest.mark.parametrize("language", WORDS)
def test_every_fact_stands_on_the_page(keys: Path, language: str) -> None:
    """What notes call the content of a receipt, in the language of the customer."""
    told = made.events(signs="user agent: curl;no Accept-Language;pressed 0.8 s after the page")
    record = made.facts(told, language=language)
    data, token = made.stamped(keys, record)
    page = text(receipt_file.render(record, data, token))
    stamp = signatures.response(token, data).timestamp
    amount, pressed = {
        "fr": ("1 234,56 €", "24 novembre 2026 à 10:05:00,123"),
        "en": ("€1,234.56", "24 November 2026 at 10:05:00.123"),
    }[language]
    for fact in (
        "000042",
        record["id"],
        "L3",
        "Au bon moulin SAS",
        "123456782",
        "12, chemin du Bief, 28190 Vaucourt-sur-Eure",
        "Boulangerie Lefèvre & Fils SARL",
        "C0042",
        "Hélène Lefèvre",
        "helene@lefevre.example",
        "Comptabilité <compta@lefevre.example>",
        "FA-2026-0042",
        amount,
        "FA-2026-0042.pdf",
        receipt_page.grouped(made.DOCUMENT),
        "<20261124.4f2c@aubonmoulin.example>",
        "250 2.0.0 Ok: queued as 4F2C81A0",
        "2026-11-24 09:04:41.123456",
        "2026-11-24 09:05:00.123456",
        "2026-11-24 09:05:00.523456",
        "2026-11-24 09:06:15.123456",
        receipt_page.universal(canonical.instant(stamp.time)),
        pressed,
        "http://uri.etsi.org/19522/Event/ConsignmentAcceptance",
        "http://uri.etsi.org/19522/Event/ContentHandover",
        "h***@lefevre.example",
        "192.0.2.0/24",
        "Firefox",
        "curl",
        "2026-11-24 08:05:00 UTC",
        "edge-1",
        receipt_page.grouped("0d" * 32),
        receipt_page.grouped("ef" * 32),
        receipt_page.grouped("ab12" * 16),
        "1204",
        receipt_page.grouped(record["certificate"]),
        stamp.authority,
        stamp.serial,
        WORDS[language]["authority_local"],
        WORDS[language]["disclaimer"],
        WORDS[language]["not_agreed"],
        "invoice-printer verify",
        "2036",
    ):
        assert plain(fact) in page


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("whole", [True, False], ids=["handed over", "not handed over"])
def test_no_receipt_promises_more_than_it_holds(keys: Path, case: str, whole: bool) -> None:
    """The forbidden words stand nowhere but in the one disclaimer, which is always there."""
    record = made.facts(whole=whole, **CASES[case])
    page = text(rendered(keys, record))
    disclaimer = WORDS[record["language"]]["disclaimer"]
    assert page.count(disclaimer) == 1
    rest = page.replace(disclaimer, "")
    assert [word for word in FORBIDDEN if re.search(rf"\b{word}", rest)] == []


@pytest.mark.parametrize("case", CASES)
def test_nothing_leaves_the_frame_or_runs_into_the_foot(keys: Path, case: str) -> None:
    """Long names and addresses are wrapped, cut with an ellipsis, or make the page smaller; never lost outside it."""
    pdf = rendered(keys, made.facts(**CASES[case]))
    with pypdfium2.PdfDocument(pdf) as document:
        page = document[0].get_textpage()
        boxes = [page.get_rect(n) for n in range(page.count_rects())]
        foot = page.search(WORDS[made.delivery(**CASES[case])["language"]]["disclaimer"][:20]).get_next()
        assert foot is not None
        top_of_foot = page.get_charbox(foot[0])[3]
    for left, bottom, right, top in boxes:
        assert FRAME[0] < left, (left, bottom)
        assert right < FRAME[2], (right, bottom)
        assert FRAME[1] < bottom
        assert top < FRAME[3]
    between = [bottom for _, bottom, _, _ in boxes if top_of_foot - 2 < bottom < top_of_foot + 4]
    assert between == []


def test_a_rehearsal_says_specimen_twice(keys: Path) -> None:
    """Across the page and beside the number; and it names the mailbox that the link really went to."""
    told = made.events()
    told[0] = made.event(11, "ConsignmentNotification", -9, **{**told[0].data, "to": "it@firm.example"})
    page = text(rendered(keys, made.facts(told, mode="rehearsal")))
    assert page.count("SPECIMEN") == 2
    assert "lien envoyé à it@firm.example" in page
    assert "SPECIMEN" not in text(rendered(keys, made.facts()))


def test_an_act_without_handover_says_so(keys: Path) -> None:
    """No time of a last byte, no claim that bytes were handed over."""
    page = text(rendered(keys, made.facts(whole=False, language="en")))
    assert "without a complete handover" in page
    assert "No complete handover of the file was observed." in page
    assert "were handed to the network" not in page
    assert "ContentHandover" not in page


def test_many_earlier_events_are_counted(keys: Path) -> None:
    """The page shows the first six and says how many more the record holds; the record holds all."""
    visits = [made.event(seq, "NotificationAccessTracking", seq - 99, address="", agent="") for seq in range(1, 13)]
    record = made.facts([*visits, *made.events()[2:]])
    assert len(record["history"]) == 12
    assert plain("et 6 autres, dans receipt.json") in text(rendered(keys, record))


def test_the_record_and_its_timestamp_travel_inside(keys: Path) -> None:
    """Both attachments are byte for byte what was stamped, and are related to the page as its data (PDF/A-3)."""
    record = made.facts()
    data, token = made.stamped(keys, record)
    with pikepdf.open(BytesIO(receipt_file.render(record, data, token))) as pdf:
        found = {name: spec.get_file().read_bytes() for name, spec in pdf.attachments.items()}
        assert found == {"receipt.json": data, "receipt.tsr": token}
        assert [str(spec.AFRelationship) for spec in pdf.Root.AF] == ["/Data", "/Data"]
        assert str(pdf.Root.Lang) == "fr-FR"
    assert json.loads(data) == record


def test_the_same_facts_give_the_same_bytes(keys: Path) -> None:
    """Rendering again after a crash makes the same document."""
    record = made.facts()
    data, token = made.stamped(keys, record)
    assert receipt_file.render(record, data, token) == receipt_file.render(record, data, token)


def test_a_timestamp_over_other_bytes_is_refused(keys: Path) -> None:
    """A receipt never carries a token that does not cover its record."""
    record = made.facts()
    data, token = made.stamped(keys, record)
    with pytest.raises(IntegrityError):
        receipt_file.render(record, data + b" ", token)


def test_every_font_is_embedded(keys: Path) -> None:
    """The page looks the same on a machine that has no fonts, and may become PDF/A."""
    with pikepdf.open(BytesIO(rendered(keys, made.facts()))) as pdf:
        embedded = ["/FontFile2" in font.FontDescriptor for _, font in pdf.pages[0].Resources.Font.items()]
    assert embedded == [True, True]


def test_facts_leave_out_what_happened_to_others_and_later() -> None:
    """One contact's receipt tells nothing of another contact's acts, nor of what came after."""
    told = made.events()
    stranger = made.event(10, "NotificationAccessTracking", -50, address="", agent="")
    other = type(stranger)(**{name: getattr(stranger, name) for name in stranger.__slots__} | {"contact": "c2"})
    record = made.facts([other, *told])
    assert [claim["seq"] for claim in record["history"]] == [11, 12]
    assert record["kept_until"] == "2036-12-31"


def test_both_languages_have_the_same_words() -> None:
    """No sentence exists in one language only, and each fills the same places."""
    french, english = WORDS["fr"], WORDS["en"]
    assert french.keys() == english.keys()
    for key in french:
        assert set(re.findall(r"{\w+", french[key])) == set(re.findall(r"{\w+", english[key])), key
