"""A site to look at: an empty archive on which everything is as it should be, until a test breaks something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from printerd.delivery.contract import Status
from printerd.health import checks
from printerd.health.findings import Finding, ask
from printerd.health.site import Relay, Site
from printerd.metrics import Told
from printerd.storage.database import Database
from tests import archive_rows

Break = Callable[..., Site]


def whole(folder: Path) -> Site:
    """An instance in ``folder`` without a fault that it is to blame for."""
    database, _ = archive_rows.opened(folder)
    url = database.url.render_as_string(hide_password=False)
    database.close()
    for name in ("keys", "templates", "run"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return Site(
        root=folder,
        keys=folder / "keys",
        templates=folder / "templates",
        children=folder / "run" / "children.json",
        locks=(folder / "lock",),
        database=Database(url, patience=100),
        edge=lambda: Status("edge-1", 0, "", 0, "1"),
        worker=lambda: Told("", {}),
        reach=lambda host, port: None,
        printer="127.0.0.1:9",
        free_space=1,
        timestamp_url="",
        firm="Au bon moulin",
        own_key=False,
        relay=Relay("127.0.0.1", 25, "none", ""),
        settings={
            "issuers": ("moulin",),
            "receipts.public_url": "https://factures.moulin.example",
            "rehearsal.to": "",
            "listen.ipp": "127.0.0.1:8631",
            "listen.names": (),
        },
        now=lambda: archive_rows.NOW,
    )


def finding(site: Site, name: str, **changes: Any) -> Finding:
    """What the check of that name finds once fields of the site have been replaced."""
    (check,) = (one for one in checks.CHECKS if one.name == name)
    return ask(check, replace(site, **changes))


def set_to(site: Site, **settings: object) -> Site:
    """The site with other settings; ``__`` stands for the dot of a key."""
    changed = {key.replace("__", "."): value for key, value in settings.items()}
    return replace(site, settings={**site.settings, **changed})
