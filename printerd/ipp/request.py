"""What every request must be before anyone answers it, and what every response looks like.

One rule: a request is checked once, here, before dispatch. A handler receives
a :class:`Request` whose target, user and operation attributes are sound.

Order of the checks: version, operation, request-id, groups, charset and
language, syntax, target (RFC 8011 sections 4.1.1 to 4.1.8 and RFC 3196
section 3.1.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from printerd.errors import IppError
from printerd.ipp.attributes import ATTRIBUTES, Kind, Syntax, attribute
from printerd.ipp.message import WITH_LANGUAGE, Attribute, Group, GroupTag, Localized, Message, Tag, Value, unsupported
from printerd.ipp.registry import VERSIONS, Operation, Status

CHARSETS: Final = frozenset({"utf-8", "us-ascii"})
"""US-ASCII is read because its octets are UTF-8; every answer is UTF-8."""
ANONYMOUS: Final = "anonymous"
"""Who prints when the client does not say."""
JOB_OPERATIONS: Final = frozenset(
    {
        Operation.SEND_DOCUMENT,
        Operation.CANCEL_JOB,
        Operation.GET_JOB_ATTRIBUTES,
        Operation.HOLD_JOB,
        Operation.RELEASE_JOB,
        Operation.RESTART_JOB,
        Operation.SET_JOB_ATTRIBUTES,
        Operation.REPROCESS_JOB,
        Operation.RESUME_JOB,
        Operation.PROMOTE_JOB,
        Operation.SCHEDULE_JOB_AFTER,
        Operation.CANCEL_DOCUMENT,
        Operation.GET_DOCUMENT_ATTRIBUTES,
        Operation.GET_DOCUMENTS,
        Operation.SET_DOCUMENT_ATTRIBUTES,
        Operation.RESUBMIT_JOB,
        Operation.CLOSE_JOB,
    }
)
"""Operations whose target is a job; the target of all others is the printer (RFC 8011 section 4.1.5)."""

_OPERATIONS: Final = frozenset(Operation)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that passed :func:`check`.

    ``printer_uri`` or ``job_uri`` is empty when the client named its target
    the other way. ``job_id`` is the number of the job, from job-id or from the
    end of job-uri; ``None`` for operations on the printer, and for a job-uri
    that ends in no number: no job of ours has such an address.
    """

    message: Message
    operation: Operation
    version: tuple[int, int]
    language: str
    printer_uri: str
    job_uri: str
    job_id: int | None
    user: str
    requested: tuple[str, ...]

    @property
    def path(self) -> str:
        """The path of the target, ``/ipp/print``; its host is whatever the client calls us."""
        return urlsplit(self.job_uri or self.printer_uri).path

    @property
    def attributes(self) -> Group:
        """The operation attributes."""
        return self.message.operation

    @property
    def job_attributes(self) -> Group:
        """The Job Template attributes that the client sent; empty when none."""
        return self.message.first(GroupTag.JOB)

    def answer(self, status: Status, *groups: Group, message: str = "", language: str = "en") -> Message:
        """See :func:`response`."""
        return response(self.message, status, *groups, message=message, language=language)


def check(message: Message) -> Request:
    """The request in its checked form. Raises :class:`IppError` with the status that RFC 8011 names."""
    for rule in _RULES:
        rule(message)
    operation = Operation(message.code)
    group = message.operation
    job_uri = group.text("job-uri")
    return Request(
        message=message,
        operation=operation,
        version=message.version,
        language=group.text("attributes-natural-language"),
        printer_uri=group.text("printer-uri"),
        job_uri=job_uri,
        job_id=_job_id(group) if operation in JOB_OPERATIONS else None,
        user=group.text("requesting-user-name") or ANONYMOUS,
        requested=group.texts("requested-attributes"),
    )


def _job_id(group: Group) -> int | None:
    if "job-uri" not in group:
        return group.number("job-id")
    number = group.text("job-uri").rpartition("/")[2]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 11 else None


def _bad(what: str, *attributes: Attribute) -> IppError:
    return IppError(Status.CLIENT_ERROR_BAD_REQUEST, what, unsupported=attributes)


# The rules


def _version(message: Message) -> None:
    """RFC 8011 section 4.1.8."""
    if message.version not in VERSIONS:
        major, minor = message.version
        raise IppError(Status.SERVER_ERROR_VERSION_NOT_SUPPORTED, f"IPP {major}.{minor} is not spoken here")


def _operation(message: Message) -> None:
    """RFC 8011 section 4.1.2."""
    if message.code not in _OPERATIONS:
        raise IppError(Status.SERVER_ERROR_OPERATION_NOT_SUPPORTED, f"operation 0x{message.code:04x} is not supported")


def _request_id(message: Message) -> None:
    """RFC 8011 section 4.1.1: 1 to 2**31 - 1."""
    if message.request_id < 1:
        raise _bad("request-id must be 1 or more")


def _groups(message: Message) -> None:
    """RFC 8011 section 4.1.4: operation attributes come first and once, no attribute comes twice in its group."""
    tags = [group.tag for group in message.groups]
    if tags[:1] != [GroupTag.OPERATION] or tags.count(GroupTag.OPERATION) > 1:
        raise _bad("the first group, and no other, must be the operation attributes")
    for group in message.groups:
        if len({attribute.name for attribute in group}) < len(group.attributes):
            raise _bad("an attribute comes twice in one group")


def _charset(message: Message) -> None:
    """RFC 8011 section 4.1.4: attributes-charset comes first; 4.1.4.1: only some charsets are supported."""
    charset = _at(message, 0, "attributes-charset", Tag.CHARSET)
    if charset.lower() not in CHARSETS:
        given = message.operation.attributes[0]
        raise IppError(
            Status.CLIENT_ERROR_CHARSET_NOT_SUPPORTED, f"charset {charset} is not supported", unsupported=(given,)
        )


def _language(message: Message) -> None:
    """RFC 8011 section 4.1.4: attributes-natural-language comes second; any language is taken."""
    _at(message, 1, "attributes-natural-language", Tag.NATURAL_LANGUAGE)


def _at(message: Message, place: int, name: str, tag: Tag) -> str:
    found = message.operation.attributes[place : place + 1]
    if not found or found[0].name != name or len(found[0].values) != 1 or found[0].values[0].tag != tag:
        raise _bad(f"operation attribute {place + 1} must be {name}")
    return found[0].values[0].text or ""


def _text(message: Message) -> None:
    """RFC 8011 section 4.1.4.1: text is in the charset that was announced. NUL is in none that a database keeps."""
    for group in message.groups:
        for given in group:
            if "\0" in given.name or any(_garbled(value) for value in given.values):
                raise _bad(f"{given.name!r} is not text in UTF-8")


def _garbled(value: Value) -> bool:
    if isinstance(value.data, tuple):
        return any("\0" in member.name or any(map(_garbled, member.values)) for member in value.data)
    is_string = Tag.TEXT <= value.tag <= Tag.MEMBER_ATTR_NAME or value.tag in WITH_LANGUAGE
    return is_string and (isinstance(value.data, bytes) or "\0" in (value.text or ""))


def _syntax(message: Message) -> None:
    """RFC 8011 section 4.1.3 and 5.1: known operation attributes are as the registry says; others are ignored."""
    for given in message.operation:
        syntax = ATTRIBUTES[Kind.OPERATION].get(given.name)
        if syntax is None or syntax.accepts(given):
            continue
        if any(_too_long(syntax, value) for value in given.values):
            raise IppError(
                Status.CLIENT_ERROR_REQUEST_VALUE_TOO_LONG, f"{given.name} is too long", unsupported=(given,)
            )
        raise _bad(f"{given.name} does not have the syntax of the standard", given)


def _too_long(syntax: Syntax, value: Value) -> bool:
    choice = syntax.choice(value)
    return choice is not None and isinstance(value.data, str | bytes | Localized) and not choice.bounds(value.data)


def _target(message: Message) -> None:
    """RFC 8011 section 4.1.5: printer-uri, or for a job its job-uri or printer-uri and job-id."""
    group = message.operation
    if message.code not in JOB_OPERATIONS and "printer-uri" not in group:
        raise _bad("printer-uri is missing")
    if message.code in JOB_OPERATIONS and "job-uri" not in group and not ("printer-uri" in group and "job-id" in group):
        raise _bad("job-uri, or printer-uri and job-id, is missing")
    for name in ("printer-uri", "job-uri"):
        try:
            urlsplit(group.text(name))
        except ValueError as error:
            raise _bad(f"{name} is no address") from error


_RULES: Final[tuple[Callable[[Message], None], ...]] = (
    _version,
    _operation,
    _request_id,
    _groups,
    _charset,
    _language,
    _text,
    _syntax,
    _target,
)


# Responses


def response(request: Message, status: Status, *groups: Group, message: str = "", language: str = "en") -> Message:
    """An answer to ``request``, of which the header is enough (RFC 8011 sections 4.1.4.2 and 4.1.6.2).

    ``message`` becomes status-message, written in ``language``. The version is
    the client's, or the nearest below it that we speak.
    """
    head = Group(GroupTag.OPERATION, _head(language))
    if message:
        head = Group(GroupTag.OPERATION, (*head, attribute("status-message", message)))
    return Message(_nearest(request.version), status, request.request_id, (head, *groups))


@cache
def _head(language: str) -> tuple[Attribute, ...]:
    """What every answer begins with (RFC 8011 section 4.1.4.2). Languages are ours: there are few."""
    return (attribute("attributes-charset", "utf-8"), attribute("attributes-natural-language", language))


def refusal(request: Message, error: IppError) -> Message:
    """The answer that an :class:`IppError` asks for, with the attributes in question (RFC 8011 section 4.1.7)."""
    named = tuple(given for given in error.unsupported if isinstance(given, Attribute))
    groups = (Group(GroupTag.UNSUPPORTED, named),) if named else ()
    return response(request, Status(error.status), *groups, message=error.what)


def not_supported(*names: str) -> Group:
    """Attributes that the printer does not know at all, each with the out-of-band value 'unsupported'."""
    return Group(GroupTag.UNSUPPORTED, tuple(Attribute.of(name, unsupported()) for name in names))


def _nearest(version: tuple[int, int]) -> tuple[int, int]:
    return max((known for known in VERSIONS if known <= version), default=VERSIONS[0])
