"""SignedData of RFC 5652 with one signer: seals, timestamp tokens and checkpoints are all made here, with SHA-256.

The signed attributes are those of CAdES-B (ETSI EN 319 122-1): content type,
message digest, signing-certificate-v2 (RFC 5035), and the algorithm protection
of RFC 6211. The signing time is left out: a seal has it in its PDF dictionary
(ETSI EN 319 142-1 section 6.3), a token in its genTime, a checkpoint in its statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from asn1crypto import algos, core, parser, x509  # type: ignore[import-untyped]
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import load_der_x509_certificate

from printerd.errors import ConfigurationError, IntegrityError
from printerd.model import Digest

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class KeyPair:
    """A private key, its certificate, and the certificates that lead to its root. The key object is loaded once.

    So is what all its signatures have in common: the parts below, as DER where nothing else is said.
    """

    key: PrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @cached_property
    def fingerprint(self) -> Digest:
        return fingerprint(self.certificate)

    @cached_property
    def validity(self) -> tuple[datetime, datetime]:
        """The first and the last moment of the certificate."""
        return self.certificate.not_valid_before, self.certificate.not_valid_after

    @cached_property
    def certified(self) -> Any:
        """The public key as the certificate has it, for ``cryptography``."""
        return load_der_x509_certificate(self.certificate.dump()).public_key()

    @cached_property
    def scheme(self) -> tuple[Any, ...]:
        """How the key signs, for ``cryptography``."""
        sha256 = hashes.SHA256()
        return (padding.PKCS1v15(), sha256) if isinstance(self.key, rsa.RSAPrivateKey) else (ec.ECDSA(sha256),)

    @cached_property
    def algorithm(self) -> bytes:
        """The same as a SignatureAlgorithmIdentifier."""
        name = "sha256_rsa" if isinstance(self.key, rsa.RSAPrivateKey) else "sha256_ecdsa"
        return bytes(algos.SignedDigestAlgorithm({"algorithm": name}).dump())

    @cached_property
    def identifier(self) -> bytes:
        """IssuerAndSerialNumber (RFC 5652 section 10.2.4)."""
        return _sequence(self.certificate.issuer.dump(), core.Integer(self.certificate.serial_number).dump())

    @cached_property
    def certificates(self) -> bytes:
        """CertificateSet in the order of a DER set, tagged [0] (RFC 5652 section 5.1)."""
        return _tagged(0, *sorted(certificate.dump() for certificate in (self.certificate, *self.chain)))

    @cached_property
    def attributes(self) -> tuple[bytes, bytes]:
        """The signed attributes that say who signs and how, not what."""
        protection = _sequence(_SHA256, b"\xa1" + self.algorithm[1:])  # [1] IMPLICIT (RFC 6211 section 2)
        return (
            _attribute("signing_certificate_v2", _signing_certificate(self.certificate)),
            _attribute("cms_algorithm_protection", protection),
        )


def fingerprint(certificate: x509.Certificate) -> Digest:
    """The SHA-256 of a certificate's DER, as ``openssl x509 -fingerprint -sha256`` shows it without colons."""
    return Digest(hashlib.sha256(certificate.dump()).hexdigest())


def require_in_force(pair: KeyPair, where: str = "") -> None:
    """What a certificate that has run out, or has not begun, signs now would never be accepted."""
    begins, ends = pair.validity
    if not begins <= datetime.now(UTC) <= ends:
        raise ConfigurationError(
            f"The certificate is valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}: not now.",
            where=where,
            remedy="Check this machine's clock, then renew the certificate.",
        )


def sign(
    pair: KeyPair,
    content_type: str,
    digest: bytes,
    *,
    content: bytes | None = None,
    timestamp: Callable[[bytes], bytes] | None = None,
    certificates: bool = True,
) -> bytes:
    """The DER of a SignedData over content whose SHA-256 is ``digest``.

    ``content`` is enclosed when given, detached else. ``timestamp`` gets the
    signature's bytes and gives the token for them (RFC 3161 appendix A).
    ``ConfigurationError`` when the certificate is not in force: the key may have been loaded long ago.
    ``IntegrityError`` when the certificate's key does not accept the signature: nobody else would.
    """
    require_in_force(pair)
    attributes = _attributes(pair, content_type, digest)
    # RFC 5652 section 5.4: they are signed as the SET that they are, and sent under the tag [0].
    signature = _raw(pair, _set(*attributes))
    signer = _sequence(
        _VERSION_1,
        pair.identifier,
        _SHA256,
        _tagged(0, *attributes),
        pair.algorithm,
        _octets(signature),
        b"" if timestamp is None else _tagged(1, _attribute("signature_time_stamp_token", timestamp(signature))),
    )
    enclosed = b"" if content is None else _tagged(0, _octets(content))
    signed_data = _sequence(
        # RFC 5652 section 5.1: version 3 as soon as the content is not id-data.
        _VERSION_1 if content_type == "data" else _VERSION_3,
        _set(_SHA256),
        _sequence(_OIDS[content_type], enclosed),
        pair.certificates if certificates else b"",
        _set(signer),
    )
    return _sequence(_OIDS["signed_data"], _tagged(0, signed_data))


def _attributes(pair: KeyPair, content_type: str, digest: bytes) -> list[bytes]:
    """In the order of a DER set: by their encodings (X.690 section 11.6)."""
    what = _attribute("content_type", _OIDS[content_type]), _attribute("message_digest", _octets(digest))
    return sorted((*what, *pair.attributes))


def _attribute(name: str, value: bytes) -> bytes:
    return _sequence(_OIDS[name], _set(value))


def _signing_certificate(certificate: x509.Certificate) -> bytes:
    """SigningCertificateV2 with one ESSCertIDv2. Its hash algorithm is left out: SHA-256 is the default (RFC 5035)."""
    issuer = _sequence(_tagged(4, certificate.issuer.dump()))
    serial = core.Integer(certificate.serial_number).dump()
    identifier = _sequence(_octets(certificate.sha256), _sequence(issuer, serial))
    return _sequence(_sequence(identifier))


def _raw(pair: KeyPair, data: bytes) -> bytes:
    signature = pair.key.sign(data, *pair.scheme)
    try:
        pair.certified.verify(signature, data, *pair.scheme)
    except (InvalidSignature, TypeError) as error:  # a key of another kind takes other arguments
        raise IntegrityError("The signature does not match its certificate.", where=pair.fingerprint) from error
    return signature


# Constructed DER is written from parts that are DER already: asn1crypto's own trees, nested this deep, take seconds.


def _sequence(*parts: bytes) -> bytes:
    return bytes(parser.emit(0, 1, 16, b"".join(parts)))


def _set(*parts: bytes) -> bytes:
    return bytes(parser.emit(0, 1, 17, b"".join(parts)))


def _tagged(number: int, *parts: bytes) -> bytes:
    return bytes(parser.emit(2, 1, number, b"".join(parts)))


def _octets(content: bytes) -> bytes:
    return bytes(parser.emit(0, 0, 4, content))


# The names are those of asn1crypto.
_OIDS: Mapping[str, bytes] = {
    name: bytes(core.ObjectIdentifier(dotted).dump())
    for name, dotted in {
        "data": "1.2.840.113549.1.7.1",  # RFC 5652, as those whose source is not said
        "signed_data": "1.2.840.113549.1.7.2",
        "content_type": "1.2.840.113549.1.9.3",
        "message_digest": "1.2.840.113549.1.9.4",
        "tst_info": "1.2.840.113549.1.9.16.1.4",  # RFC 3161
        "signature_time_stamp_token": "1.2.840.113549.1.9.16.2.14",  # RFC 3161 appendix A
        "signing_certificate_v2": "1.2.840.113549.1.9.16.2.47",  # RFC 5035
        "cms_algorithm_protection": "1.2.840.113549.1.9.52",  # RFC 6211
    }.items()
}
_SHA256 = bytes(algos.DigestAlgorithm({"algorithm": "sha256"}).dump())
_VERSION_1 = bytes(core.Integer(1).dump())
_VERSION_3 = bytes(core.Integer(3).dump())


def check_form(der: bytes, content_type: str) -> None:
    """Refuse a SignedData of another form than the one it must have. ``ValueError`` says where it differs.

    Much of a SignedData is under no signature: versions, tags, identifiers
    that are written twice, attributes that anybody may add. RFC 5652 section 5
    leaves them no choice here, so a byte that was changed in them is found.
    """
    kind, body = _parts(der, _CONTENT_INFO)
    signed = _parts(_inside(body), _SIGNED_DATA)
    version, algorithms, enclosed, signers = signed[0], signed[1], signed[2], signed[-1]
    signer = _parts(_inside(signers), _SIGNER_INFO)
    fields = [part for part in signer if part[0] != 0xA1]
    expected = (
        (kind, _OIDS["signed_data"], "content type"),
        (version, _VERSION_1 if content_type == "data" else _VERSION_3, "version"),
        (_parts(enclosed, _ENCLOSED)[0], _OIDS[content_type], "enclosed content type"),
        (_oid(_inside(algorithms)), _oid(fields[2]), "digest algorithm"),
        (fields[0], _VERSION_1 if fields[1][0] == 0x30 else _VERSION_3, "version of the signer"),
    )
    for found, proper, name in expected:
        if found != proper:
            raise ValueError(f"its {name} is not what it must be")
    _check_unsigned([part for part in signer if part[0] == 0xA1], content_type)


def _check_unsigned(found: list[bytes], content_type: str) -> None:
    """The one attribute that may be added to what is signed: a seal's timestamp."""
    names = [_parts(attribute, _ATTRIBUTE)[0] for part in found for attribute in _parts(part, None)]
    if names not in ([], [_OIDS["signature_time_stamp_token"]][: content_type == "data"]):
        raise ValueError("it carries attributes that nobody signed")


# The tags of each structure's parts, in their order; optional ones are those that have a context-specific tag.
_CONTENT_INFO = (b"\x06\xa0",)
_SIGNED_DATA = (b"\x02\x31\x30\xa0\x31", b"\x02\x31\x30\x31", b"\x02\x31\x30\xa0\xa1\x31")
_ENCLOSED = (b"\x06", b"\x06\xa0")
_SIGNER_INFO = tuple(
    bytes((0x02, identifier, 0x30, 0xA0, 0x30, 0x04)) + unsigned
    for identifier in (0x30, 0x80)
    for unsigned in (b"", b"\xa1")
)
_ATTRIBUTE = (b"\x06\x31",)


def _parts(der: bytes, forms: Sequence[bytes] | None) -> list[bytes]:
    """The encodings inside a constructed one, whose tags must be one of ``forms``."""
    inside, parts = _contents(der), []
    while inside:
        length = parser.peek(inside)
        parts.append(inside[:length])
        inside = inside[length:]
    if forms is not None and bytes(part[0] for part in parts) not in forms:
        raise ValueError("its parts are not those of a SignedData")
    return parts


def _inside(der: bytes) -> bytes:
    """The one encoding inside a tag or a set."""
    parts = _parts(der, None)
    if len(parts) != 1:
        raise ValueError("it holds more or less than one thing where there must be one")
    return parts[0]


def _contents(der: bytes) -> bytes:
    return bytes(parser.parse(der, strict=True)[4])


def _oid(algorithm: bytes) -> bytes:
    """An AlgorithmIdentifier's OID; its parameters are absent or NULL (RFC 5754 section 2)."""
    oid, *parameters = _parts(algorithm, (b"\x06", b"\x06\x05"))
    if algorithm[0] != 0x30 or parameters not in ([], [b"\x05\x00"]):
        raise ValueError("its digest algorithm is not a plain one")
    return oid


def usable(key: object, where: str) -> PrivateKey:
    """The key, when it is of a kind that PDF readers know. ``ConfigurationError`` else."""
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise ConfigurationError(
        "The key is neither RSA of 2048 bits or more nor an elliptic curve.",
        where=where,
        remedy="Use an RSA-3072 key: PDF readers do not know others.",
    )
