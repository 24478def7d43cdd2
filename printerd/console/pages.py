"""How pages are rendered: templates that escape everything and refuse unknown names, and the words of one language."""

from __future__ import annotations

import hashlib
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from printerd.console import formats, sheets, texts


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
            "day": partial(formats.day, language),
            "short_day": partial(formats.short_day, language),
            "moment": partial(formats.moment, language),
            "clock_time": partial(formats.clock_time, language),
            "money": partial(formats.money, language),
            "count": partial(formats.count, language),
            "size": partial(formats.size, language),
            "place": partial(formats.place, language),
            "sentence": partial(sheets.said, language),
            "why": partial(sheets.why, language),
            "job_said": partial(sheets.job_said, language),
            "job_next": partial(sheets.job_next, language),
            "groups": formats.groups,
        }
        page = self._jinja.get_template(template).render(**words, **values)
        return HTMLResponse(page, status, {"Content-Language": language, "Vary": "Accept-Language"})
