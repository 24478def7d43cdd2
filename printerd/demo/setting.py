"""What the demo's config.toml says: the firm of the samples, addresses that are free, and the caught mail's server."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from printerd.demo.trade import IBAN, ISSUER

HOST = "127.0.0.1"
ADDRESSES: Mapping[str, tuple[str, int]] = {
    "listen.ipp": ("printer and console", 8631),
    "receipts.public": ("customers' pages", 8632),
    "receipts.api": ("delivery contract", 8633),
    "listen.health": ("health and metrics", 8635),
}
"""Setting → what listens there, and its usual port."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens; ``moved`` when its ``usual`` port was busy."""

    what: str
    usual: int
    port: int

    @property
    def moved(self) -> bool:
        return self.port != self.usual

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"


def places() -> dict[str, Place]:
    """An address for each setting of :data:`ADDRESSES` that is free at this moment."""
    return {setting: Place(what, usual, free_port(usual)) for setting, (what, usual) in ADDRESSES.items()}


def free_port(usual: int) -> int:
    """``usual`` if nothing listens there, else one that the kernel chooses."""
    for port in (usual, 0):
        try:
            with listening(port) as held:
                return int(held.getsockname()[1])
        except OSError:
            continue
    raise OSError("no port of this machine is free")


def listening(port: int) -> socket.socket:
    """A listening socket on loopback, bound as the service binds its own."""
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((HOST, port))
        held.listen(128)
    except OSError:
        held.close()
        raise
    return held


def config(addresses: Mapping[str, Place], smtp_port: int) -> str:
    """The text of ``config.toml``; a JSON string is a TOML string as well."""
    ipp, public, api, health = (addresses[setting].address for setting in ADDRESSES)
    name, address = (json.dumps(text, ensure_ascii=False) for text in (ISSUER.name, ISSUER.address))
    return f"""# Written by the demo; it is written anew at its next start.
[listen]
ipp = "{ipp}"
health = "{health}"

[receipts]
public = "{public}"
api = "{api}"

[smtp]  # the demo's own mail catcher: nothing leaves this machine
host = "{HOST}"
port = {smtp_port}
sender = "Comptabilité <{ISSUER.email}>"
per_minute = 100000
retry_first = 1
retry_most = 5

[issuers.moulin]
name = {name}
siren = "{ISSUER.siren}"
vat_id = "{ISSUER.vat_id}"
address = {address}
email = "{ISSUER.email}"
phone = "02 37 00 00 00"
ibans = ["{IBAN}"]
"""
