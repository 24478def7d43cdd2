"""A caught message, as the demo's customers and its pages read it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage

_LANGUAGE = re.compile(r'<html lang="([a-z]{2})"')
_LINK = re.compile(r"https?://\S+/l/[\w-]{43}")


@dataclass(frozen=True, slots=True)
class Mail:
    """A message as it came: ``number`` counts from 1, ``to`` is the recipient of the SMTP transaction."""

    number: int
    to: str
    received_at: datetime
    message: EmailMessage

    @property
    def subject(self) -> str:
        return str(self.message["Subject"] or "")

    @property
    def sender(self) -> str:
        return str(self.message["From"] or "")

    @property
    def text(self) -> str:
        return self._body("plain")

    @property
    def html(self) -> str:
        return self._body("html")

    @property
    def link(self) -> str:
        """The customer's link in the text; empty when there is none."""
        found = _LINK.search(self.text)
        return found.group() if found else ""

    @property
    def language(self) -> str:
        """Of the HTML part (its ``lang``); English when it does not say."""
        found = _LANGUAGE.search(self.html)
        return found[1] if found else "en"

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return str(part.get_content()) if isinstance(part, EmailMessage) else ""
