"""What the print queue says of a job (job-state-message): derived from its invoices whenever one of them changes.

One rule: the sentence is never stored anywhere but in ``jobs.message`` and
never built from anything but rows, so it cannot disagree with them. ERP users
read it in their print queue: it names numbers, masks addresses, fits a line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from printerd import reasons
from printerd.choices import IN_VAIN, TWICE
from printerd.model import JobState
from printerd.storage import archive
from printerd.storage.archive import Tally
from printerd.storage.schema import jobs

STANDINGS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "en": {
        "waiting": ("waits for accounting", "wait for accounting"),
        "checking": ("is being checked", "are being checked"),
        "ready": ("is being sealed", "are being sealed"),
        "reprint": ("was printed before and is not sent again", "were printed before and are not sent again"),
        "rejected": ("rejected", "rejected"),
        "specimen": ("a specimen of the rehearsal", "specimens of the rehearsal"),
        "due": ("archived, about to be sent", "archived, about to be sent"),
        "pending": ("archived, mail under way", "archived, mail under way"),
        "accepted": ("mailed", "mailed"),
        "opened": ("mailed and opened", "mailed and opened"),
        "acknowledged": ("acknowledged by the customer", "acknowledged by the customer"),
        "refused": ("declined by the customer", "declined by the customers"),
        "failed": ("could not be mailed", "could not be mailed"),
        "uncertain": ("perhaps mailed, accounting decides", "perhaps mailed, accounting decides"),
        "held": ("held after a restore, accounting decides", "held after a restore, accounting decides"),
        "paper": ("put into the out-tray for paper", "put into the out-tray for paper"),
        "revoked": ("withdrawn", "withdrawn"),
        "elsewhere": ("sent before the restore", "sent before the restore"),
    },
    "fr": {
        "waiting": ("attend la comptabilité", "attendent la comptabilité"),
        "checking": ("en cours de contrôle", "en cours de contrôle"),
        "ready": ("en cours de scellement", "en cours de scellement"),
        "reprint": ("déjà imprimée, non renvoyée", "déjà imprimées, non renvoyées"),
        "rejected": ("écartée", "écartées"),
        "specimen": ("spécimen de la répétition", "spécimens de la répétition"),
        "due": ("archivée, envoi imminent", "archivées, envoi imminent"),
        "pending": ("archivée, courriel en cours", "archivées, courriels en cours"),
        "accepted": ("envoyée par courriel", "envoyées par courriel"),
        "opened": ("envoyée et ouverte", "envoyées et ouvertes"),
        "acknowledged": ("reçue par le client", "reçues par les clients"),
        "refused": ("refusée par le client", "refusées par les clients"),
        "failed": ("non distribuée", "non distribuées"),
        "uncertain": ("peut-être envoyée, la comptabilité décide", "peut-être envoyées, la comptabilité décide"),
        "held": (
            "retenue après une restauration, la comptabilité décide",
            "retenues après une restauration, la comptabilité décide",
        ),
        "paper": ("déposée pour envoi papier", "déposées pour envoi papier"),
        "revoked": ("retirée", "retirées"),
        "elsewhere": ("envoyée avant la restauration", "envoyées avant la restauration"),
    },
}
"""Where an invoice stands, for one and for several."""

COUNTED: Mapping[str, tuple[str, str]] = {"en": ("invoice", "invoices"), "fr": ("facture", "factures")}
NOTHING: Mapping[str, str] = {
    "en": "No invoice was found in the document.",
    "fr": "Le document ne contient aucune facture.",
}
NOTES: Mapping[str, Mapping[str, str]] = {
    "en": {
        IN_VAIN: "mail was chosen, but the customer has not agreed to electronic invoices",
        TWICE: "and on paper",
    },
    "fr": {
        IN_VAIN: "le courriel était choisi, mais le client n’a pas accepté la facture électronique",
        TWICE: "et sur papier",
    },
}
"""What became of the sender's choice, in brackets."""
COLON: Mapping[str, str] = {"en": ":", "fr": "\u00a0:"}


def refresh(connection: sa.Connection, ids: Collection[str], language: str) -> None:
    """Write the sentence of each job that is done."""
    done = connection.scalars(_DONE, {"ids": list(ids)}).all()
    found = archive.tallies(connection, done)
    said = [(job, sentence(tally, language)) for job, tally in found.items()]
    if said:
        connection.execute(_SAY, [{"own": job, "said": words, "message": words} for job, words in said])


_DONE = sa.select(jobs.c.id).where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)), jobs.c.state == JobState.DONE)
_SAY = jobs.update().where(jobs.c.id == sa.bindparam("own"), jobs.c.message != sa.bindparam("said"))


def sentence(found: Tally, language: str) -> str:
    """``3 invoices: 2 mailed, 1 waits for accounting (…)`` or, for one, ``FA-2026-0042 mailed`` (pure)."""
    total, words = sum(found.standings.values()), STANDINGS[language]
    if total == 0:
        return NOTHING[language]
    why = {name: f" ({NOTES[language][note]})" for name, note in found.notes.items()}
    why |= {"waiting": _reasons(found, language)}
    if total == 1:
        (standing,) = found.standings
        return f"{found.number or COUNTED[language][0]} {words[standing][0]}{why.get(standing, '')}"
    parts = [f"{n} {words[name][n > 1]}{why.get(name, '')}" for name, n in found.standings.items()]
    return f"{total} {COUNTED[language][1]}{COLON[language]} {', '.join(parts)}"


def _reasons(found: Tally, language: str) -> str:
    """Why invoices wait, in brackets; a reason that several share is said once."""
    said = dict.fromkeys(reasons.sentence(reason, language).rstrip(".") for reason in found.reasons)
    return f" ({'; '.join(said)})" if said else ""
