"""Every word of the console, in French and in English, and how both write dates, amounts and places.

A key stands in both tables or in none (a test counts them). Words say what is
known: a page was visited, never that an invoice was read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from babel import dates, numbers

from printerd.model import Box
from printerd.storage.archive import COUNTED

LOCALES = {"fr": "fr_FR", "en": "en_GB"}
NO_BREAK = "\N{NO-BREAK SPACE}"
A4 = (595.0, 842.0)
"""Width and height in points of the paper that places are said for."""

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "console": "Invoice Printer",
        "skip": "Skip to the content",
        "nav": "Main",
        "nav.invoices": "Invoices",
        "nav.jobs": "Print jobs",
        "signed-in": "Signed in as {who}",
        "logout": "Sign out",
        "login.title": "Sign in",
        "login.for": "This link signs you in as {who}. It works once, and stays good for ten minutes after it was "
        "made.",
        "login.button": "Sign in",
        "nothing.title": "Nothing here",
        "nothing.body": "There is nothing at this address, or you are not signed in.",
        "nothing.remedy": "If you work here, ask for a new link on the server:",
        "missing.title": "Not found",
        "missing.body": "The console has no such page.",
        "missing.remedy": "Look for it in the list.",
        "stale": "This form is too old or came from elsewhere. Go back, reload the page and send it again.\n",
        "away.title": "Not available just now",
        "search": "Search invoices",
        "search.hint": "Number, customer or words on the page",
        "search.button": "Search",
        "search.clear": "Clear",
        "tabs.invoices": "Invoices by state",
        "tabs.jobs": "Print jobs by state",
        "all": "All",
        "newer": "Newer",
        "older": "Older",
        "pages": "Pages of the list",
        "column.number": "Number",
        "column.customer": "Customer",
        "column.issued": "Issued",
        "column.total": "Total",
        "column.state": "State",
        "column.delivery": "Delivery",
        "column.action": "Next step",
        "column.job": "Job",
        "column.title": "Title",
        "column.from": "From",
        "column.when": "Received",
        "column.found": "Invoices",
        "unread": "No number",
        "kind.invoice": "Invoice",
        "kind.credit-note": "Credit note",
        "state.waiting": "To review",
        "state.checking": "Being checked",
        "state.ready": "Being sealed",
        "state.progress": "In progress",
        "state.archived": "Archived",
        "state.reprint": "Reprint",
        "state.rejected": "Rejected",
        "state.specimen": "Specimen",
        "job.incoming": "Arriving",
        "job.received": "Received",
        "job.processing": "Processing",
        "job.progress": "In progress",
        "job.done": "Done",
        "job.aborted": "Refused",
        "job.canceled": "Cancelled",
        "job.held": "On hold",
        "job.attention": "Needs attention",
        "step.failed": "Mail failed",
        "step.uncertain": "Mail uncertain",
        "step.refused": "Link declined",
        "step.due": "About to leave",
        "step.pending": "Mail on its way",
        "step.accepted": "Mailed",
        "step.opened": "Page visited",
        "step.acknowledged": "Acknowledged",
        "step.paper": "On paper",
        "step.revoked": "Withdrawn",
        "act.review": "Review",
        "act.open": "Open",
        "act.resend": "Send again",
        "act.look": "See why",
        "empty.search": "Nothing matches “{search}”.",
        "empty.search.next": "Try the beginning of the number, the customer’s code, or whole words of the page.",
        "empty.all": "No invoice yet.",
        "empty.all.next": "Print one to the printer “Invoice Printer”: it appears here within seconds.",
        "empty.waiting": "Nothing waits for you.",
        "empty.waiting.next": "Invoices that could not be read or checked appear here, before they are sealed or "
        "mailed.",
        "empty.progress": "Nothing is being worked on.",
        "empty.progress.next": "Invoices pass through here on their way to the archive, mostly within a second.",
        "empty.archived": "Nothing archived yet.",
        "empty.archived.next": "Invoices that passed every check appear here, sealed and timestamped.",
        "empty.reprint": "No reprints.",
        "empty.reprint.next": "An invoice printed again with the same content appears here; it is not mailed again.",
        "empty.rejected": "Nothing rejected.",
        "empty.rejected.next": "Invoices that you reject appear here with your reason.",
        "empty.jobs": "No print job here.",
        "empty.jobs.next": "Whatever is printed to “Invoice Printer” appears here, even when it is refused.",
        "empty.specimen": "No specimen.",
        "empty.specimen.next": "Invoices of the rehearsal appear here once the printer is live.",
        "rehearsal.title": "Rehearsal",
        "rehearsal.body": "Mails go only to the rehearsal address; nothing here counts. To end it: "
        "invoice-printer go-live",
        "trouble": "Tried again by itself. What is in the way: {trouble}",
        "invoice.pdf": "Document {number}",
        "invoice.open-pdf": "Open the PDF",
        "invoice.job": "Print job {number}",
        "invoice.page": "page {first}",
        "invoice.pages": "pages {first} to {last}",
        "waits.title": "This invoice waits for you",
        "waits.body": "It is not sealed and nobody has received it.",
        "waits.place": "Show on {place}",
        "place": "page {page}, {where}",
        "place.top": "top",
        "place.middle": "middle",
        "place.bottom": "bottom",
        "place.left": "left",
        "place.centre": "centre",
        "place.right": "right",
        "remedy.correct": "Read the value on the page and correct the marked field below.",
        "remedy.accept": "Compare with the page. Correct the marked fields, or release the invoice as it stands.",
        "remedy.unread": "Enter the fields below and release. If this layout will come again, ask IT for a template.",
        "remedy.customer": "Correct the customer code below, or have the customer imported and release: "
        "the invoice is then checked again.",
        "remedy.contact": "Have a mail address added to the customer, then release: the invoice is then checked again.",
        "remedy.seller": "If this is your firm, IT completes the issuers in the settings. "
        "If not, find out who printed it, and reject it.",
        "remedy.iban": "Find out who changed the page. If the account is yours, IT adds it to the settings. "
        "If not, reject the invoice.",
        "remedy.number": "If the number was misread, correct it below. If it was issued twice, reject this one.",
        "remedy.retry": "Have the print job read again, or print the invoice again from the ERP.",
        "correct.title": "Correct what was read",
        "correct.note": "A correction changes what we read, never the page. It is written to the ledger under "
        "your name.",
        "correct.button": "Correct and check again",
        "correct.wrong": "Check this value.",
        "correct.missing": "Not found on the page.",
        "correct.read": "Read on the page: {value}",
        "correct.nothing": "No field was changed.",
        "correct.nothing.next": "Change at least one value, or release the invoice as it stands.",
        "reason": "Reason",
        "reason.correct": "Why do you correct it?",
        "reason.release": "Why may it go out as it stands?",
        "reason.reject": "Why is it rejected?",
        "reason.resend": "Why is it sent again?",
        "reason.retry": "What has changed since?",
        "reason.needed": "A reason is needed.",
        "reason.needed.next": "Write one sentence; it stands in the ledger beside your name.",
        "release.title": "Release",
        "release.note": "Checks the invoice again and accepts what may be accepted. "
        "A missing number, an unknown customer or a foreign account is never accepted.",
        "release.button": "Release",
        "reject.title": "Reject",
        "reject.note": "The invoice is kept and never sealed nor sent. This cannot be undone.",
        "reject.button": "Reject this invoice",
        "progress.title": "Being worked on",
        "progress.body": "The page renews itself until it is done.",
        "specimen.title": "Specimen",
        "specimen.body": "It belongs to the rehearsal and counts for nothing; its links no longer work.",
        "reprint.title": "Printed again",
        "reprint.body": "Same number and same content as an invoice that is archived already: it was not mailed again.",
        "reprint.link": "See the first print",
        "rejected.title": "Rejected",
        "rejected.body": "It was never sealed nor sent.",
        "done.correct": "Corrected. The invoice is being checked again.",
        "done.release": "Released. The invoice is being checked again.",
        "done.reject": "Rejected.",
        "done.resend": "Another mail with a link of its own is on its way.",
        "done.retry": "The print job is being read again.",
        "delivery.title": "Delivery",
        "delivery.none": "Not sent yet.",
        "delivery.none.next": "The invoice is sent as soon as it is archived.",
        "delivery.mail": "By mail",
        "delivery.paper": "On paper",
        "delivery.paper.body": "The print-ready document lies in the out-tray: {paper}",
        "delivery.paper.due": "The print-ready document is being written to the out-tray.",
        "delivery.rehearsal": "Rehearsal: nothing here counts, the mail went to the rehearsal address.",
        "delivery.expires": "Link good until {day}",
        "delivery.due": "It leaves within seconds.",
        "delivery.revoked": "Withdrawn: its links no longer work.",
        "delivery.reply": "Mail server: {reply}",
        "delivery.failed": "The mail did not arrive. Have the address corrected if need be, then send it again.",
        "delivery.uncertain": "The connection broke at the very end: the mail may have arrived or not. It is never "
        "repeated by itself. A visit to the page settles it; otherwise ask the customer, then send it again.",
        "delivery.refused.paper": "The customer prefers paper. Print the invoice and post it.",
        "delivery.refused.not-for-me": "Whoever opened the link says it is not for them. Check the address.",
        "delivery.question": "Question: “{text}”",
        "delivery.mailed": "Mailed {moment}",
        "delivery.opened": "Page visited {moment}",
        "delivery.acknowledged": "Acknowledged {moment}",
        "delivery.handed-over": "File sent whole {moment}",
        "receipt.download": "Download receipt no. {number}",
        "receipt.due": "The receipt is being sealed.",
        "resend.title": "Send again",
        "resend.to": "Send again to {email}",
        "time.title": "Time line",
        "facts.title": "Facts",
        "fact.number": "Number",
        "fact.kind": "Kind",
        "fact.issued_on": "Issued on",
        "fact.due_on": "Due on",
        "fact.customer_code": "Customer code",
        "fact.buyer_name": "Customer",
        "fact.net": "Net",
        "fact.vat": "VAT",
        "fact.total": "Total",
        "fact.currency": "Currency",
        "fact.iban": "IBAN",
        "fact.seller_name": "Seller",
        "fact.seller_siren": "Seller’s SIREN",
        "fact.seller_vat_id": "Seller’s VAT number",
        "fact.template": "Layout",
        "fact.corrected": "corrected",
        "proof.title": "Seal and hashes",
        "proof.none": "Not sealed. The seal, its timestamp and the hash of the sealed document appear here.",
        "proof.sealed": "Sealed document (SHA-256)",
        "proof.pdf": "PDF as it was read (SHA-256)",
        "proof.original": "Received bytes (SHA-256)",
        "proof.original.download": "Download the received file",
        "proof.certificate": "Certificate of the seal (SHA-256)",
        "proof.sealed_at": "Sealed",
        "proof.timestamp": "Timestamp",
        "proof.authority": "{authority}, serial number {serial}",
        "proof.local": "local authority: order, not time",
        "proof.ledger": "Ledger",
        "proof.entry": "entry {index}",
        "proof.check": "Check it anywhere with: invoice-printer verify FILE.pdf",
        "job.title": "Print job {number}",
        "job.message": "What became of it",
        "job.facts": "Facts",
        "job.user": "User",
        "job.host": "Computer",
        "job.format": "Format",
        "job.size": "Size",
        "job.source": "Way in",
        "job.completed": "Finished",
        "job.retry.title": "Read it again",
        "job.retry.note": "After a new template, a new customer or a repaired fault. The received file is kept.",
        "job.retry.button": "Read again",
        "job.next.held": "Something failed on our side. Mend the cause, then have it read again.",
        "job.next.aborted": "The document could not be used. Mend the cause and print it again from the ERP.",
        "job.invoices": "Invoices in this job",
        "job.invoices.none": "No invoice was found in it yet.",
        "event.printed": "Printed by {user} on {host}",
        "event.printed.detail": "{title}",
        "event.read": "Read with the layout {template}",
        "event.unread": "No known layout",
        "event.sealed": "Sealed and timestamped",
        "event.sealed.detail": "{authority}",
        "event.ledger.invoice": "Entered in the ledger",
        "event.ledger.invoice.detail": "Entry {index}",
        "event.ledger.act.correct": "Corrected by {who}",
        "event.ledger.act.correct.detail": "{fields} – {reason}",
        "event.ledger.act.release": "Released by {who}",
        "event.ledger.act.release.detail": "{reason}",
        "event.ledger.act.reject": "Rejected by {who}",
        "event.ledger.act.reject.detail": "{reason}",
        "event.ledger.act.retry": "Read again at the request of {who}",
        "event.ledger.act.retry.detail": "{reason}",
        "event.ledger.act.resend": "Sent again by {who}",
        "event.ledger.act.resend.detail": "{reason}",
        "event.sent.mail": "Handed to the delivery server",
        "event.sent.mail.detail": "{why}",
        "event.sent.paper": "Written to the out-tray for the post",
        "event.sent.paper.detail": "{why}",
        "event.dispatch": "Another mail was ordered",
        "event.dispatch.detail": "{reason}",
        "event.ConsignmentNotification": "Accepted by the mail server",
        "event.ConsignmentNotification.detail": "{reply}",
        "event.ConsignmentNotificationFailure": "Mail not delivered",
        "event.ConsignmentNotificationFailure.detail": "{reply} {reason}",
        "event.MailUncertain": "Uncertain whether the mail left",
        "event.MailUncertain.detail": "{reason}",
        "event.NotificationDelivered": "Delivery report came back",
        "event.NotificationAccessTracking": "Page requested",
        "event.NotificationAccessTracking.detail": "{visitor} – {agent}",
        "event.ConsignmentAcceptance": "Button pressed: receipt acknowledged",
        "event.ConsignmentAcceptance.detail": "{identified_by} {signs}",
        "event.ContentHandover": "File sent whole",
        "event.ContentHandover.detail": "{bytes_sent} bytes",
        "event.ContentHandoverFailure": "Download broken off",
        "event.ContentHandoverFailure.detail": "{reason}",
        "event.ConsignmentRejection": "Link declined",
        "event.ConsignmentRejection.detail": "{refusal}",
        "event.AcceptanceRejectionExpiry": "The link expired unused",
        "event.PaperHandover": "Printed on paper",
        "event.Question": "A question came in",
        "event.Question.detail": "“{text}”",
        "event.receipt": "Receipt no. {number} sealed and filed",
        "visitor.person?": "perhaps a person",
        "visitor.automatic": "a program",
        "visitor.speculative": "fetched in advance by a program",
        "refusal.paper": "prefers paper",
        "refusal.not-for-me": "says it is not for them",
    },
    "fr": {
        "console": "Invoice Printer",
        "skip": "Aller au contenu",
        "nav": "Principale",
        "nav.invoices": "Factures",
        "nav.jobs": "Impressions",
        "signed-in": "Session de {who}",
        "logout": "Se déconnecter",
        "login.title": "Ouvrir une session",
        "login.for": "Ce lien ouvre une session au nom de {who}. Il sert une seule fois, dans les dix minutes.",
        "login.button": "Ouvrir la session",
        "nothing.title": "Rien ici",
        "nothing.body": "Il n’y a rien à cette adresse, ou votre session est fermée.",
        "nothing.remedy": "Si vous travaillez ici, demandez un nouveau lien sur le serveur :",
        "missing.title": "Page introuvable",
        "missing.body": "Cette page n’existe pas dans la console.",
        "missing.remedy": "Cherchez dans la liste.",
        "stale": "Ce formulaire est périmé ou vient d’ailleurs. Revenez en arrière, rechargez la page, renvoyez-le.\n",
        "away.title": "Indisponible pour l’instant",
        "search": "Rechercher une facture",
        "search.hint": "Numéro, client ou mots de la page",
        "search.button": "Rechercher",
        "search.clear": "Effacer",
        "tabs.invoices": "Factures par état",
        "tabs.jobs": "Impressions par état",
        "all": "Toutes",
        "newer": "Plus récentes",
        "older": "Plus anciennes",
        "pages": "Pages de la liste",
        "column.number": "Numéro",
        "column.customer": "Client",
        "column.issued": "Émise le",
        "column.total": "Total",
        "column.state": "État",
        "column.delivery": "Envoi",
        "column.action": "À faire",
        "column.job": "N°",
        "column.title": "Titre",
        "column.from": "De",
        "column.when": "Reçue le",
        "column.found": "Factures",
        "unread": "Sans numéro",
        "kind.invoice": "Facture",
        "kind.credit-note": "Avoir",
        "state.waiting": "À vérifier",
        "state.checking": "En vérification",
        "state.ready": "En cours de scellement",
        "state.progress": "En cours",
        "state.archived": "Archivée",
        "state.reprint": "Réimpression",
        "state.rejected": "Rejetée",
        "state.specimen": "Spécimen",
        "job.incoming": "En arrivée",
        "job.received": "Reçue",
        "job.processing": "En traitement",
        "job.progress": "En cours",
        "job.done": "Terminée",
        "job.aborted": "Refusée",
        "job.canceled": "Annulée",
        "job.held": "Suspendue",
        "job.attention": "À voir",
        "step.failed": "Courriel en échec",
        "step.uncertain": "Envoi incertain",
        "step.refused": "Lien décliné",
        "step.due": "Départ imminent",
        "step.pending": "Courriel en route",
        "step.accepted": "Courriel envoyé",
        "step.opened": "Page visitée",
        "step.acknowledged": "Réception accusée",
        "step.paper": "Sur papier",
        "step.revoked": "Retirée",
        "act.review": "Vérifier",
        "act.open": "Ouvrir",
        "act.resend": "Renvoyer",
        "act.look": "Voir pourquoi",
        "empty.search": "Rien ne correspond à « {search} ».",
        "empty.search.next": "Essayez le début du numéro, le code du client ou des mots entiers de la page.",
        "empty.all": "Aucune facture pour l’instant.",
        "empty.all.next": "Imprimez-en une sur « Invoice Printer » : elle apparaît ici en quelques secondes.",
        "empty.waiting": "Rien ne vous attend.",
        "empty.waiting.next": "Les factures impossibles à lire ou à contrôler apparaissent ici, "
        "avant tout scellement et tout envoi.",
        "empty.progress": "Aucun traitement en cours.",
        "empty.progress.next": "Les factures passent par ici avant l’archive, le plus souvent en moins d’une seconde.",
        "empty.archived": "Rien d’archivé pour l’instant.",
        "empty.archived.next": "Les factures qui ont passé tous les contrôles apparaissent ici, scellées et "
        "horodatées.",
        "empty.reprint": "Aucune réimpression.",
        "empty.reprint.next": "Une facture réimprimée à l’identique apparaît ici ; elle n’est pas envoyée de nouveau.",
        "empty.rejected": "Aucun rejet.",
        "empty.rejected.next": "Les factures que vous rejetez apparaissent ici, avec votre motif.",
        "empty.jobs": "Aucune impression ici.",
        "empty.jobs.next": "Tout ce qui est imprimé sur « Invoice Printer » apparaît ici, même en cas de refus.",
        "empty.specimen": "Aucun spécimen.",
        "empty.specimen.next": "Les factures de la répétition apparaissent ici après la mise en service.",
        "rehearsal.title": "Répétition",
        "rehearsal.body": "Les courriels ne partent qu’à l’adresse de répétition ; rien ne compte ici. Pour y "
        "mettre fin : invoice-printer go-live",
        "trouble": "Nouvel essai automatique. Ce qui bloque : {trouble}",
        "invoice.pdf": "Document {number}",
        "invoice.open-pdf": "Ouvrir le PDF",
        "invoice.job": "Impression n° {number}",
        "invoice.page": "page {first}",
        "invoice.pages": "pages {first} à {last}",
        "waits.title": "Cette facture vous attend",
        "waits.body": "Elle n’est pas scellée et personne ne l’a reçue.",
        "waits.place": "Montrer : {place}",
        "place": "page {page}, {where}",
        "place.top": "en haut",
        "place.middle": "au milieu",
        "place.bottom": "en bas",
        "place.left": "à gauche",
        "place.centre": "au centre",
        "place.right": "à droite",
        "remedy.correct": "Lisez la valeur sur la page et corrigez le champ signalé ci-dessous.",
        "remedy.accept": "Comparez avec la page. Corrigez les champs signalés ou libérez la facture telle quelle.",
        "remedy.unread": "Saisissez les champs ci-dessous, puis libérez la facture. Si cette mise en page doit revenir, "
        ""
        "demandez un modèle au service informatique.",
        "remedy.customer": "Corrigez le code client ci-dessous, ou faites importer le client puis libérez la facture : "
        "elle sera contrôlée de nouveau.",
        "remedy.contact": "Faites ajouter une adresse au client, puis libérez la facture : "
        "elle sera contrôlée de nouveau.",
        "remedy.seller": "Si c’est bien votre société, le service informatique complète les émetteurs dans les réglages. "
        ""
        "Sinon, cherchez qui l’a imprimée et rejetez-la.",
        "remedy.iban": "Cherchez qui a changé la page. Si le compte est à vous, le service informatique l’ajoute aux "
        "réglages. Sinon, rejetez la facture.",
        "remedy.number": "Si le numéro est mal lu, corrigez-le ci-dessous. S’il a été émis deux fois, rejetez "
        "celle-ci.",
        "remedy.retry": "Relancez la lecture de l’impression, ou réimprimez la facture depuis l’ERP.",
        "correct.title": "Corriger la lecture",
        "correct.note": "Une correction change ce que nous avons lu, jamais la page. "
        "Elle est inscrite au registre sous votre nom.",
        "correct.button": "Corriger et contrôler de nouveau",
        "correct.wrong": "Valeur à vérifier.",
        "correct.missing": "Introuvable sur la page.",
        "correct.read": "Lu sur la page : {value}",
        "correct.nothing": "Aucun champ n’a été modifié.",
        "correct.nothing.next": "Modifiez au moins une valeur, ou libérez la facture telle quelle.",
        "reason": "Motif",
        "reason.correct": "Pourquoi cette correction ?",
        "reason.release": "Pourquoi peut-elle partir telle quelle ?",
        "reason.reject": "Pourquoi ce rejet ?",
        "reason.resend": "Pourquoi ce nouvel envoi ?",
        "reason.retry": "Qu’est-ce qui a changé depuis ?",
        "reason.needed": "Il faut un motif.",
        "reason.needed.next": "Une phrase suffit ; elle figure au registre à côté de votre nom.",
        "release.title": "Libérer",
        "release.note": "Contrôle la facture de nouveau et accepte ce qui peut l’être. Un numéro absent, "
        "un client inconnu ou un compte étranger ne sont jamais acceptés.",
        "release.button": "Libérer",
        "reject.title": "Rejeter",
        "reject.note": "La facture est conservée, jamais scellée ni envoyée. C’est définitif.",
        "reject.button": "Rejeter cette facture",
        "progress.title": "Traitement en cours",
        "progress.body": "La page se met à jour jusqu’à la fin.",
        "specimen.title": "Spécimen",
        "specimen.body": "Elle appartient à la répétition et ne compte pas ; ses liens ne fonctionnent plus.",
        "reprint.title": "Réimpression",
        "reprint.body": "Même numéro et même contenu qu’une facture déjà archivée : elle n’a pas été renvoyée.",
        "reprint.link": "Voir la première impression",
        "rejected.title": "Rejetée",
        "rejected.body": "Elle n’a été ni scellée ni envoyée.",
        "done.correct": "Corrigée. La facture est contrôlée de nouveau.",
        "done.release": "Libérée. La facture est contrôlée de nouveau.",
        "done.reject": "Rejetée.",
        "done.resend": "Un nouveau courriel, avec son propre lien, est en route.",
        "done.retry": "La lecture de l’impression est relancée.",
        "delivery.title": "Envoi",
        "delivery.none": "Pas encore envoyée.",
        "delivery.none.next": "La facture part dès qu’elle est archivée.",
        "delivery.mail": "Par courriel",
        "delivery.paper": "Sur papier",
        "delivery.paper.body": "Le document prêt à imprimer est dans la corbeille de départ : {paper}",
        "delivery.paper.due": "Le document prêt à imprimer va être déposé dans la corbeille de départ.",
        "delivery.rehearsal": "Répétition : rien ne compte ici, le courriel est parti à l’adresse de répétition.",
        "delivery.expires": "Lien valable jusqu’au {day}",
        "delivery.due": "Départ dans quelques secondes.",
        "delivery.revoked": "Retirée : ses liens ne fonctionnent plus.",
        "delivery.reply": "Serveur de messagerie : {reply}",
        "delivery.failed": "Le courriel n’est pas arrivé. Faites corriger l’adresse si besoin, puis renvoyez-le.",
        "delivery.uncertain": "La connexion a été coupée au tout dernier moment : le courriel est peut-être arrivé, "
        "peut-être pas. Il n’est jamais répété tout seul. Une visite de la page lève le doute ; "
        "sinon, interrogez le client, puis renvoyez-le.",
        "delivery.refused.paper": "Le client préfère le papier. Imprimez la facture et postez-la.",
        "delivery.refused.not-for-me": "La personne qui a ouvert le lien dit ne pas être concernée. Vérifiez "
        "l’adresse.",
        "delivery.question": "Question : « {text} »",
        "delivery.mailed": "Envoyé le {moment}",
        "delivery.opened": "Page visitée le {moment}",
        "delivery.acknowledged": "Réception accusée le {moment}",
        "delivery.handed-over": "Fichier transmis en entier le {moment}",
        "receipt.download": "Télécharger l’accusé de réception n° {number}",
        "receipt.due": "L’accusé de réception est en cours de scellement.",
        "resend.title": "Renvoyer",
        "resend.to": "Renvoyer à {email}",
        "time.title": "Chronologie",
        "facts.title": "Données",
        "fact.number": "Numéro",
        "fact.kind": "Nature",
        "fact.issued_on": "Date d’émission",
        "fact.due_on": "Échéance",
        "fact.customer_code": "Code client",
        "fact.buyer_name": "Client",
        "fact.net": "Montant HT",
        "fact.vat": "TVA",
        "fact.total": "Total TTC",
        "fact.currency": "Devise",
        "fact.iban": "IBAN",
        "fact.seller_name": "Vendeur",
        "fact.seller_siren": "SIREN du vendeur",
        "fact.seller_vat_id": "N° de TVA du vendeur",
        "fact.template": "Modèle",
        "fact.corrected": "corrigé",
        "proof.title": "Sceau et empreintes",
        "proof.none": "Pas encore scellée. Le sceau, son horodatage et l’empreinte du document scellé "
        "apparaîtront ici.",
        "proof.sealed": "Document scellé (SHA-256)",
        "proof.pdf": "PDF tel qu’il a été lu (SHA-256)",
        "proof.original": "Octets reçus (SHA-256)",
        "proof.original.download": "Télécharger le fichier reçu",
        "proof.certificate": "Certificat du sceau (SHA-256)",
        "proof.sealed_at": "Scellée le",
        "proof.timestamp": "Horodatage",
        "proof.authority": "{authority}, numéro de série {serial}",
        "proof.local": "autorité locale : l’ordre, pas l’heure",
        "proof.ledger": "Registre",
        "proof.entry": "inscription {index}",
        "proof.check": "Vérifiable partout avec : invoice-printer verify FICHIER.pdf",
        "job.title": "Impression n° {number}",
        "job.message": "Ce qu’elle est devenue",
        "job.facts": "Données",
        "job.user": "Utilisateur",
        "job.host": "Poste",
        "job.format": "Format",
        "job.size": "Taille",
        "job.source": "Entrée",
        "job.completed": "Terminée le",
        "job.retry.title": "Relancer la lecture",
        "job.retry.note": "Après un nouveau modèle, un nouveau client ou une panne réparée. Le fichier reçu est "
        "conservé.",
        "job.retry.button": "Relancer la lecture",
        "job.next.held": "Un incident est survenu de notre côté. Réparez la cause, puis relancez la lecture.",
        "job.next.aborted": "Le document est inutilisable en l’état. Corrigez la cause et réimprimez-le depuis l’ERP.",
        "job.invoices": "Factures de cette impression",
        "job.invoices.none": "Aucune facture trouvée pour l’instant.",
        "event.printed": "Imprimée par {user} depuis {host}",
        "event.printed.detail": "{title}",
        "event.read": "Lue avec le modèle {template}",
        "event.unread": "Mise en page inconnue",
        "event.sealed": "Scellée et horodatée",
        "event.sealed.detail": "{authority}",
        "event.ledger.invoice": "Inscrite au registre",
        "event.ledger.invoice.detail": "Inscription {index}",
        "event.ledger.act.correct": "Corrigée par {who}",
        "event.ledger.act.correct.detail": "{fields} – {reason}",
        "event.ledger.act.release": "Libérée par {who}",
        "event.ledger.act.release.detail": "{reason}",
        "event.ledger.act.reject": "Rejetée par {who}",
        "event.ledger.act.reject.detail": "{reason}",
        "event.ledger.act.retry": "Relue à la demande de {who}",
        "event.ledger.act.retry.detail": "{reason}",
        "event.ledger.act.resend": "Renvoyée par {who}",
        "event.ledger.act.resend.detail": "{reason}",
        "event.sent.mail": "Remise au serveur d’envoi",
        "event.sent.mail.detail": "{why}",
        "event.sent.paper": "Déposée dans la corbeille de départ",
        "event.sent.paper.detail": "{why}",
        "event.dispatch": "Nouveau courriel demandé",
        "event.dispatch.detail": "{reason}",
        "event.ConsignmentNotification": "Courriel accepté par le serveur de messagerie",
        "event.ConsignmentNotification.detail": "{reply}",
        "event.ConsignmentNotificationFailure": "Courriel non distribué",
        "event.ConsignmentNotificationFailure.detail": "{reply} {reason}",
        "event.MailUncertain": "Départ du courriel incertain",
        "event.MailUncertain.detail": "{reason}",
        "event.NotificationDelivered": "Avis de distribution reçu",
        "event.NotificationAccessTracking": "Page demandée",
        "event.NotificationAccessTracking.detail": "{visitor} – {agent}",
        "event.ConsignmentAcceptance": "Bouton pressé : réception accusée",
        "event.ConsignmentAcceptance.detail": "{identified_by} {signs}",
        "event.ContentHandover": "Fichier transmis en entier",
        "event.ContentHandover.detail": "{bytes_sent} octets",
        "event.ContentHandoverFailure": "Téléchargement interrompu",
        "event.ContentHandoverFailure.detail": "{reason}",
        "event.ConsignmentRejection": "Lien décliné",
        "event.ConsignmentRejection.detail": "{refusal}",
        "event.AcceptanceRejectionExpiry": "Lien expiré sans avoir servi",
        "event.PaperHandover": "Imprimée sur papier",
        "event.Question": "Question du client",
        "event.Question.detail": "« {text} »",
        "event.receipt": "Accusé de réception n° {number} scellé et classé",
        "visitor.person?": "peut-être une personne",
        "visitor.automatic": "un logiciel",
        "visitor.speculative": "chargée d’avance par un logiciel",
        "refusal.paper": "préfère le papier",
        "refusal.not-for-me": "dit ne pas être concerné",
    },
}


def text(language: str, key: str, **facts: Any) -> str:
    """A text with its facts; a fact that is not known leaves nothing behind."""
    filled = TEXTS[language][key].format_map(defaultdict(str, facts)) if facts else TEXTS[language][key]
    return _spaced(filled) if language == "fr" else filled


def knows(language: str, key: str) -> bool:
    return key in TEXTS[language]


def _spaced(words: str) -> str:
    """French puts a no-break space before : ; ? ! and inside « »; the table is written with plain ones."""
    return re.sub(r" (?=[:;?!»])|(?<=«) |(?<=n°) ", NO_BREAK, words)


def preferred(accept_language: str, otherwise: str) -> str:
    """The language of ours that a browser likes best (RFC 9110 section 12.5.4), else ``otherwise``."""
    liked: list[tuple[float, str]] = []
    for part in accept_language.lower().split(","):
        tag, _, quality = part.strip().partition(";q=")
        language = tag.split("-")[0]
        if language in TEXTS and re.fullmatch(r"(0|1)(\.\d{0,3})?", quality or "1"):
            liked.append((float(quality or 1), language))
    best = max(liked, key=lambda one: one[0], default=(0.0, otherwise))
    return best[1] if best[0] > 0 else otherwise


def day(language: str, value: str | datetime | None) -> str:
    """``24 November 2026``. What is no date is shown as it stands: it may be what is wrong."""
    if isinstance(value, datetime):
        return dates.format_date(value.astimezone(), "d MMMM y", LOCALES[language])
    try:
        return dates.format_date(date.fromisoformat(value or ""), "d MMMM y", LOCALES[language])
    except ValueError:
        return value or ""


def moment(language: str, value: datetime | None) -> str:
    """Day and time of this machine's zone, to the second, with the zone's name."""
    if value is None:
        return ""
    local = value.astimezone()
    join = " à " if language == "fr" else ", "
    return f"{day(language, local)}{join}{local:%H:%M:%S}{NO_BREAK}{local:%Z}"


def clock_time(_language: str, value: datetime) -> str:
    return f"{value.astimezone():%H:%M:%S}"


def money(language: str, amount: str, currency: str) -> str:
    """``€1,234.56`` or ``1 234,56 €``; what is no amount is shown as it stands."""
    try:
        return str(numbers.format_currency(Decimal(amount), currency or "EUR", locale=LOCALES[language]))
    except (InvalidOperation, ValueError):
        return amount


def count(language: str, number: int) -> str:
    """A counted number; where counting stopped, it says so."""
    shown = str(numbers.format_decimal(min(number, COUNTED), locale=LOCALES[language]))
    return f"{shown}+" if number >= COUNTED else shown


def size(language: str, octets: int) -> str:
    """Kilobytes or megabytes of 1,000, as file managers show them."""
    value, unit = (octets / 1e6, "M") if octets >= 1e6 else (octets / 1e3, "k")
    digits = numbers.format_decimal(round(value, 1), locale=LOCALES[language])
    return f"{digits}{NO_BREAK}{unit}{'o' if language == 'fr' else 'B'}"


def place(language: str, box: Box) -> str:
    """Where on the page a box is, in words: thirds of an A4 page."""
    across = ("left", "centre", "right")[_third((box.left + box.right) / 2 / A4[0])]
    down = ("bottom", "middle", "top")[_third((box.bottom + box.top) / 2 / A4[1])]
    where = f"{text(language, f'place.{down}')} {text(language, f'place.{across}')}"
    return text(language, "place", page=box.page, where=where)


def _third(share: float) -> int:
    return min(2, max(0, int(share * 3)))


def groups(value: str | None, by: int = 8) -> list[str]:
    """A digest in groups of eight, as people compare it."""
    return [value[start : start + by] for start in range(0, len(value), by)] if value else []
