"""What a sealer process can do: the one room that holds the key. It gets bytes and facts, and gives sealed bytes back.

Each task takes values (JSON), open files and a folder of its own, and answers
with values that name the files it wrote there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from printerd.errors import ConfigurationError, TransientError
from printerd.evidence import canonical, cms, keys, receipt_file, signatures, timestamp
from printerd.evidence.sign import Sealed, Sealer
from printerd.model import Digest

Handler = Callable[[dict[str, Any], Sequence[BinaryIO], Path], dict[str, Any]]
Handlers = Mapping[str, Handler]


def start(
    keys_folder: str,
    timestamp_url: str,
    pkcs12: str = "",
    pkcs12_passphrase_file: str = "",
    firm: str = "",
    stamped: bool = True,
) -> Handlers:
    """Load or make the keys and give the tasks. ``ConfigurationError`` when a key or a setting is not in order.

    ``stamped``: whether the seals of invoices bear timestamps; receipts and checkpoints always do.
    """
    folder = Path(keys_folder)
    if pkcs12_passphrase_file and not pkcs12:
        raise ConfigurationError(
            "There is a passphrase file but no PKCS#12 file.",
            where=pkcs12_passphrase_file,
            remedy="Set the path of the PKCS#12 file too, or remove the passphrase file from the settings.",
        )
    passphrase = Path(pkcs12_passphrase_file) if pkcs12_passphrase_file else None
    pair = keys.from_pkcs12(Path(pkcs12), passphrase) if pkcs12 else keys.seal(folder, firm)
    if pkcs12:
        keys.remember(folder, pair)
    tasks = Tasks(Sealer(pair, timestamp.connect(timestamp_url, folder, firm)), stamped)
    return {"seal": tasks.seal, "receipt": tasks.receipt, "checkpoint": tasks.checkpoint}


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks over one sealer."""

    sealer: Sealer
    stamped: bool

    def seal(self, values: dict[str, Any], files: Sequence[BinaryIO], folder: Path) -> dict[str, Any]:
        """``{"reason"}`` and one PDF → ``{"file", "certificate", "sealed_at", "timestamp"}``."""
        return self._seal(files[0], folder / "sealed.pdf", values.get("reason", ""), self.stamped)

    def receipt(self, values: dict[str, Any], files: Sequence[BinaryIO], folder: Path) -> dict[str, Any]:
        """``{"facts"}`` → as ``seal``, and ``record``: the SHA-256 of the JSON inside, which its token covers.

        The facts name the certificate that seals them.
        """
        facts = {**values["facts"], "certificate": self.sealer.pair.fingerprint}
        record = canonical.encode(facts)
        token = self.sealer.stamper.stamp(record).response
        pdf = BytesIO(receipt_file.render(facts, record, token))
        sealed = self._seal(pdf, folder / "receipt.pdf", values.get("reason", ""), stamped=True)
        return sealed | {"record": hashlib.sha256(record).hexdigest()}

    def checkpoint(self, values: dict[str, Any], files: Sequence[BinaryIO], folder: Path) -> dict[str, Any]:
        """``{"size", "root", "recorded_at"}`` → ``{"signature", "timestamp"}``: base64 of DER over the statement."""
        statement = canonical.checkpoint(values["size"], Digest(values["root"]), values["recorded_at"])
        signature = cms.sign(self.sealer.pair, "data", hashlib.sha256(statement).digest())
        return {"signature": _base64(signature), "timestamp": _base64(self.sealer.stamper.stamp(statement).response)}

    def _seal(self, pdf: BinaryIO, target: Path, reason: str, stamped: bool) -> dict[str, Any]:
        with TransientError.of_disk("The sealed PDF"), target.open("x+b") as output:
            sealed = self.sealer.seal(pdf, output, reason, stamped=stamped)
        return {"file": target.name} | _values(sealed)


def _values(sealed: Sealed) -> dict[str, Any]:
    return {
        "certificate": sealed.certificate,
        "sealed_at": canonical.instant(sealed.sealed_at),
        "timestamp": sealed.timestamp and signatures.values(sealed.timestamp),
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
