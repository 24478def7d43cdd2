"""What the operator does with the printer: pause, resume, open, close, hold back, and a few words of his own.

One rule: who may is a list of hosts (``listen.operators``), empty until
somebody fills it; what each operation does is a row of :data:`SWITCHES`. The
switches are kept: a restart changes none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from printerd.errors import IppError
from printerd.ipp.attributes import ATTRIBUTES, Kind
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, Group, GroupTag, admin_define, not_settable
from printerd.ipp.registry import Operation as Code
from printerd.ipp.registry import Status
from printerd.listener import printer as claims
from printerd.listener.service import Answer, Call, Service

SWITCHES: Final[Mapping[Code, Mapping[str, bool]]] = {
    Code.PAUSE_PRINTER: {"paused": True},
    Code.PAUSE_PRINTER_AFTER_CURRENT_JOB: {"paused": True},
    Code.RESUME_PRINTER: {"paused": False},
    Code.ENABLE_PRINTER: {"accepting": True},
    Code.DISABLE_PRINTER: {"accepting": False},
    Code.HOLD_NEW_JOBS: {"holding": True},
    Code.RELEASE_HELD_NEW_JOBS: {"holding": False},
    Code.SHUTDOWN_PRINTER: {"paused": True, "accepting": False},
    Code.STARTUP_PRINTER: {"paused": False, "accepting": True},
    Code.RESTART_PRINTER: {"paused": False, "accepting": True, "holding": False},
}
"""RFC 8011 sections 4.2.7 and 4.2.8, RFC 3998 section 3. What is being worked on is always finished. The program
itself is the system manager's to stop and start.
"""
_FIELDS: Final[Mapping[str, str]] = {
    "printer-info": "info",
    "printer-location": "location",
    "printer-message-from-operator": "notice",
}
"""Where the printer keeps what may be set of it."""


async def switch(service: Service, call: Call) -> Answer:
    """Each operation of :data:`SWITCHES`."""
    service.require_operator(call)
    message = call.request.attributes.text("printer-message-from-operator")
    said = {"printer-message-from-operator": message} if message else {}
    await _set(service, SWITCHES[call.request.operation], said)
    return Answer(encode(service.ok(call)))


async def set_printer_attributes(service: Service, call: Call) -> Answer:
    """RFC 3380 section 4.1: all of them or none."""
    service.require_operator(call)
    wanted = call.request.message.first(GroupTag.PRINTER)
    if not wanted.attributes:
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "There are no printer attributes to set.")
    fixed = tuple(Attribute.of(given.name, not_settable()) for given in wanted if given.name not in _FIELDS)
    if fixed:
        status = Status.CLIENT_ERROR_ATTRIBUTES_NOT_SETTABLE
        raise IppError(status, "These attributes are not the operator's to set.", unsupported=fixed)
    wrong = tuple(given for given in wanted if not _is_words(given))
    if wrong:
        status = Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
        raise IppError(status, "The printer cannot have these values.", unsupported=wrong)
    await _set(service, {}, {given.name: given.values[0].text or "" for given in wanted})
    return Answer(encode(service.ok(call)))


def _is_words(given: Attribute) -> bool:
    syntax = next(table[given.name] for table in _TABLES if given.name in table)
    return given.values[0].text is not None and syntax.accepts(given)


_TABLES: Final = (ATTRIBUTES[Kind.PRINTER_DESCRIPTION], ATTRIBUTES[Kind.PRINTER_STATUS])


async def _set(service: Service, switches: Mapping[str, bool], words: Mapping[str, str]) -> None:
    await service.intake.operate(words, service.cutoff(), **switches)
    service.changed(**fields(words))


def fields(said: Mapping[str, str]) -> dict[str, str]:
    """The fields of the printer that were set."""
    return {_FIELDS[name]: text for name, text in said.items() if name in _FIELDS}


async def get_printer_supported_values(service: Service, call: Call) -> Answer:
    """RFC 3380 section 4.3: any words will do, which 'admin-define' says."""
    asked = frozenset(call.request.requested) or frozenset({"all"})
    names = [name for name in claims.SAID if "all" in asked or name in asked]
    group = Group(GroupTag.PRINTER, tuple(Attribute.of(name, admin_define()) for name in names))
    return Answer(encode(service.ok(call, group)))
