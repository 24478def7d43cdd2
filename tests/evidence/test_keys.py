"""Keys: made once, private, whole or not there at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from printerd.errors import ConfigurationError
from printerd.evidence import cms, keys, sealing, trust
from tests.evidence.conftest import FIRM


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def exported(key_folder: Path, path: Path, passphrase: bytes) -> Path:
    """The firm's seal as a PKCS#12 file."""
    key = serialization.load_pem_private_key((key_folder / "seal.key").read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(passphrase)
    data = pkcs12.serialize_key_and_certificates(
        b"seal",
        key,  # type: ignore[arg-type]  # an RSA key, as a test above shows
        certificate(key_folder / "seal.crt"),
        None,
        encryption,
    )
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_the_seal_is_an_rsa_3072_key_named_after_the_firm(key_folder: Path) -> None:
    """The certificate signs and commits, is no authority, and outlives the ten years that an invoice is kept."""
    found = certificate(key_folder / "seal.crt")
    assert found.public_key().key_size == 3072  # type: ignore[union-attr]
    assert found.subject.rfc4514_string() == "CN=Atelier Dupont & Fils,O=Atelier Dupont & Fils"
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.content_commitment
    assert not usage.value.key_cert_sign
    assert (found.not_valid_after_utc - found.not_valid_before_utc).days > 3650


def test_the_built_in_authority_does_nothing_but_timestamps(key_folder: Path) -> None:
    """RFC 3161 section 2.3: one extended key usage, and it is critical. Its very name says that it proves order."""
    found = certificate(key_folder / "tsa.crt")
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical
    assert list(usage.value) == [x509.oid.ExtendedKeyUsageOID.TIME_STAMPING]
    assert "order, not time" in str(found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def test_keys_are_nobody_elses(key_folder: Path) -> None:
    """Every file of the folder is 0600."""
    assert {oct(file.stat().st_mode & 0o777) for file in key_folder.iterdir()} == {"0o600"}


def test_a_second_start_finds_the_same_key(key_folder: Path) -> None:
    """Keys are never overwritten."""
    before = (key_folder / "seal.key").read_bytes()
    assert keys.seal(key_folder, "Another name").fingerprint == keys.seal(key_folder, FIRM).fingerprint
    assert (key_folder / "seal.key").read_bytes() == before


def test_sealers_that_start_together_share_one_key(tmp_path: Path) -> None:
    """One makes the key, the others wait for it."""
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: keys.seal(tmp_path / "keys", FIRM).fingerprint, range(4)))
    assert len(set(found)) == 1


def test_a_kill_between_key_and_certificate_is_healed(key_folder: Path, tmp_path: Path) -> None:
    """The next start makes the certificate for the key that is there, and forgets half-written files."""
    (tmp_path / "seal.key").write_bytes((key_folder / "seal.key").read_bytes())
    (tmp_path / "seal.key").chmod(0o600)
    (tmp_path / "seal.crt.0123.new").write_bytes(b"-----BEGIN")
    pair = keys.seal(tmp_path, FIRM)
    assert pair.key.public_key() == keys.seal(key_folder, FIRM).key.public_key()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["seal.crt", "seal.key"]


@pytest.mark.parametrize("moment", [0.3, 0.5])
def test_kill_9_at_any_moment_leaves_whole_keys_or_none(tmp_path: Path, moment: float) -> None:
    """Whatever moment a first start is killed at, the next one succeeds."""
    code = "import sys, pathlib; from printerd.evidence import keys; keys.seal(pathlib.Path(sys.argv[1]), 'x')"
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    time.sleep(moment)
    child.send_signal(signal.SIGKILL)
    child.wait()
    for file in tmp_path.glob("seal.???"):
        assert file.read_bytes().rstrip().endswith(b"-----")
    keys.seal(tmp_path, "x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(key_folder: Path, tmp_path: Path, mode: int) -> None:
    """The service does not start, and the message says what to run."""
    key = tmp_path / "seal.key"
    key.write_bytes((key_folder / "seal.key").read_bytes())
    key.chmod(mode)
    with pytest.raises(ConfigurationError) as caught:
        keys.seal(tmp_path, FIRM)
    assert caught.value.remedy == f"Run: chmod 600 {key}"


@pytest.mark.parametrize(
    ("name", "content"),
    [("seal.key", b"nonsense"), ("seal.crt", b"nonsense"), ("seal.key", b""), ("seal.crt", None)],
)
def test_a_damaged_key_is_refused_and_kept(key_folder: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    """What cannot be read, or belongs to another key, is never replaced: the backup holds the right one."""
    for each in ("seal.key", "seal.crt"):
        (tmp_path / each).write_bytes((key_folder / each).read_bytes())
        (tmp_path / each).chmod(0o600)
    damaged = content if content is not None else (key_folder / "tsa.crt").read_bytes()
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(ConfigurationError) as caught:
        keys.seal(tmp_path, FIRM)
    assert caught.value.where == str(tmp_path / name)
    assert (tmp_path / name).read_bytes() == damaged


def test_a_certificate_without_its_key_is_refused(key_folder: Path, tmp_path: Path) -> None:
    """A lost key is not made anew in silence."""
    (tmp_path / "seal.crt").write_bytes((key_folder / "seal.crt").read_bytes())
    (tmp_path / "seal.crt").chmod(0o600)
    with pytest.raises(ConfigurationError, match="its key is not"):
        keys.seal(tmp_path, FIRM)
    assert not (tmp_path / "seal.key").exists()


def test_a_pkcs12_file_seals_with_its_own_key(key_folder: Path, tmp_path: Path) -> None:
    """The passphrase is the first line of a file; the certificate is kept so that its seals can be checked later."""
    store = exported(key_folder, tmp_path / "seal.p12", b"a passphrase")
    word = tmp_path / "word"
    word.write_bytes(b"a passphrase\n")
    word.chmod(0o600)
    folder = tmp_path / "keys"
    sealing.start(str(folder), "local:", str(store), str(word), FIRM)
    assert not (folder / "seal.key").exists()
    pair = keys.from_pkcs12(store, word)
    anchors = trust.load(folder.glob("*.crt"))
    assert anchors.covers(pair.certificate, (), pair.certificate.not_valid_before)


def test_a_pkcs12_file_with_the_wrong_passphrase_is_refused(key_folder: Path, tmp_path: Path) -> None:
    """The message names the file and never the passphrase."""
    store = exported(key_folder, tmp_path / "seal.p12", b"a passphrase")
    word = tmp_path / "word"
    word.write_bytes(b"another one")
    word.chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        keys.from_pkcs12(store, word)
    assert "another one" not in "\n".join(caught.value.lines())
    word.chmod(0o644)
    with pytest.raises(ConfigurationError, match="opened by others"):
        keys.from_pkcs12(store, word)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        keys.from_pkcs12(tmp_path / "nowhere.p12", None)


def test_a_passphrase_without_a_pkcs12_file_is_a_mistake(tmp_path: Path) -> None:
    """Half a setting is refused before any key is made."""
    with pytest.raises(ConfigurationError):
        sealing.start(str(tmp_path / "keys"), "local:", "", str(tmp_path / "word"), FIRM)
    assert not (tmp_path / "keys").exists()


def test_the_folder_is_nobody_elses(tmp_path: Path) -> None:
    """A folder that the first start makes is 0700 whatever the umask."""
    before = os.umask(0)
    try:
        keys.authority(tmp_path / "keys", FIRM)
    finally:
        os.umask(before)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_certificate_that_is_not_in_force_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that has run out seals nothing: the service does not start."""
    monkeypatch.setattr(keys, "VALID", timedelta(minutes=-30))
    with pytest.raises(ConfigurationError, match="not now"):
        keys.seal(tmp_path, FIRM)


def test_a_key_seals_nothing_once_its_certificate_has_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key was loaded while it was in force; the next signature is refused, not made for nobody."""
    monkeypatch.setattr(keys, "VALID", timedelta(seconds=2))
    pair = keys.seal(tmp_path, FIRM)
    assert cms.sign(pair, "data", bytes(32))
    time.sleep(2.1)
    with pytest.raises(ConfigurationError, match="not now"):
        cms.sign(pair, "data", bytes(32))
