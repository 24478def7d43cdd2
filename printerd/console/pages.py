"""How pages are rendered: templates that escape everything and refuse unknown names, and the words of one language."""

from __future__ import annotations

import hashlib
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from printerd import reasons
from printerd.console import texts


class Pages:
    """The templates and the addresses of the static files."""

    def __init__(self, templates: Path, static: Path, *, firm: str) -> None:
        self._static = static
        self._jinja = Environment(
            loader=FileSystemLoader(templates),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.door_style = (templates / "door.css").read_text()
        self._jinja.globals |= {"firm": firm, "asset": cache(self._asset), "door_style": self.door_style}

    def _asset(self, name: str) -> str:
        """The address of a static file with a digest of what it holds."""
        content = hashlib.sha256((self._static / name).read_bytes()).hexdigest()
        return f"/static/{name}?v={content[:12]}"

    def render(self, template: str, language: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page in one language. ``t`` in the templates is :func:`texts.text`."""
        words = {
            "lang": language,
            "t": partial(texts.text, language),
            "knows": partial(texts.knows, language),
            "day": partial(texts.day, language),
            "moment": partial(texts.moment, language),
            "clock_time": partial(texts.clock_time, language),
            "money": partial(texts.money, language),
            "count": partial(texts.count, language),
            "size": partial(texts.size, language),
            "place": partial(texts.place, language),
            "sentence": partial(_sentence, language),
            "groups": texts.groups,
        }
        page = self._jinja.get_template(template).render(**words, **values)
        return HTMLResponse(page, status, {"Content-Language": language, "Vary": "Accept-Language"})


def _sentence(language: str, reason: Any) -> str:
    """A reason in words; one that only the door knows (a refused job) has them in the job's message."""
    return reasons.sentence(reason, language) if reason.code in reasons.REASONS else ""
