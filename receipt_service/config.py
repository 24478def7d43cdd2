"""The settings: one JSON file, readable by its owner only, read once; an unknown key is refused.

The file holds secrets, so no message of this module repeats a value: it names
the key, what is wrong, and what to do.
"""

from __future__ import annotations

import ipaddress
import json
import re
import stat
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

EX_CONFIG = 78  # sysexits.h

Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=500)]


class SettingsError(Exception):
    """A setting is wrong or missing: ``what``, ``where`` (file and key), ``remedy``."""

    def __init__(self, what: str, where: str, remedy: str) -> None:
        super().__init__(what)
        self.lines = (what, where, remedy)


def _listening_address(text: str) -> str:
    if re.fullmatch(r"fd://\d+|unix:///.+", text):
        return text
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, fd://N or unix:///PATH")
    return text


def _base_of_links(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query or parts.fragment:
        raise ValueError("must be http(s)://HOST[:PORT] without a path or a trailing slash")
    return text


def _sender(text: str) -> str:
    if "@" not in parseaddr(text)[1]:
        raise ValueError("must be an address, as in: Comptabilité <compta@firm.example>")
    return text


def _is_own_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class Smtp(_Strict):
    """The account that mails are given to. ``timeout`` in seconds; ``bcc`` and ``user`` may be empty."""

    host: Line
    port: int = Field(ge=1, le=65535)
    user: Line = ""
    password: SecretStr = SecretStr("")
    tls: Literal["none", "starttls", "tls"]
    sender: Annotated[Line, AfterValidator(_sender)] = Field(alias="from")
    bcc: Line = ""
    helo: Line = ""
    timeout: float = Field(30, gt=0)
    per_minute: int = Field(30, ge=1)

    @model_validator(mode="after")
    def _password_is_encrypted(self) -> Self:
        if self.user and self.tls == "none" and not _is_own_machine(self.host):
            raise ValueError("with tls none the password would cross the network in clear: set starttls or tls")
        return self


class Retry(_Strict):
    """Waiting times of a letter that could not be handed over, in seconds."""

    first: float = Field(60, gt=0)
    most: float = Field(21600, gt=0)
    give_up_after: float = Field(259200, gt=0)


class Settings(_Strict):
    """Everything the service needs to know; the meaning of each key is that of the contract."""

    database: Path
    documents: Path
    outbox_key: Path
    secret: SecretStr = Field(min_length=16)
    public: Annotated[str, AfterValidator(_listening_address)]
    api: Annotated[str, AfterValidator(_listening_address)]
    public_url: Annotated[str, AfterValidator(_base_of_links)]
    server_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    staff_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    smtp: Smtp
    retry: Retry = Retry.model_validate({})
    document_days_after_handover: float = Field(30, ge=0)
    die_with_parent: bool = False


def read_settings(file: Path) -> Settings:
    """Read and check the settings file.

    Raises:
        SettingsError: the file is missing, readable by others, not JSON, or a key is wrong.
    """
    try:
        mode = file.stat().st_mode
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the settings cannot be read: {type(error).__name__}", str(file), "check --settings"
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(
            f"others may read the settings (mode {stat.S_IMODE(mode):04o})", str(file), f"chmod 0600 {file}"
        )
    try:
        return Settings.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise SettingsError("the settings are not JSON", f"{file}, line {error.lineno}", "mend the file") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{key}: {first['msg']}", str(file), "mend this key") from None
