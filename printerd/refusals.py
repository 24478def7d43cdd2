"""Why a document is not taken: one row for each cause, with its IPP status and its sentence in each language.

One rule: whoever refuses a document names a cause from this table; the print
client reads its status, the job's row keeps its code and says its sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from printerd.errors import IppError


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a document is not taken: the IPP status, and the sentence by language."""

    status: int
    sentences: Mapping[str, str]


CAUSES: Final[Mapping[str, Cause]] = {
    "cut": Cause(
        0x0400,  # client-error-bad-request: nobody is left to read it
        {
            "en": "The connection ended before the document did. Print it again.",
            "fr": "La connexion s’est interrompue avant la fin du document. Relancez l’impression.",
        },
    ),
    "no-end": Cause(
        0x0411,  # client-error-document-format-error
        {
            "en": "The end of the document is missing: %%EOF in PDF, %%EOF or Ctrl-D in PostScript, a line's end in "
            "text. Print it again.",
            "fr": "La fin du document manque\u00a0: %%EOF en PDF, %%EOF ou Ctrl-D en PostScript, une fin de ligne en "
            "texte. Relancez l’impression.",
        },
    ),
    "too-large": Cause(
        0x0408,  # client-error-request-entity-too-large
        {
            "en": "The document is larger than {limit} bytes. Print it in parts.",
            "fr": "Le document dépasse {limit} octets. Imprimez-le en plusieurs parties.",
        },
    ),
    "unknown-format": Cause(
        0x040A,  # client-error-document-format-not-supported
        {
            "en": "The document is neither PDF, PostScript nor plain text. Choose one of these in the queue's driver.",
            "fr": "Le document n’est ni PDF, ni PostScript, ni texte brut. Choisissez l’un de ces formats.",
        },
    ),
    "foreign-format": Cause(
        0x040A,
        {
            "en": "The document is {language}, which is not taken. Choose a PDF or PostScript driver, or print plain "
            "text.",
            "fr": "Le document est en {language}, qui n’est pas accepté. Choisissez un pilote PDF ou PostScript, ou "
            "imprimez en texte brut.",
        },
    ),
    "format-error": Cause(
        0x0411,  # client-error-document-format-error
        {
            "en": "The document was announced as {declared}, and it is not. Check the queue's driver.",
            "fr": "Le document est annoncé comme {declared}, mais il ne l’est pas. Vérifiez le pilote de la file.",
        },
    ),
    "empty": Cause(
        0x0411,
        {
            "en": "The document is empty. Print it again.",
            "fr": "Le document est vide. Relancez l’impression.",
        },
    ),
    "compression-error": Cause(
        0x0410,  # client-error-compression-error
        {
            "en": "The {compression} data of the document is damaged. Print it again.",
            "fr": "Les données {compression} du document sont abîmées. Relancez l’impression.",
        },
    ),
    "no-document": Cause(
        0x0404,  # client-error-not-possible
        {
            "en": "The job was closed without a document.",
            "fr": "Le travail a été fermé sans document.",
        },
    ),
    "timeout": Cause(
        0x0405,  # client-error-timeout
        {
            "en": "No document came within {seconds} seconds. Print it again.",
            "fr": "Aucun document n’est arrivé en {seconds} secondes. Relancez l’impression.",
        },
    ),
    "canceled": Cause(
        0x0508,  # server-error-job-canceled
        {"en": "The job was canceled.", "fr": "Le travail a été annulé."},
    ),
    "one-document": Cause(
        0x0509,  # server-error-multiple-document-jobs-not-supported
        {"en": "A job takes one document.", "fr": "Un travail ne contient qu’un document."},
    ),
}


class Refused(IppError):
    """A document that is not taken. The sender's print system shows the message; the job's row says why."""

    def __init__(self, code: str, **facts: str | int) -> None:
        self.code = code
        self.facts = {name: str(fact) for name, fact in facts.items()}
        super().__init__(CAUSES[code].status, self.sentence("en"))

    @property
    def reason(self) -> Mapping[str, Any]:
        return {"code": self.code, "facts": self.facts}

    def sentence(self, language: str) -> str:
        """The message in that language, in English when there is none."""
        sentences = CAUSES[self.code].sentences
        return sentences.get(language, sentences["en"]).format(**self.facts)
