"""Who sells what to whom: the truth of a sample, before anything is drawn.

One rule: every number that a form prints comes from a :class:`Sale`, and the same seed makes the same sales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random

from printerd.model import Consent, ConsentState, Contact, Customer, Invoice, InvoiceKind, Money, Party, Route

CENT = Decimal("0.01")
FOOD = Decimal("5.5")
STANDARD = Decimal("20")
EXEMPT = Decimal("0")
EUROPEAN_UNION = frozenset({"IE", "NL"})

ISSUER = Party(
    name="Au bon moulin SAS",
    siren="123456782",
    vat_id="FR11123456782",
    address="12, chemin du Bief\n28190 Vaucourt-sur-Eure",
    email="comptabilite@aubonmoulin.example",
)
IBAN = "FR7699999000420123456789076"
BIC = "BQMOFRP0"  # ISO 9362: the eighth character 0 marks a test code, which no bank holds


@dataclass(frozen=True, slots=True)
class Buyer:
    """A customer of the firm: ``customer`` as the product knows it, ``party`` as the invoice addresses it."""

    customer: Customer
    party: Party
    days: int = 30

    @property
    def exported(self) -> bool:
        return not self.party.siren


@dataclass(frozen=True, slots=True)
class Article:
    """A thing for sale, in both languages of the firm. ``price`` is in euros before VAT, ``rate`` in per cent."""

    code: str
    french: str
    english: str
    unit: tuple[str, str]
    price: Decimal
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    article: Article
    quantity: int
    rate: Decimal

    @property
    def amount(self) -> Decimal:
        return (self.article.price * self.quantity).quantize(CENT, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Sale:
    """An invoice and what only its paper says: the lines, the order, the delivery, the invoice that it corrects."""

    invoice: Invoice
    buyer: Buyer
    lines: tuple[Line, ...]
    order: str
    delivered_on: date
    corrects: str = ""

    @property
    def is_credit_note(self) -> bool:
        return self.invoice.kind is InvoiceKind.CREDIT_NOTE


@dataclass(frozen=True, slots=True)
class Tax:
    """What is owed at one rate: ``base`` and ``amount`` in euros, ``rate`` in per cent."""

    rate: Decimal
    base: Decimal
    amount: Decimal


def taxes(lines: Sequence[Line]) -> tuple[Tax, ...]:
    """The VAT of the lines, one entry a rate, the lowest first; rounded once a rate (EN 16931 BR-CO-17)."""
    bases: dict[Decimal, Decimal] = {}
    for line in lines:
        bases[line.rate] = bases.get(line.rate, Decimal(0)) + line.amount
    return tuple(
        Tax(rate, base, (base * rate / 100).quantize(CENT, ROUND_HALF_UP)) for rate, base in sorted(bases.items())
    )


def draw_sale(
    rng: Random, buyer: Buyer, number: str, issued_on: date, *, size: int, corrects: str = "", layout: str
) -> Sale:
    """A sale of ``size`` lines to ``buyer``. It is a credit note when it ``corrects`` an invoice."""
    lines = tuple(_lines(rng, buyer, size))
    net = sum((tax.base for tax in taxes(lines)), Decimal(0))
    vat = sum((tax.amount for tax in taxes(lines)), Decimal(0))
    invoice = Invoice(
        number=number,
        kind=InvoiceKind.CREDIT_NOTE if corrects else InvoiceKind.INVOICE,
        issued_on=issued_on,
        due_on=None if corrects else issued_on + timedelta(days=buyer.days),
        seller=ISSUER,
        buyer=buyer.party,
        customer_code=buyer.customer.code,
        net=Money(net),
        vat=Money(vat),
        total=Money(net + vat),
        iban="" if corrects else IBAN,
        found_by=layout,
    )
    delivered_on = issued_on - timedelta(days=rng.randint(1, 6))
    return Sale(invoice, buyer, lines, f"BC {rng.randint(10000, 99999)}", delivered_on, corrects)


def _lines(rng: Random, buyer: Buyer, size: int) -> list[Line]:
    articles = rng.sample(GOODS, min(size, len(GOODS)))
    articles += rng.choices(GOODS, k=size - len(articles))
    return [Line(item, rng.randint(1, 24), EXEMPT if buyer.exported else item.rate) for item in articles]


_SACK = ("sac 25 kg", "25 kg sack")
_SMALL = ("sac 5 kg", "5 kg sack")
_TUB = ("boîte 1 kg", "1 kg tub")
_METRE = ("mètre", "metre")
_PIECE = ("pièce", "each")

GOODS = (
    Article("F055", "Farine de blé T55 « Tradition »", "Wheat flour T55 “Tradition”", _SACK, Decimal("19.85"), FOOD),
    Article("F065", "Farine de blé T65 Label Rouge", "Wheat flour T65 Label Rouge", _SACK, Decimal("24.60"), FOOD),
    Article("F080", "Farine bise T80 sur meule", "Stone-ground brown flour T80", _SACK, Decimal("27.90"), FOOD),
    Article("F110", "Farine complète T110 bio", "Organic wholemeal flour T110", _SACK, Decimal("31.45"), FOOD),
    Article("S130", "Farine de seigle T130", "Rye flour T130", _SACK, Decimal("26.10"), FOOD),
    Article("E070", "Farine d’épeautre T70 bio", "Organic spelt flour T70", _SMALL, Decimal("13.75"), FOOD),
    Article("B012", "Farine de sarrasin de Bretagne", "Breton buckwheat flour", _SMALL, Decimal("15.20"), FOOD),
    Article("C020", "Farine de châtaigne d’Ardèche", "Ardèche chestnut flour", _SMALL, Decimal("38.40"), FOOD),
    Article("M005", "Mélange « Cinq céréales »", "Five-grain mix", _SACK, Decimal("33.95"), FOOD),
    Article("G010", "Gruau d’avoine décortiquée", "Hulled oat groats", _SMALL, Decimal("9.65"), FOOD),
    Article("L001", "Levain dévitalisé de seigle", "Devitalised rye sourdough", _TUB, Decimal("17.30"), FOOD),
    Article("T003", "Graines de lin brun", "Brown linseed", _SMALL, Decimal("11.05"), FOOD),
    Article("P101", "Banneton en rotin, ovale", "Rattan proofing basket, oval", _PIECE, Decimal("14.90"), STANDARD),
    Article("P114", "Moule à brioche Ø 16 cm", "Brioche tin, 16 cm", _PIECE, Decimal("8.25"), STANDARD),
    Article("P120", "Toile de couche en lin, 60 cm", "Linen couche, 60 cm", _METRE, Decimal("12.40"), STANDARD),
    Article("K002", "Bac alimentaire 60 × 40 cm", "Food crate, 60 × 40 cm", _PIECE, Decimal("21.00"), STANDARD),
)  # fmt: skip


def _buyer(
    code: str,
    name: str,
    ids: tuple[str, str],
    address: str,
    contacts: str,
    *,
    consent: Consent,
    route: Route = Route.MAIL,
    language: str = "fr",
    days: int = 30,
) -> Buyer:
    people = (entry.strip(" >").split(" <") for entry in contacts.split(";"))
    known = tuple(Contact(f"{code}-{n}", name, mail) for n, (name, mail) in enumerate(people, start=1))
    siren, vat_id = ids
    party = Party(name, siren, vat_id, address, known[0].email)
    return Buyer(Customer(code, name, vat_id, language, route, consent, known), party, days)


def _express(day: date, source: str) -> Consent:
    return Consent(ConsentState.EXPRESS, day, source)


BUYERS = (
    _buyer(
        "C0042",
        "Boulangerie Lefèvre & Fils SARL",
        ("102003043", "FR40102003043"),
        "8, rue du Grand-Faubourg\n28000 CHARTRES",
        "Hélène Lefèvre <helene@lefevre.example>; Comptabilité <compta@lefevre.example>",
        consent=_express(date(2025, 9, 1), "conditions générales signées"),
    ),
    _buyer(
        "C0007",
        "Maison Aubépine SAS",
        ("103115077", "FR21103115077"),
        "À l’attention du service comptable\n41, quai Saint-Vincent\n69001 LYON",
        "Service comptable <factures@aubepine.example>",
        consent=_express(date(2025, 10, 14), "courriel du 14 octobre 2025"),
        days=45,
    ),
    _buyer(
        "C0013",
        "Crêperie de l’Île aux Mouettes",
        ("104209119", "FR55104209119"),
        "3, venelle du Phare\n29950 BÉNODET",
        "Maëlle Kerguelen <maelle@creperie-mouettes.example>",
        consent=Consent(ConsentState.REFUSED, date(2025, 11, 3), "lettre du 3 novembre 2025"),
        route=Route.PAPER,
    ),
    _buyer(
        "C0028",
        "Épicerie du Marché couvert",
        ("105342182", "FR73105342182"),
        "Place de l’Étape-au-Vin\n45000 ORLÉANS",
        "Benoît Façade <benoit@marche-couvert.example>",
        consent=Consent(ConsentState.TACIT, date(2025, 6, 30), "facture électronique réglée sans objection"),
    ),
    _buyer(
        "C0031",
        "Pâtisserie Noël SARL",
        ("106455231", "FR92106455231"),
        "17, rue de la Scellerie\n37000 TOURS",
        "Zoé Noël <zoe@patisserie-noel.example>",
        consent=_express(date(2026, 1, 12), "espace client"),
    ),
    _buyer(
        "C0055",
        "Restaurant Le Grand Cœur",
        ("107568297", "FR65107568297"),
        "26, rue Sainte-Catherine\n54000 NANCY",
        "Régis Thiébaut <regis@grand-coeur.example>",
        consent=_express(date(2025, 12, 2), "formulaire papier"),
    ),
    _buyer(
        "C0061",
        "Traiteur Garçon & Associés",
        ("108621319", "FR35108621319"),
        "5, boulevard de la Liberté\n35000 RENNES",
        "Anaïs Garçon <anais@garcon-traiteur.example>; Achats <achats@garcon-traiteur.example>",
        consent=_express(date(2026, 2, 20), "espace client"),
        days=60,
    ),
    _buyer(
        "C0064",
        "Fournil des Hauts-Prés",
        ("109784371", "FR04109784371"),
        "Lieu-dit Les Hauts-Prés\n15300 MURAT",
        "Paul Vidal <paul@hauts-pres.example>",
        consent=Consent(ConsentState.UNKNOWN),
        route=Route.PAPER,
    ),
    _buyer(
        "C0077",
        "Hearth & Rye Bakers Ltd",
        ("", "IE9904217S"),
        "14 Francis Street\nDublin 8\nD08 AB12\nIRELAND",
        "Aoife Brennan <aoife@hearth-and-rye.example>; Accounts <accounts@hearth-and-rye.example>",
        consent=_express(date(2025, 9, 22), "customer account"),
        language="en",
    ),
    _buyer(
        "C0081",
        "Northgate Provisions Ltd",
        ("", "GB999004231"),
        "Unit 6, Canal Wharf\n22 Northgate\nCHESTER  CH1 2ZZ\nUNITED KINGDOM",
        "Accounts payable <ap@northgate-provisions.example>",
        consent=_express(date(2026, 3, 5), "signed order form"),
        language="en",
        days=45,
    ),
    _buyer(
        "C0090",
        "De Gouden Aar B.V.",
        ("", "NL999004207B01"),
        "Molenkade 112\n1115 AA DUIVENDRECHT\nNETHERLANDS",
        "Femke de Wit <femke@goudenaar.example>",
        consent=_express(date(2025, 12, 18), "mail of 18 December 2025"),
        language="en",
    ),
)

LATECOMER = _buyer(
    "C0099",
    "Biscuiterie Kerouédan SARL",
    ("101836450", "FR05101836450"),
    "Zone artisanale de Kerlann\n56400 AURAY",
    "Nolwenn Kerouédan <nolwenn@kerouedan.example>",
    consent=_express(date(2026, 4, 8), "premier bon de commande"),
)
"""Buys before anyone has entered it among the customers: its invoice waits for a person."""

BY_CODE = {buyer.customer.code: buyer for buyer in (*BUYERS, LATECOMER)}
FRENCH = tuple(buyer for buyer in BUYERS if not buyer.exported)
