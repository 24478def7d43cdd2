"""Why an invoice waits, said to people: what is wrong, and what to do about it.

One rule: every code of a :class:`printerd.model.Reason` is a row of :data:`REASONS`, in French and in English; its
sentence fits a line, names the value, and its remedy is a command or a thing to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from printerd.model import Reason

CORRECT = "invoice-printer invoices correct {id} --set {field}=…"
RELEASE = "invoice-printer invoices release {id} --reason …"
REJECT = "invoice-printer invoices reject {id} --reason …"
RETRY = "invoice-printer jobs retry JOB --reason …"
IMPORT = "invoice-printer customers import {name}.csv"


@dataclass(frozen=True, slots=True)
class Wording:
    """Sentence and remedy as templates. ``{facts}`` of the reason fill them; ``{id}`` is the invoice."""

    french: tuple[str, str]
    english: tuple[str, str]
    acceptable: bool = False
    """Whether a person may release the invoice as it is, having looked at the page."""


_AS_PRINTED_FR = f"Comparez avec la page. Corrigez : {CORRECT}, ou acceptez la page telle quelle : {RELEASE}"
_AS_PRINTED_EN = f"Compare with the page. Correct it: {CORRECT}, or accept the page as it is: {RELEASE}"


def _correct_or_accept(field: str) -> tuple[str, str]:
    return _AS_PRINTED_FR.replace("{field}", field), _AS_PRINTED_EN.replace("{field}", field)


_AMOUNT, _SIREN, _VAT_ID, _IBAN, _DATE = map(_correct_or_accept, ("total", "seller_siren", "{field}", "iban", "due_on"))

REASONS: Mapping[str, Wording] = {
    "no-text": Wording(
        (
            "La page ne contient aucun texte, seulement une image.",
            f"Imprimez la facture depuis l’ERP, ou saisissez ses champs : {CORRECT}",
        ),
        (
            "The page holds no text, only a picture.",
            f"Print the invoice from the ERP, or enter its fields: {CORRECT}",
        ),
    ),
    "unknown-layout": Wording(
        (
            "Aucun modèle ne reconnaît cette mise en page.",
            f"Ajoutez un modèle au dossier templates, puis : {RETRY}. Ou saisissez les champs : {CORRECT}",
        ),
        (
            "No template knows this layout.",
            f"Add a template to the templates folder, then: {RETRY}. Or enter the fields: {CORRECT}",
        ),
    ),
    "field-missing": Wording(
        ("Champ introuvable : {label}.", f"Lisez-le sur la page et saisissez-le : {CORRECT}"),
        ("Not found on the page: {label}.", f"Read it on the page and enter it: {CORRECT}"),
    ),
    "bad-field": Wording(
        ("Valeur illisible pour le champ {label} : « {value} ».", f"Saisissez la valeur exacte : {CORRECT}"),
        ("The {label} cannot be read: “{value}”.", f"Enter the exact value: {CORRECT}"),
    ),
    "amounts-differ": Wording(
        ("Le total ne tombe pas juste : {net} HT + {vat} de TVA ≠ {total} TTC.", _AMOUNT[0]),
        ("The total does not add up: {net} net + {vat} VAT ≠ {total}.", _AMOUNT[1]),
        acceptable=True,
    ),
    "bad-siren": Wording(
        ("Le numéro SIREN {value} n’existe pas : sa clé est fausse.", _SIREN[0]),
        ("SIREN {value} cannot exist: its check digit is wrong.", _SIREN[1]),
        acceptable=True,
    ),
    "bad-vat-id": Wording(
        ("Le numéro de TVA {value} n’existe pas : sa clé ou sa forme est fausse.", _VAT_ID[0]),
        ("VAT number {value} cannot exist: its check digits or its form are wrong.", _VAT_ID[1]),
        acceptable=True,
    ),
    "bad-iban": Wording(
        ("L’IBAN {iban} n’existe pas : sa clé est fausse.", f"Lisez-le sur la page et corrigez : {CORRECT}"),
        ("IBAN {iban} cannot exist: its check digits are wrong.", f"Read it on the page and correct it: {CORRECT}"),
    ),
    "foreign-seller": Wording(
        (
            "Le vendeur {seller} n’est pas l’un de vos émetteurs.",
            f"Si c’est bien votre société, complétez issuers dans config.toml, puis : {RETRY}. Sinon : {REJECT}",
        ),
        (
            "The seller {seller} is not one of your issuers.",
            f"If it is your firm, complete issuers in config.toml, then: {RETRY}. Otherwise: {REJECT}",
        ),
    ),
    "foreign-iban": Wording(
        (
            "L’IBAN {iban} n’est pas un compte de l’émetteur.",
            "Cherchez qui a changé la page. Si le compte est à vous, ajoutez-le à issuers.NOM.ibans, puis :"
            f" {RETRY}. Sinon : {REJECT}",
        ),
        (
            "IBAN {iban} is not an account of the issuer.",
            "Find out who changed the page. If the account is yours, add it to issuers.NAME.ibans, then:"
            f" {RETRY}. Otherwise: {REJECT}",
        ),
    ),
    "dates": Wording(
        ("Dates invraisemblables : émise le {issued_on}, échéance {due_on}.", _DATE[0]),
        ("Implausible dates: issued on {issued_on}, due on {due_on}.", _DATE[1]),
        acceptable=True,
    ),
    "number-used": Wording(
        (
            "Le numéro {number} appartient déjà à une autre facture, au contenu différent.",
            f"Comparez avec {{first}}. Mal lu : {CORRECT}. Émise deux fois : {REJECT}",
        ),
        (
            "Number {number} already belongs to another invoice with other content.",
            f"Compare with {{first}}. Misread: {CORRECT}. Issued twice: {REJECT}",
        ),
    ),
    "first-rejected": Wording(
        (
            "La même facture, imprimée une première fois, a été rejetée.",
            f"Voyez pourquoi : {{first}}. À envoyer malgré tout : {RELEASE}. Sinon : {REJECT}",
        ),
        (
            "The same invoice was printed before, and that print was rejected.",
            f"See why: {{first}}. To be sent all the same: {RELEASE}. If not: {REJECT}",
        ),
        acceptable=True,
    ),
    "unknown-customer": Wording(
        (
            "Le client {code} n’est pas dans le fichier des clients.",
            f"Ajoutez-le : {IMPORT.format(name='FICHIER')}, ou corrigez le code : {CORRECT}",
        ),
        (
            "Customer {code} is not among the customers.",
            f"Add it: {IMPORT.format(name='FILE')}, or correct the code: {CORRECT}",
        ),
    ),
    "no-address": Wording(
        (
            "Le client {code} accepte le courriel, mais n’a pas d’adresse.",
            f"Complétez ses contacts : {IMPORT.format(name='FICHIER')}",
        ),
        (
            "Customer {code} takes mail but has no address.",
            f"Add a contact: {IMPORT.format(name='FILE')}",
        ),
    ),
    "review": Wording(
        (
            "L’expéditeur a demandé une vérification avant l’envoi.",
            f"Vérifiez la page, puis laissez-la partir : {RELEASE}. Sinon : {REJECT}",
        ),
        (
            "The sender asked for a review before it is sent.",
            f"Look at the page, then let it go: {RELEASE}. If not: {REJECT}",
        ),
        acceptable=True,
    ),
    "other-template": Wording(
        (
            "La mise en page est celle du modèle {template}, et non {chosen} comme demandé.",
            f"Comparez avec la page. À envoyer malgré tout : {RELEASE}. Sinon : {REJECT}",
        ),
        (
            "The layout is that of template {template}, not {chosen} as chosen.",
            f"Compare with the page. To be sent all the same: {RELEASE}. If not: {REJECT}",
        ),
        acceptable=True,
    ),
    "internal": Wording(
        (
            "Une erreur du programme a interrompu ce travail ; elle est notée dans le journal.",
            f"Relancez : {RETRY}. Si cela recommence, envoyez le journal au support.",
        ),
        (
            "A fault of the program stopped this job; it is noted in the log.",
            f"Try again: {RETRY}. If it comes back, send the log to support.",
        ),
    ),
    "empty": Wording(
        ("Le document est vide.", "Réimprimez-le depuis l’ERP."),
        ("The document is empty.", "Print it again from the ERP."),
    ),
    "encrypted": Wording(
        ("Le document est protégé par un mot de passe.", "Imprimez-le sans mot de passe."),
        ("The document is protected by a password.", "Print it without a password."),
    ),
    "truncated": Wording(
        ("Le document est incomplet : sa fin manque.", "Réimprimez-le depuis l’ERP."),
        ("The document is cut short: its end is missing.", "Print it again from the ERP."),
    ),
    "unreadable": Wording(
        (
            "Le document est endommagé et ne peut pas être lu.",
            "Réimprimez-le ; si cela recommence, vérifiez l’export PDF de l’ERP.",
        ),
        (
            "The document is damaged and cannot be read.",
            "Print it again; if it comes back, look at the PDF export of the ERP.",
        ),
    ),
    "not-pdf": Wording(
        ("Le document n’est pas un PDF.", "Choisissez PDF comme format de sortie dans l’ERP."),
        ("The document is not a PDF.", "Choose PDF as the output format of the ERP."),
    ),
    "not-postscript": Wording(
        ("Le document n’est pas du PostScript.", "Choisissez PDF comme format de sortie dans l’ERP."),
        ("The document is not PostScript.", "Choose PDF as the output format of the ERP."),
    ),
    "not-text": Wording(
        ("Le document n’est pas du texte.", "Choisissez PDF comme format de sortie dans l’ERP."),
        ("The document is not text.", "Choose PDF as the output format of the ERP."),
    ),
    "unknown-format": Wording(
        ("Ce format de document n’est pas accepté.", "Imprimez en PDF, en PostScript ou en texte."),
        ("This document format is not taken.", "Print as PDF, PostScript or text."),
    ),
    "raster": Wording(
        (
            "C’est une image de la page, sans texte : choisissez PDF dans la file d’impression et réimprimez.",
            "Choisissez PDF (ou PostScript) dans la file d’impression, puis réimprimez la facture depuis l’ERP.",
        ),
        (
            "This is a picture of the page, without text: choose PDF in the print queue and print it again.",
            "Choose PDF (or PostScript) in the print queue, then print the invoice again from the ERP.",
        ),
    ),
    "too-many-pages": Wording(
        ("Le document a trop de pages.", "Imprimez-le en plusieurs travaux."),
        ("The document has too many pages.", "Print it in several jobs."),
    ),
    "reader-died": Wording(
        (
            "La lecture du document a été arrêtée : trop long, trop gros ou défectueux.",
            f"Réimprimez la facture depuis l’ERP, ou relancez la lecture : {RETRY}",
        ),
        (
            "Reading the document was stopped: too long, too large or defective.",
            f"Print the invoice again from the ERP, or have it read again: {RETRY}",
        ),
    ),
}

HELD = frozenset({"raster"})
"""Documents that are kept for a person instead of being given up: what is wrong may be mended here."""

ACCEPTABLE = frozenset(code for code, wording in REASONS.items() if wording.acceptable)
"""What a release silences. A missing number or customer, a foreign seller or account never: those are mended."""

_FIELD_OF = {"number-used": "number", "unknown-customer": "customer_code", "bad-iban": "iban"}
"""The field that a remedy corrects, where the reason's facts do not name it."""

FIELD_LABELS: Mapping[str, tuple[str, str]] = {
    "number": ("numéro de facture", "invoice number"),
    "kind": ("nature du document", "kind of document"),
    "issued_on": ("date d’émission", "date of issue"),
    "due_on": ("échéance", "due date"),
    "customer_code": ("code client", "customer code"),
    "net": ("montant HT", "net amount"),
    "vat": ("montant de la TVA", "VAT amount"),
    "total": ("montant TTC", "total"),
    "currency": ("devise", "currency"),
    "iban": ("IBAN", "IBAN"),
    "seller": ("SIREN ou numéro de TVA du vendeur", "seller’s SIREN or VAT number"),
    "seller_siren": ("SIREN du vendeur", "seller’s SIREN"),
    "seller_vat_id": ("numéro de TVA du vendeur", "seller’s VAT number"),
    "seller_name": ("nom du vendeur", "seller’s name"),
    "buyer_name": ("nom du client", "buyer’s name"),
    "buyer_vat_id": ("numéro de TVA du client", "buyer’s VAT number"),
}

_MONTHS = {
    "fr": ("janvier", "février", "mars", "avril", "mai", "juin",
           "juillet", "août", "septembre", "octobre", "novembre", "décembre"),
    "en": ("January", "February", "March", "April", "May", "June",
           "July", "August", "September", "October", "November", "December"),
}  # fmt: skip


def sentence(reason: Reason, language: str) -> str:
    """What is wrong, in one line; ``language`` is ``fr``, anything else is English."""
    return _filled(reason, language, 0, "ID")


def remedy(reason: Reason, language: str, invoice: str = "ID") -> str:
    """What to do; ``invoice`` stands in its commands."""
    return _filled(reason, language, 1, invoice)


def _filled(reason: Reason, language: str, part: int, invoice: str) -> str:
    spoken = "fr" if language.startswith("fr") else "en"
    wording = REASONS[reason.code]
    text = (wording.french if spoken == "fr" else wording.english)[part]
    field = reason.facts.get("field") or _FIELD_OF.get(reason.code, "FIELD")
    facts = {name: _shown(name, value, spoken) for name, value in reason.facts.items()}
    facts |= {"id": invoice, "field": _settable(field), "label": _label(field, spoken)}
    filled = re.sub(r"\{(\w+)\}", lambda match: facts.get(match[1], "?"), text)
    return _spaced(filled) if spoken == "fr" else filled


def _settable(field: str) -> str:
    """The seller is found by either of its ids; a correction names one."""
    return "seller_siren" if field == "seller" else field


def _label(field: str, language: str) -> str:
    french, english = FIELD_LABELS.get(field, (field, field))
    return french if language == "fr" else english


def _shown(name: str, value: str, language: str) -> str:
    show = _SHOWN.get(name)
    return show(value, language) if show else value


def _amount(value: str, language: str) -> str:
    match = re.fullmatch(r"(-?)(\d+)\.(\d+)", value)
    if not match:
        return value
    grouped = f"{int(match[2]):,}"
    if language == "fr":
        return f"{match[1]}{grouped.replace(',', chr(0x202F))},{match[3]}"
    return f"{match[1]}{grouped}.{match[3]}"


def _date(value: str, language: str) -> str:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return "–"
    first = "1er" if language == "fr" and day.day == 1 else str(day.day)
    return f"{first} {_MONTHS[language][day.month - 1]} {day.year}"


def _grouped(value: str, _language: str) -> str:
    """An IBAN as it is printed (ISO 13616): groups of four."""
    return " ".join(value[n : n + 4] for n in range(0, len(value), 4))


_SHOWN: Mapping[str, Callable[[str, str], str]] = {
    "net": _amount,
    "vat": _amount,
    "total": _amount,
    "issued_on": _date,
    "due_on": _date,
    "iban": _grouped,
}


def _spaced(text: str) -> str:
    """French puts a no-break space before : ; ? ! and inside « »; the tables are written with plain ones."""
    return re.sub(r" (?=[:;?!»])|(?<=«) ", "\N{NO-BREAK SPACE}", text)
