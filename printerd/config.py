"""One frozen Settings, read once, by ``cli`` and ``supervisor`` alone; unknown keys are refused.

Precedence: ``--set``, environment (``INVOICE_PRINTER_LISTEN__IPP``), ``config.toml``
of the state folder or else of ``/etc/invoice-printer``, defaults. A secret is
never a setting: settings name the file (mode 0600) that holds it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from stdnum import iban as iban_number

from printerd.errors import ConfigurationError, RequestError
from printerd.model import Issuer, Party

PREFIX = "INVOICE_PRINTER_"
SYSTEM_CONFIG = Path("/etc/invoice-printer/config.toml")
SYSTEM_STATE = Path("/var/lib/invoice-printer")


def _address(value: str) -> str:
    """HOST:PORT, ``fd://N`` (a socket that is open already) or ``unix:///path``."""
    host, _, port = value.rpartition(":")
    if re.fullmatch(r"fd://\d+|unix:///.+", value) or (host and port.isdecimal() and int(port) < 65536):
        return value
    raise ValueError("give HOST:PORT, for example 127.0.0.1:8631")


def _own_address(value: str) -> str:
    """An address that no other machine reaches: what is said there is not encrypted."""
    if _address(value).startswith(("fd://", "unix://")) or is_own_machine(value.rpartition(":")[0].strip("[]")):
        return value
    raise ValueError("give an address of this machine, for example 127.0.0.1:8633: a secret is said there in clear")


def is_own_machine(host: str) -> bool:
    """Whether a host is this one, by the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _without_password(value: str) -> str:
    """A URL is shown, logged and handed on in command lines."""
    parts = urlsplit(value)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise ValueError("holds a password; write it into ~/.pgpass (mode 0600) and leave it out here")
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError("give a network, for example 192.0.2.0/24") from None


def _machine(value: str) -> str:
    """An address as peers have it, or this machine."""
    try:
        return value if value == "localhost" else str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("give an address without port, for example 192.0.2.7, or localhost") from None


def _address_or_none(value: str) -> str:
    return _address(value) if value else value


def _socket_or_none(value: str) -> str:
    """``unix:///path`` or ``fd://N``: who connects is told by the kernel."""
    if re.fullmatch(r"(fd://\d+|unix:///.+)?", value):
        return value
    raise ValueError("give unix:///path of a socket, or nothing")


def _iban(value: str) -> str:
    return str(iban_number.validate(iban_number.compact(value)))


def _folder_or_none(value: str) -> str:
    if not value or Path(value).is_absolute():
        return value
    raise ValueError("give a whole path, for example /srv/invoices")


def _recipient(value: str) -> str:
    from email_validator import EmailNotValidError, validate_email  # for who sets it alone

    try:
        validate_email(
            value if "@" in value else f"all@{value}", check_deliverability=False, globally_deliverable=False
        )
    except EmailNotValidError:
        raise ValueError("give an address, or a domain: firm.example") from None
    if not value.isascii() or "," in value:
        raise ValueError("give it in ASCII, an international domain as xn--…")
    return value


Address = Annotated[str, AfterValidator(_address)]
Recipient = Annotated[str, AfterValidator(_recipient)]
FolderOrNone = Annotated[str, AfterValidator(_folder_or_none)]
OwnAddress = Annotated[str, AfterValidator(_own_address)]
Network = Annotated[str, AfterValidator(_network)]
Machine = Annotated[str, AfterValidator(_machine)]
DatabaseUrl = Annotated[str, AfterValidator(_without_password)]
AddressOrNone = Annotated[str, AfterValidator(_address_or_none)]
SocketOrNone = Annotated[str, AfterValidator(_socket_or_none)]
Iban = Annotated[str, AfterValidator(_iban)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Listen(Section):
    ipp: Address = Field("127.0.0.1:8631", description="Printer and console: HOST:PORT. Loopback until you open it.")
    names: tuple[str, ...] = Field((), description="Host names under which clients reach this machine.")
    operators: tuple[Machine, ...] = Field(
        (), description="Addresses from which print clients may pause, close and clear the printer; or localhost."
    )
    backend: SocketOrNone = Field(
        "", description="Where the CUPS backend hands over documents: unix:///path; off when empty."
    )
    health: AddressOrNone = Field(
        "127.0.0.1:8635", description="Health and metrics (/healthz, /metrics): HOST:PORT; off when empty."
    )
    raw: AddressOrNone = Field("", description="Raw printing (port 9100 by custom): HOST:PORT; off when empty.")
    lpd: AddressOrNone = Field("", description="LPD (RFC 1179, port 515 by custom): HOST:PORT; off when empty.")
    networks: tuple[Network, ...] = Field(
        (), description="Networks (CIDR) that may print by raw and LPD beside this machine."
    )
    raw_idle: float = Field(60, gt=0, description="Seconds of silence that end a document without length (raw, LPD).")
    dnssd: bool = Field(
        True, description="Announce the printer to its network (DNS-SD), once listen.ipp is open to that network."
    )
    dnssd_name: str = Field("", description="The name under which it is announced; the printer's own when empty.")


class Limits(Section):
    document: ByteSize = Field(ByteSize(256 << 20), description="The largest document that is taken.")
    free_space: ByteSize = Field(ByteSize(512 << 20), description="Below this free disk space no new job is taken.")


class Jobs(Section):
    report_within: float = Field(30, gt=0, description="Seconds until a print job is shown as completed at the latest.")
    multiple_operation_time_out: int = Field(60, gt=0, description="Seconds that an open job waits for its document.")


class Choices(Section):
    routes: tuple[Literal["mail", "paper", "both", "hold-for-review"], ...] = Field(
        ("mail", "paper", "both", "hold-for-review"),
        description="Ways that senders may choose for their invoices, beside that of the customer's record.",
    )
    copies: tuple[Recipient, ...] = Field(
        (),
        description="Addresses, and whole domains, to which senders may have a copy of the mail sent; none when empty.",
    )


class Folders(Section):
    path: FolderOrNone = Field("", description="The hot folder: what is put there is printed; off when empty.")
    rest: float = Field(2, gt=0, description="Seconds that a file stays unchanged before it is taken.")
    sidecar_wait: float = Field(
        0, ge=0, description="Seconds that a document waits for its sidecar, where you write any."
    )
    complete_within: float = Field(
        600, gt=0, description="Seconds after which an unfinished file, at rest, has failed."
    )
    look_every: float = Field(10, gt=0, description="Seconds between two looks, where no event tells of a file.")


class IssuerSection(Section):
    name: str = Field(description="The firm's name, as on its invoices.")
    siren: str = Field("", description="SIREN, nine digits.")
    vat_id: str = Field("", description="VAT identification number.")
    address: str = Field("", description="Postal address; lines separated by \\n.")
    email: str = Field(description="The firm's mail address, shown to customers.")
    reply_to: str = Field("", description="Accounting's mailbox; the firm's address when empty.")
    phone: str = Field("", description="Whom customers call.")
    colour: str = Field("#1f4e79", pattern=r"^#[0-9a-fA-F]{6}$", description="Accent colour of page and mail.")
    ibans: tuple[Iban, ...] = Field((), description="Every account that may stand on an invoice. Others make it wait.")


class Signature(Section):
    pkcs12: str = Field("", description="PKCS#12 file with the seal's key; a key is made at first start when empty.")
    passphrase_file: str = Field("", description="File (0600) that holds its passphrase.")


class TimestampSection(Section):
    url: str = Field("local:", description="RFC 3161 authority by URL. local: is built in and proves order, not time.")
    invoices: bool = Field(
        True,
        description="Give each invoice's seal a timestamp; without, only the ledger's heads (one call for all).",
    )


class Receipts(Section):
    public: Address = Field("127.0.0.1:8632", description="Where customers' pages are served: HOST:PORT.")
    api: OwnAddress = Field("127.0.0.1:8633", description="Where the contract is served: HOST:PORT or unix:///path.")
    public_url: str = Field("", description="Base of the links in mails; the public address when empty.")
    server_name: str = Field("edge-1", description="The delivery server's name, printed on receipts.")
    expiry_days: int = Field(90, gt=0, description="Days that a link works.")
    document_days: int = Field(30, gt=0, description="Days that a document is kept after it was handed over.")
    trusted_proxies: tuple[str, ...] = Field((), description="Networks whose X-Forwarded-For is believed.")
    staff_networks: tuple[str, ...] = Field((), description="Networks of your own staff: their clicks never count.")


class Smtp(Section):
    host: str = Field("127.0.0.1", description="Mail relay.")
    port: int = Field(25, gt=0, lt=65536, description="Its port.")
    tls: Literal["none", "starttls", "tls"] = Field("none", description="none, starttls or tls.")
    user: str = Field("", description="Account, if the relay asks for one.")
    password_file: str = Field("", description="File (0600) that holds its password.")
    sender: str = Field("invoices@localhost", description="From: of the mails.")
    bcc: str = Field("", description="A copy without the customer's link goes here.")
    per_minute: int = Field(30, gt=0, description="Messages a minute at most (Microsoft 365 allows 30).")
    retry_first: float = Field(60, gt=0, description="Seconds until the first new attempt; each one doubles.")
    retry_most: float = Field(21600, gt=0, description="Seconds between two attempts at most.")
    give_up_after: float = Field(259200, gt=0, description="Seconds after which a message counts as failed.")

    @model_validator(mode="after")
    def _password_is_encrypted(self) -> Self:
        if self.user and self.tls == "none" and not is_own_machine(self.host):
            raise ValueError("smtp.tls is none: the password would cross the network in clear; set starttls or tls")
        return self


class Rehearsal(Section):
    to: str = Field("", description="Until go-live, every mail goes here and names the true addressee.")


class Pools(Section):
    readers: int = Field(2, gt=0, description="Processes that read documents.")
    sealers: int = Field(2, gt=0, description="Processes that sign.")
    reader_seconds: float = Field(
        60, gt=0, description="Time that a document, or a range of a large one, may take to be read."
    )


class Settings(BaseSettings):
    """Every setting of an instance; see docs/configuration.md."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        hide_input_in_errors=True,
    )

    language: Literal["en", "fr"] = Field("en", description="Language of the print queue and of the console: en or fr.")
    time_zone: str = Field("Europe/Paris", description="Local time of the receipts (IANA name).")
    database: DatabaseUrl = Field("", description="SQLAlchemy URL; printerd.db in the state folder when empty.")
    listen: Listen = Listen()
    limits: Limits = Limits()
    jobs: Jobs = Jobs()
    choices: Choices = Choices()
    folders: Folders = Folders()
    signature: Signature = Signature()
    timestamp: TimestampSection = TimestampSection()
    receipts: Receipts = Receipts()
    smtp: Smtp = Smtp()
    rehearsal: Rehearsal = Rehearsal()
    pools: Pools = Pools()
    issuers: dict[str, IssuerSection] = Field({}, description="Who issues invoices here, each under a short name.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # load() lays the sources over one another, so that --set stands above the environment


def load(state: Path, assignments: Iterable[str] = ()) -> Settings:
    """The settings of the instance in ``state``. A wrong one is a :class:`ConfigurationError` that names its key."""
    _refuse_unknown_variables(os.environ)
    source = config_file(state)
    written = _read(source) if source else {}
    chosen = _nested(assignments)
    try:
        return Settings(**_laid_over(_laid_over(written, EnvSettingsSource(Settings)()), chosen))
    except ValidationError as error:
        raise _explained(error, source, chosen) from None


def moved(settings: Settings, places: Mapping[str, str]) -> Settings:
    """The same settings with other addresses: ``{"listen.ipp": "127.0.0.1:40123"}``."""
    sections: dict[str, Section] = {}
    for key, place in places.items():
        name, _, last = key.partition(".")
        sections[name] = sections.get(name, getattr(settings, name)).model_copy(update={last: place})
    return settings.model_copy(update=sections)


def config_file(state: Path) -> Path | None:
    """The one file that is read: the instance's own, else the system's."""
    return next((path for path in (state / "config.toml", SYSTEM_CONFIG) if path.is_file()), None)


def default_state() -> Path:
    """``INVOICE_PRINTER_STATE``, else the system's folder where it exists, else one in the user's home."""
    if chosen := os.environ.get(f"{PREFIX}STATE"):
        return Path(chosen)
    if SYSTEM_STATE.is_dir() and os.access(SYSTEM_STATE, os.R_OK | os.X_OK):
        return SYSTEM_STATE
    return Path.home() / ".local/state/invoice-printer"


def issuers(settings: Settings) -> tuple[Issuer, ...]:
    return tuple(
        Issuer(
            key=key,
            party=Party(one.name, one.siren.replace(" ", ""), one.vat_id.replace(" ", ""), one.address, one.email),
            ibans=frozenset(one.ibans),
            reply_to=one.reply_to or one.email,
            phone=one.phone,
            colour=one.colour,
        )
        for key, one in settings.issuers.items()
    )


def template() -> str:
    """A commented ``config.toml``: every key with its default, made from the model so that it cannot go stale."""
    lines = [
        "# Invoice Printer. What is commented out shows the default; invoice-printer config check tells mistakes.",
        "",
    ]
    lines += _keys(Settings, skip={"issuers"})
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, Section):
            lines += ["", f"[{name}]", *_keys(type(field.default))]
    lines += ["", "# One section for each firm that issues invoices:", "# [issuers.main]", *_keys(IssuerSection)]
    return "\n".join(lines) + "\n"


def _keys(section: type[BaseModel], skip: Iterable[str] = ()) -> list[str]:
    lines = []
    for name, field in section.model_fields.items():
        if not isinstance(field.default, Section) and name not in skip:
            lines += [f"# {field.description}", f"# {name} = {_toml('' if field.is_required() else field.default)}"]
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, ByteSize):
        return f'"{value.human_readable(separator=" ")}"'
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # of the tables, of a number of 5,000 digits, of 1,000 brackets
        raise ConfigurationError(
            f"The settings are not valid TOML: {error}.", where=str(path), remedy="Mend the line and start again."
        ) from None


def _nested(assignments: Iterable[str]) -> dict[str, Any]:
    """``["a.b=1"]`` → ``{"a": {"b": 1}}``; a value is TOML where it parses, else plain text."""
    tree: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise RequestError(f"--set takes KEY=VALUE, not {assignment!r}.", remedy="For example: --set language=fr")
        *parents, last = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise RequestError(
                    f"--set gives {parent} a value, and {assignment!r} a part.", remedy="Give one of both."
                )
        branch[last] = _value(value)
    return tree


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _laid_over(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = _laid_over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {*Settings.model_fields, "state"}
    for name in environment:
        key = name.removeprefix(PREFIX).split("__")[0].lower()
        if name.startswith(PREFIX) and key not in known:
            raise ConfigurationError(
                f"The environment variable {name} names no setting.",
                remedy="Unset it, or see: invoice-printer config show",
            )


def _explained(error: ValidationError, source: Path | None, chosen: Mapping[str, Any]) -> ConfigurationError:
    """Every mistake at once, each by its key; values are not repeated: one may be a secret in the wrong place."""
    mistakes = [
        f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()
    ]
    places = [str(source)] if source else []
    places += ["--set"] if chosen else []
    return ConfigurationError(
        "; ".join(mistakes),
        where=f"settings from {', '.join([*places, 'environment'])}",
        remedy="invoice-printer config show lists the keys, docs/configuration.md explains them.",
    )
