"""Settings are read once, from known keys only, and the surest source wins."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from printerd import config
from printerd.errors import ConfigurationError, RequestError

ISSUER = """
[issuers.mill]
name = "Au bon moulin"
email = "accounts@mill.example"
siren = "123 456 782"
ibans = ["FR76 3000 6000 0112 3456 7890 189"]
"""


def test_set_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--set, environment, config.toml, defaults: in this order."""
    (tmp_path / "config.toml").write_text("[jobs]\nreport_within = 10\n[smtp]\nport = 1\nhost = 'file'\n")
    monkeypatch.setenv("INVOICE_PRINTER_SMTP__PORT", "2")
    monkeypatch.setenv("INVOICE_PRINTER_SMTP__HOST", "environment")
    settings = config.load(tmp_path, ["smtp.port=3"])
    assert (settings.smtp.port, settings.smtp.host, settings.jobs.report_within) == (3, "environment", 10)
    assert settings.limits.document == 256 << 20


@pytest.mark.parametrize(
    "assignment",
    [
        "nope=1",
        "listen.nope=1",
        "smtp.password=secret",
        "listen.ipp=8631",
        'listen.networks=["192.0.2.7/24"]',
        'listen.operators=["sap.example"]',
    ],
)
def test_a_wrong_key_is_named_and_its_value_is_not_repeated(tmp_path: Path, assignment: str) -> None:
    """A mistake names its key; a value, which may be a secret, is not printed."""
    key, value = assignment.split("=")
    with pytest.raises(ConfigurationError) as caught:
        config.load(tmp_path, [assignment])
    assert key in caught.value.what
    assert value not in " ".join(caught.value.lines()).replace("127.0.0.1:8631", "")
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("assignments", "key"),
    [
        (["database=postgresql://u:swordfish@db/x"], "database"),
        (["database=postgresql://db/x?password=swordfish"], "database"),
        (["receipts.api=0.0.0.0:8633"], "receipts.api"),
        (["receipts.api=edge.example:8633"], "receipts.api"),
        (["smtp.user=u", "smtp.host=mail.example"], "smtp"),
    ],
)
def test_no_secret_is_said_aloud(tmp_path: Path, assignments: list[str], key: str) -> None:
    """A password stands in no URL, and neither it nor the contract's secret crosses a network in clear."""
    with pytest.raises(ConfigurationError) as caught:
        config.load(tmp_path, assignments)
    assert caught.value.what.startswith(f"{key}:") and "swordfish" not in caught.value.what


def test_what_stays_on_this_machine_needs_no_tls(tmp_path: Path) -> None:
    """Unix sockets and loopback, also by IPv6; a relay elsewhere with TLS."""
    for api in ("[::1]:8633", "unix:///run/x.sock", "localhost:1", "fd://8"):
        assert config.load(tmp_path, [f"receipts.api={api}", "smtp.user=u"]).receipts.api == api
    assert config.load(tmp_path, ["smtp.user=u", "smtp.host=mail.example", "smtp.tls=starttls"]).smtp.user == "u"
    assert config.load(tmp_path, ["database=postgresql://u@db/x"]).database == "postgresql://u@db/x"


def test_an_unknown_environment_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable stops the start instead of being ignored."""
    monkeypatch.setenv("INVOICE_PRINTER_LISTN__IPP", "127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="LISTN"):
        config.load(tmp_path)


def test_broken_toml_names_file_and_line(tmp_path: Path) -> None:
    """A typing mistake in the file is shown with its place."""
    (tmp_path / "config.toml").write_text("[listen\n")
    with pytest.raises(ConfigurationError, match="line 1") as caught:
        config.load(tmp_path)
    assert caught.value.where.endswith("config.toml")


def test_an_issuer_is_compact(tmp_path: Path) -> None:
    """Identifiers may be written with spaces; they are compared without."""
    (tmp_path / "config.toml").write_text(ISSUER)
    (issuer,) = config.issuers(config.load(tmp_path))
    assert (issuer.key, issuer.party.siren) == ("mill", "123456782")
    assert issuer.ibans == {"FR7630006000011234567890189"}
    assert issuer.reply_to == "accounts@mill.example"


def test_a_wrong_iban_is_refused(tmp_path: Path) -> None:
    """An account number with a typing mistake never becomes the issuer's."""
    (tmp_path / "config.toml").write_text(ISSUER.replace("189", "188"))
    with pytest.raises(ConfigurationError, match=r"issuers\.mill\.ibans"):
        config.load(tmp_path)


def test_the_template_is_valid_and_shows_the_defaults(tmp_path: Path) -> None:
    """Taking all comment signs away from the written file changes no setting."""
    text = config.template()
    assert tomllib.loads(text) == {section: {} for section in tomllib.loads(text)}
    bare = "\n".join(line[2:] if " = " in line else line for line in text.split("# One section")[0].splitlines())
    (tmp_path / "config.toml").write_text(bare)
    assert config.load(tmp_path) == config.load(tmp_path / "none")


def test_set_without_a_value_says_how() -> None:
    """--set without an equals sign is explained."""
    with pytest.raises(RequestError, match="KEY=VALUE"):
        config.load(Path("none"), ["language"])
