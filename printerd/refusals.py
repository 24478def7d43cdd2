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
    "pcl": Cause(
        0x040A,
        {
            "en": "The document is PCL. Choose a PDF or PostScript driver for this queue.",
            "fr": "Le document est en PCL. Choisissez un pilote PDF ou PostScript pour cette file.",
        },
    ),
    "pcl-xl": Cause(
        0x040A,
        {
            "en": "The document is PCL XL. Choose a PDF or PostScript driver for this queue.",
            "fr": "Le document est en PCL XL. Choisissez un pilote PDF ou PostScript pour cette file.",
        },
    ),
    "esc-p": Cause(
        0x040A,
        {
            "en": "The document is ESC/P. Choose a PDF or PostScript driver for this queue.",
            "fr": "Le document est en ESC/P. Choisissez un pilote PDF ou PostScript pour cette file.",
        },
    ),
    "ebcdic": Cause(
        0x040A,
        {
            "en": "The document is EBCDIC (SCS, AFP). Turn it into ASCII (host print transform), or print PDF.",
            "fr": "Le document est en EBCDIC (SCS, AFP). Convertissez-le en ASCII, ou imprimez en PDF.",
        },
    ),
    "cups-raster": Cause(
        0x040A,
        {
            "en": "The document is CUPS raster: a picture of the page. Choose PDF in the driver of this queue.",
            "fr": "Le document est un raster CUPS, une image de la page. Choisissez PDF dans le pilote de cette file.",
        },
    ),
    "picture": Cause(
        0x040A,
        {
            "en": "The document is a picture. It has no text: print the invoice from the ERP as PDF.",
            "fr": "Le document est une image, sans texte. Imprimez la facture en PDF depuis l’ERP.",
        },
    ),
    "zip": Cause(
        0x040A,
        {
            "en": "The document is a ZIP archive, as office files and XPS are. Print it as PDF.",
            "fr": "Le document est une archive ZIP (fichier bureautique, XPS). Imprimez-le en PDF.",
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
    "closed": Cause(
        0x0404,
        {"en": "The job takes no more documents.", "fr": "Le travail ne prend plus de documents."},
    ),
    "too-many-documents": Cause(
        0x050C,  # server-error-too-many-documents
        {
            "en": "A job takes {limit} documents at most. Print the others as another job.",
            "fr": "Un travail prend au plus {limit} documents. Imprimez les autres dans un autre travail.",
        },
    ),
    "not-a-file": Cause(
        0x0412,  # client-error-document-access-error
        {
            "en": "{file} is a link, a pipe or a device. Put the document itself into the folder.",
            "fr": "{file} est un lien, un tube ou un périphérique. Déposez le document lui-même dans le dossier.",
        },
    ),
    "linked-file": Cause(
        0x0412,
        {
            "en": "{file} has a second name elsewhere (hard link). Put a copy into the folder.",
            "fr": "{file} porte un second nom ailleurs (lien physique). Déposez-en une copie dans le dossier.",
        },
    ),
    "unreadable-file": Cause(
        0x0412,
        {
            "en": "The service may not read {file}. Give its user the right to, and put the file there again.",
            "fr": "Le service n’a pas le droit de lire {file}. Corrigez les droits du fichier, puis redéposez-le.",
        },
    ),
    "sidecar-alone": Cause(
        0x0412,
        {
            "en": "No document came to the sidecar {file}. Put both into the folder, the sidecar first.",
            "fr": "Aucun document n’accompagne {file}. Déposez les deux dans le dossier, le fichier annexe d’abord.",
        },
    ),
    "sidecar-twice": Cause(
        0x0411,
        {
            "en": "Several sidecars belong to {file}. Keep one of them, and put both files into the folder again.",
            "fr": "Plusieurs fichiers annexes accompagnent {file}. N’en gardez qu’un, puis redéposez le tout.",
        },
    ),
    "sidecar-too-large": Cause(
        0x0408,
        {
            "en": "The sidecar {file} is larger than {limit} bytes. Leave in it what belongs to this document.",
            "fr": "Le fichier annexe {file} dépasse {limit} octets. N’y laissez que ce qui concerne ce document.",
        },
    ),
    "sidecar-dtd": Cause(
        0x0411,
        {
            "en": "The sidecar {file} has a DTD, which is not taken. Write its elements without DTD and entities.",
            "fr": "Le fichier annexe {file} contient une DTD, ce qui est refusé. Écrivez-le sans DTD ni entités.",
        },
    ),
    "sidecar-format": Cause(
        0x0411,
        {
            "en": "The sidecar {file} is no list of fields in {format}. Mend it, and put both files there again.",
            "fr": "Le fichier annexe {file} n’est pas une liste de champs {format}. Corrigez-le, redéposez le tout.",
        },
    ),
    "sidecar-field": Cause(
        0x040B,  # client-error-attributes-or-values-not-supported
        {
            "en": "The field “{field}” of {file} is not one line of 255 bytes at most, or stands there twice. Mend it.",
            "fr": "Le champ « {field} » de {file} doit figurer une seule fois, sur une ligne de 255 octets au plus.",
        },
    ),
    "choice": Cause(
        0x040B,
        {
            "en": "The option {option} cannot be “{value}” here. It can be: {allowed}.",
            "fr": "L’option {option} ne peut pas valoir «\u00a0{value}\u00a0» ici. Valeurs possibles\u00a0: {allowed}.",
        },
    ),
    "unknown-choice": Cause(
        0x040B,
        {
            "en": "There is no option {option}. There are: {allowed}.",
            "fr": "L’option {option} n’existe pas. Options possibles\u00a0: {allowed}.",
        },
    ),
    "sidecar-document": Cause(
        0x0411,
        {
            "en": "The sidecar {file} names another document, “{named}”. Write its own name, without a path.",
            "fr": "Le fichier annexe {file} désigne un autre document, « {named} ». Indiquez le sien, sans chemin.",
        },
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
