"""Invoices of invented sales, set as four firms of the real world set theirs: language, order and places of the words.

A form may be added for every way of setting that a template has to read; its facts are nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.pipeline import paper
from tests.pipeline.paper import Line


@dataclass(frozen=True, slots=True)
class Form:
    """``template`` is the one that reads it; ``true`` is its record, named as those of the real invoices are."""

    template: str
    pages: Sequence[Sequence[Line]]
    true: Mapping[str, Any]

    def pdf(self) -> bytes:
        return paper.pdf(*self.pages)


_RECHNUNG: Sequence[Line] = (
    (50, 800, "QualityHosting AG - Uferweg 1 - D-63571 Gelnhausen"),
    (50, 740, "Rechnung"),
    (50, 700, "Rechnungsnr."),
    (150, 700, "40010999"),
    (400, 700, "Kundennr."),
    (480, 700, "55001"),
    (50, 686, "Rechnungsdatum"),
    (150, 686, "12. Oktober 2026"),
)
"""What each page of the German form begins with."""

FORMS = (
    Form(  # a value below its label, amounts in dollars, a day in English
        "AmazonWebServices",
        [
            [
                (330, 800, "Amazon Web Services Invoice"),
                (50, 780, "Account number:"),
                (50, 766, "110022003300"),
                (330, 766, "Invoice Number:"),
                (480, 766, "70010203"),
                (330, 752, "Invoice Date:"),
                (480, 752, "March 9 , 2026"),
                (330, 724, "TOTAL AMOUNT DUE ON March 9 , 2026"),
                (530, 724, "$1,234.56"),
                (50, 640, "AWS Service Charges"),
                (480, 640, "$1,200.06"),
                (50, 626, "Tax *"),
                (480, 626, "$34.50"),
                (330, 560, "Amazon Web Services, Inc."),
            ]
        ],
        {
            "invoice_number": "70010203",
            "date": "2026-03-09",
            "amount": 1234.56,
            "amount_untaxed": 1200.06,
            "currency": "USD",
        },
    ),
    Form(  # labels and values on one line, a page number, a date in digits
        "NetpresseInvoice",
        [
            [
                (400, 800, "Facture n° 2026000417"),
                (60, 780, "Date : 05/02/2026"),
                (60, 766, "Numéro de dossier : 700123 - MOULIN"),
                (350, 600, "Total HT : 1 150,00 €"),
                (350, 586, "TVA 20% : 230,00 €"),
                (350, 572, "Total TTC : 1 380,00 €"),
                (60, 500, "IBAN : FR76 3000 6000 0112 3456 7890 189"),
                (280, 100, "NETPRESSE"),
                (120, 86, "Sarl au capital de 10 000€ - RSC Paris B 732 829 320"),
                (250, 72, "Facture n° 2026000417 - Page 1/1"),
            ]
        ],
        {
            "invoice_number": "2026000417",
            "date": "2026-02-05",
            "amount": 1380.0,
            "amount_untaxed": 1150.0,
            "currency": "EUR",
        },
    ),
    Form(  # two pages in German whose sums stand on the last one
        "QualityHosting",
        [
            [*_RECHNUNG, (450, 740, "Seite 1")],
            [
                *_RECHNUNG,
                (450, 740, "Seite 2"),
                (350, 500, "Total EUR"),
                (480, 500, "2.048,16"),
                (50, 460, "Zahlungsziel"),
                (150, 460, "26. Oktober 2026"),
                (350, 100, "IBAN DE89370400440532013000"),
                (200, 86, "UStId DE 136 695 976"),
            ],
        ],
        {
            "invoice_number": "40010999",
            "date": "2026-10-12",
            "amount": 2048.16,
            "amount_untaxed": 2048.16,
            "currency": "EUR",
        },
    ),
    Form(  # the facts in a sentence, the sums in a row of a table, decimals with a point in French
        "free_fiber",
        [
            [
                (50, 800, "Free Service Abonné"),
                (50, 720, "Numéro de ligne"),
                (200, 720, "Id.client"),
                (50, 706, "FO00112233"),
                (200, 706, "44556677"),
                (50, 660, "Facture n°700800900 du 03 Avril 2026"),
                (50, 646, "Date limite de paiement le 07 Avril 2026"),
                (50, 600, "Total facture"),
                (300, 600, "25.00"),
                (380, 600, "5.00"),
                (460, 600, "30.00"),
                (50, 80, "Free SAS - B 732 829 320 RCS Paris - FR 44 732829320"),
            ]
        ],
        {
            "invoice_number": "700800900",
            "date": "2026-04-03",
            "amount": 30.0,
            "amount_untaxed": 25.0,
            "currency": "EUR",
        },
    ),
)
