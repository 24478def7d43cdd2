"""Keys and certificates under ``STATE/keys``: made once, at the first start, and never overwritten.

A file appears under its name only when it is complete and synced, and only if
nobody made it before (link(2) fails when the name is taken). Whoever is killed
between a key and its certificate has the certificate made at the next start.
Several sealers start at once: one makes the files, the others wait for it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asn1crypto import pem  # type: ignore[import-untyped]
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from printerd import systemd
from printerd.errors import ConfigurationError
from printerd.evidence.cms import KeyPair, PrivateKey, require_in_force, usable

KEY_BITS = 3072
"""Good beyond 2030 (ANSSI, BSI TR-02102), and read by every PDF reader."""
VALID = timedelta(days=20 * 366)
"""Longer than the ten years that an invoice is kept."""
LOCAL_AUTHORITY = "Local timestamp authority (order, not time)"

_NEW = ".new"


def seal(folder: Path, firm: str) -> KeyPair:
    """The firm's sealing key, made if there is none yet. ``firm`` names it in the certificate."""
    return _pair(folder, "seal", _name(firm or "Invoice Printer", firm), _SEAL_EXTENSIONS)


def authority(folder: Path, firm: str) -> KeyPair:
    """The key of the built-in timestamp authority, made if there is none yet."""
    return _pair(folder, "tsa", _name(LOCAL_AUTHORITY, firm), _AUTHORITY_EXTENSIONS)


def from_pkcs12(path: Path, passphrase_file: Path | None) -> KeyPair:
    """The key of a PKCS#12 file (RFC 7292); its passphrase is the first line of a file."""
    passphrase = _secret(passphrase_file).split(b"\n")[0].rstrip(b"\r") if passphrase_file else None
    try:
        store = pkcs12.load_pkcs12(_secret(path), passphrase)
    except ValueError as error:
        raise ConfigurationError(
            "The PKCS#12 file cannot be opened.", where=str(path), remedy="Check the file and its passphrase file."
        ) from error
    if store.key is None or store.cert is None:
        raise ConfigurationError(
            "The PKCS#12 file holds no key with a certificate.", where=str(path), remedy="Export both into the file."
        )
    chain = tuple(_asn1(extra.certificate) for extra in store.additional_certs)
    pair = KeyPair(usable(store.key, str(path)), _asn1(store.cert.certificate), chain)
    require_in_force(pair, str(path))
    return pair


def remember(folder: Path, pair: KeyPair) -> None:
    """Keep the certificate of a key that is not ours to keep, so that its seals can be checked here later."""
    path = folder / f"{pair.fingerprint[:16]}.crt"
    with _alone(folder):
        if not path.exists():
            _write(path, pem.armor("CERTIFICATE", pair.certificate.dump()))


# What a certificate is for: the seal signs and commits, the authority does nothing but timestamps (RFC 3161 2.3).
_SEAL_EXTENSIONS: tuple[tuple[x509.ExtensionType, bool], ...] = (
    (x509.BasicConstraints(ca=False, path_length=None), True),
    (
        x509.KeyUsage(
            digital_signature=True,
            content_commitment=True,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        ),
        True,
    ),
)
_AUTHORITY_EXTENSIONS = (*_SEAL_EXTENSIONS, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True))


def _name(common: str, firm: str) -> x509.Name:
    """RFC 5280 appendix A: neither name is longer than 64 characters."""
    organisation = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, firm[:64])] if firm else []
    return x509.Name([*organisation, x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _pair(folder: Path, stem: str, name: x509.Name, extensions: tuple[tuple[x509.ExtensionType, bool], ...]) -> KeyPair:
    key_file, certificate_file = folder / f"{stem}.key", folder / f"{stem}.crt"
    with _alone(folder):
        _forget_unfinished(folder)
        if certificate_file.exists() and not key_file.exists():
            raise ConfigurationError(
                "The certificate is there but its key is not.",
                where=str(key_file),
                remedy="Restore the key from the backup. To begin with a new key, move the certificate away.",
            )
        if not key_file.exists():
            _write(key_file, _key_pem(rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)))
        key = _load_key(key_file)
        if not certificate_file.exists():
            _write(certificate_file, _self_signed(key, name, extensions).public_bytes(serialization.Encoding.PEM))
        certificate = _load_certificate(certificate_file)
    if certificate.public_key() != key.public_key():
        raise ConfigurationError(
            "The certificate belongs to another key.",
            where=str(certificate_file),
            remedy=f"Restore {stem}.key and {stem}.crt from the same backup.",
        )
    pair = KeyPair(key, _asn1(certificate))
    require_in_force(pair, str(certificate_file))
    return pair


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _forget_unfinished(folder: Path) -> None:
    for leftover in folder.glob(f"*{_NEW}"):
        leftover.unlink()


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_NEW}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.hardlink_to(unfinished)
    unfinished.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _secret(path: Path) -> bytes:
    """What a private file holds. ``ConfigurationError`` when it cannot be read, or when others could read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077 and not systemd.keeps(path):
                raise ConfigurationError(
                    f"The file can be opened by others (mode {mode:04o}).",
                    where=str(path),
                    remedy=f"Run: chmod 600 {path}",
                )
            return file.read()
    except OSError as error:
        raise ConfigurationError(
            f"The file cannot be read: {error.strerror}.",
            where=str(path),
            remedy="Check the path, and that the service's user owns the file.",
        ) from error


def _load_key(path: Path) -> PrivateKey:
    try:
        return usable(serialization.load_pem_private_key(_secret(path), None), str(path))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            "The key cannot be read.", where=str(path), remedy="Restore it from the backup (PEM, no passphrase)."
        ) from error


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_secret(path))
    except ValueError as error:
        raise ConfigurationError(
            "The certificate cannot be read.", where=str(path), remedy="Restore it from the backup (PEM)."
        ) from error


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _self_signed(
    key: PrivateKey, name: x509.Name, extensions: tuple[tuple[x509.ExtensionType, bool], ...]
) -> x509.Certificate:
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # another machine's clock may be late
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


def _asn1(certificate: x509.Certificate) -> asn1.Certificate:
    return asn1.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
