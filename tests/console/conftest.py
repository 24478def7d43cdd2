"""A console over an archive of its own, with a browser's habits: it keeps cookies and says where forms come from."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from printerd.console import application, open_link
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from tests import archive_rows as rows

NAME = "printer.test"
DOORS = {"ipp": "0.0.0.0:8631", "lpd": "192.0.2.10:515"}


class Browser:
    """A client that calls the application directly; ``http`` keeps its cookies."""

    def __init__(self, app: Any) -> None:
        self._runner = asyncio.Runner()
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{NAME}")

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self.http.request(method, path, **options))

    def close(self) -> None:
        self._runner.run(self.http.aclose())
        self._runner.close()


@dataclass
class Console:
    """The application, its archive, and a clock that tests turn."""

    db: Database
    blobs: Blobs
    client: Browser
    now: datetime = rows.NOW
    woken: list[datetime] = field(default_factory=list)

    def link(self, who: str = "marie") -> str:
        return open_link(self.db, who, self.now)

    def enter(self, who: str = "marie") -> None:
        answer = self.post(self.link(who), token=False)
        assert answer.status_code == 303, answer.text

    def get(self, path: str, language: str = "en", **headers: str) -> httpx.Response:
        wanted = {"accept-language": language} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request("GET", path, headers=wanted)

    def post(
        self, path: str, form: dict[str, str] | None = None, *, token: bool = True, **headers: str
    ) -> httpx.Response:
        """Send a form as a page of ours does: with its token and the origin."""
        data = dict(form or {})
        if token:
            data["form_token"] = self.form_token()
        wanted = {"origin": f"http://{NAME}", "accept-language": "en"} | headers
        return self.client.request("POST", path, data=data, headers=wanted)

    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([0-9a-f]{64})"', self.get("/jobs").text)
        assert found
        return found[1]

    def pass_time(self, delta: timedelta) -> None:
        self.now += delta


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    db, blobs = rows.opened(tmp_path)
    app = application(
        db,
        blobs,
        names=[NAME],
        language="fr",
        firm="Au bon moulin",
        doors=DOORS,
        wake=lambda: made.woken.append(made.now),
        clock=lambda: made.now,
    )
    made = Console(db, blobs, Browser(app))
    yield made
    made.client.close()
    db.close()
