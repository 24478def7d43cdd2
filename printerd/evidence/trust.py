"""Whose certificates are believed. Anchors come from files that somebody chose; nothing is ever fetched.

A certificate is trusted when it is an anchor itself, or when a path of
certificates that came with the signature leads from it to an anchor
(RFC 5280 section 6), seen at the moment of the signature: a certificate that
has expired since then was still good when it signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from asn1crypto import pem, x509  # type: ignore[import-untyped]
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathError, ValidationError

from printerd.errors import ConfigurationError


class Trust:
    """Anchors of trust; with none, nobody is trusted."""

    def __init__(self, anchors: Iterable[x509.Certificate]) -> None:
        self.anchors = tuple(anchors)
        self._known = {anchor.sha256 for anchor in self.anchors}

    def covers(self, certificate: x509.Certificate, others: Sequence[x509.Certificate], moment: datetime) -> bool:
        """Whether a certificate could be believed at ``moment``. ``others`` may be links of its path."""
        if not certificate.not_valid_before <= moment <= certificate.not_valid_after:
            return False
        if certificate.sha256 in self._known:
            return True
        return bool(self.anchors) and self._path(certificate, others, moment)

    def _path(self, certificate: x509.Certificate, others: Sequence[x509.Certificate], moment: datetime) -> bool:
        context = ValidationContext(
            trust_roots=list(self.anchors),
            other_certs=list(others),
            allow_fetching=False,
            moment=moment,
            best_signature_time=moment,
        )
        try:
            asyncio.run(CertificateValidator(certificate, validation_context=context).async_validate_path())
        except (PathError, ValidationError):
            return False
        return True


def load(files: Iterable[Path]) -> Trust:
    """The anchors in PEM or DER files. ``ConfigurationError`` when a file holds none."""
    return Trust(certificate for file in files for certificate in _certificates(file))


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        data = path.read_bytes()
        if not pem.detect(data):
            return [_proper(data)]
        return [_proper(der) for name, _, der in pem.unarmor(data, multiple=True) if name == "CERTIFICATE"]
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            "This is not a certificate.", where=str(path), remedy="Give a certificate as a PEM or DER file."
        ) from error


def _proper(der: bytes) -> x509.Certificate:
    certificate = x509.Certificate.load(der, strict=True)
    certificate.native  # noqa: B018 - parses all of it now, and raises ValueError here rather than later
    return certificate
