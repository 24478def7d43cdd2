"""The checks that every request passes once, and the answers that it gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from printerd.errors import IppError
from printerd.ipp import message as ipp
from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import Attribute, Group, GroupTag, Message, Tag, Value
from printerd.ipp.registry import VERSIONS, Operation, Status
from printerd.ipp.request import JOB_OPERATIONS, check, not_supported, refusal, response

from .strategies import MESSAGES

CHARSET = Attribute.of("attributes-charset", ipp.charset("utf-8"))
LANGUAGE = Attribute.of("attributes-natural-language", ipp.natural_language("fr"))
PRINTER_URI = Attribute.of("printer-uri", ipp.uri("ipp://localhost/ipp/print"))
JOB_URI = Attribute.of("job-uri", ipp.uri("ipp://localhost/ipp/print/jobs/12"))
JOB_ID = Attribute.of("job-id", ipp.integer(12))


def ask(
    *attributes: Attribute,
    code: int = Operation.GET_PRINTER_ATTRIBUTES,
    start: tuple[Attribute, ...] = (CHARSET, LANGUAGE),
    groups: tuple[Group, ...] = (),
) -> Message:
    return Message((2, 0), code, 7, (Group(GroupTag.OPERATION, start + attributes), *groups))


def refused(message: Message) -> IppError:
    with pytest.raises(IppError) as caught:
        check(message)
    return caught.value


@pytest.mark.parametrize("operation", set(Operation) - JOB_OPERATIONS)
def test_operations_on_the_printer_name_it(operation: Operation) -> None:
    """A sound request tells its operation, its target, its user and its language."""
    user = Attribute.of("requesting-user-name", ipp.name_with_language("fr", "Zoé"))
    request = check(ask(PRINTER_URI, user, code=operation))
    assert (request.operation, request.printer_uri, request.path) == (operation, PRINTER_URI.value, "/ipp/print")
    assert (request.user, request.language, request.job_id) == ("Zoé", "fr", None)
    assert refused(ask(code=operation)).status == Status.CLIENT_ERROR_BAD_REQUEST


@pytest.mark.parametrize("operation", JOB_OPERATIONS)
def test_operations_on_a_job_name_it_in_one_of_two_ways(operation: Operation) -> None:
    """printer-uri with job-id, or job-uri: both give the number; neither is a bad request."""
    assert check(ask(PRINTER_URI, JOB_ID, code=operation)).job_id == 12
    assert check(ask(JOB_URI, code=operation)).job_id == 12
    assert check(ask(JOB_URI, code=operation)).path == "/ipp/print/jobs/12"
    for incomplete in [(), (PRINTER_URI,), (JOB_ID,)]:
        assert refused(ask(*incomplete, code=operation)).status == Status.CLIENT_ERROR_BAD_REQUEST


@pytest.mark.parametrize("end", ["", "x", "-1", "²", "99999999999", "1.5"])
def test_a_job_uri_without_a_number_is_no_job_of_ours(end: str) -> None:
    """A job-uri of another kind is not malformed; the job it names does not exist."""
    elsewhere = Attribute.of("job-uri", ipp.uri(f"ipp://localhost/jobs/{end}"))
    assert check(ask(elsewhere, code=Operation.CANCEL_JOB)).job_id is None


def test_defaults() -> None:
    """Who does not say his name is anonymous; who asks for no attribute asks for the default."""
    request = check(ask(PRINTER_URI))
    assert request.user == "anonymous"
    assert request.requested == ()
    assert request.job_attributes == Group(GroupTag.JOB)
    assert request.attributes.text("printer-uri") == request.printer_uri


@pytest.mark.parametrize("version", VERSIONS)
def test_supported_versions_are_answered_in_kind(version: tuple[int, int]) -> None:
    """IPP 1.0 to 2.2 are served, and the answer has the client's version."""
    message = replace(ask(PRINTER_URI), version=version)
    assert check(message).answer(Status.SUCCESSFUL_OK).version == version


@pytest.mark.parametrize(
    ("version", "nearest"), [((0, 0), (1, 0)), ((1, 9), (1, 1)), ((2, 3), (2, 2)), ((3, 0), (2, 2)), ((255, 0), (2, 2))]
)
def test_other_versions_are_refused_in_the_nearest(version: tuple[int, int], nearest: tuple[int, int]) -> None:
    """RFC 8011 section 4.1.8: server-error-version-not-supported, in the nearest version that we speak."""
    message = replace(ask(PRINTER_URI), version=version)
    error = refused(message)
    assert error.status == Status.SERVER_ERROR_VERSION_NOT_SUPPORTED
    assert refusal(message, error).version == nearest


TWICE = Attribute.of("copies", ipp.integer(1))
REFUSED = {
    "an unknown operation": (ask(PRINTER_URI, code=0x4001), Status.SERVER_ERROR_OPERATION_NOT_SUPPORTED),
    "request-id 0": (replace(ask(PRINTER_URI), request_id=0), Status.CLIENT_ERROR_BAD_REQUEST),
    "a negative request-id": (replace(ask(PRINTER_URI), request_id=-1), Status.CLIENT_ERROR_BAD_REQUEST),
    "no group": (Message((2, 0), 0x0B, 1), Status.CLIENT_ERROR_BAD_REQUEST),
    "another group first": (Message((2, 0), 0x0B, 1, (Group(2),)), Status.CLIENT_ERROR_BAD_REQUEST),
    "operation attributes twice": (ask(PRINTER_URI, groups=(Group(1),)), Status.CLIENT_ERROR_BAD_REQUEST),
    "an attribute twice": (ask(PRINTER_URI, PRINTER_URI), Status.CLIENT_ERROR_BAD_REQUEST),
    "a job attribute twice": (ask(PRINTER_URI, groups=(Group(2, (TWICE, TWICE)),)), Status.CLIENT_ERROR_BAD_REQUEST),
    "an empty group": (ask(start=()), Status.CLIENT_ERROR_BAD_REQUEST),
    "no charset": (ask(PRINTER_URI, start=(LANGUAGE,)), Status.CLIENT_ERROR_BAD_REQUEST),
    "no language": (ask(PRINTER_URI, start=(CHARSET,)), Status.CLIENT_ERROR_BAD_REQUEST),
    "language before charset": (ask(PRINTER_URI, start=(LANGUAGE, CHARSET)), Status.CLIENT_ERROR_BAD_REQUEST),
    "a charset that is a keyword": (
        ask(PRINTER_URI, start=(Attribute.of("attributes-charset", ipp.keyword("utf-8")), LANGUAGE)),
        Status.CLIENT_ERROR_BAD_REQUEST,
    ),
    "another charset, in whose octets a name stands": (
        ask(
            PRINTER_URI,
            Attribute.of("job-name", Value(Tag.NAME, b"\xe9t\xe9")),
            start=(Attribute.of("attributes-charset", ipp.charset("iso-8859-1")), LANGUAGE),
        ),
        Status.CLIENT_ERROR_CHARSET_NOT_SUPPORTED,
    ),
    "a name that is not UTF-8": (
        ask(PRINTER_URI, Attribute.of("job-name", Value(Tag.NAME, b"\xe9t\xe9"))),
        Status.CLIENT_ERROR_BAD_REQUEST,
    ),
    "a member that is not UTF-8": (
        ask(
            PRINTER_URI,
            Attribute.of("x", ipp.collection(Attribute.of("m", Value(Tag.TEXT_WITH_LANGUAGE, b"\0\0\0\1\xe9")))),
        ),
        Status.CLIENT_ERROR_BAD_REQUEST,
    ),
    "two printers": (
        ask(Attribute("printer-uri", PRINTER_URI.values * 2)),
        Status.CLIENT_ERROR_BAD_REQUEST,
    ),
    "a printer-uri that is a keyword": (
        ask(Attribute.of("printer-uri", ipp.keyword("ipp"))),
        Status.CLIENT_ERROR_BAD_REQUEST,
    ),
    "a printer-uri that is no address": (
        ask(Attribute.of("printer-uri", ipp.uri("ipp://["))),
        Status.CLIENT_ERROR_BAD_REQUEST,
    ),
    "a job-id of 0": (
        ask(PRINTER_URI, Attribute.of("job-id", ipp.integer(0)), code=Operation.CANCEL_JOB),
        Status.CLIENT_ERROR_BAD_REQUEST,
    ),
    "a name of 256 octets": (
        ask(PRINTER_URI, Attribute.of("requesting-user-name", ipp.name("x" * 256))),
        Status.CLIENT_ERROR_REQUEST_VALUE_TOO_LONG,
    ),
}


@pytest.mark.parametrize(("message", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_unsound_requests_are_refused_with_the_status_of_the_standard(message: Message, status: Status) -> None:
    """Each rule of RFC 8011 section 4.1 has its own status, and the refusal can be written."""
    error = refused(message)
    assert error.status == status
    answer = decode(encode(refusal(message, error)))
    assert (answer.code, answer.request_id) == (status, message.request_id)
    assert answer.operation.text("status-message") == error.what


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "us-ascii"])
def test_charsets_are_read_without_regard_to_case(charset: str) -> None:
    """Charset names have no case (RFC 8011 section 5.1.8); US-ASCII is read as the UTF-8 that it is."""
    assert check(ask(PRINTER_URI, start=(Attribute.of("attributes-charset", ipp.charset(charset)), LANGUAGE)))


def test_unknown_operation_attributes_are_ignored() -> None:
    """A client newer than we are is served (RFC 8011 section 4.1.7)."""
    assert check(ask(PRINTER_URI, Attribute.of("next-years-attribute", ipp.integer(1)), groups=(Group(0x0C),)))


def test_an_answer_begins_with_charset_and_language() -> None:
    """RFC 8011 section 4.1.4.2: charset first, language second, then the message; the groups follow."""
    jobs = Group(GroupTag.JOB, (attribute("job-id", 1),))
    answer = response(ask(PRINTER_URI), Status.SUCCESSFUL_OK, jobs, message="Bien reçu", language="fr")
    assert [given.name for given in answer.groups[0]] == [
        "attributes-charset",
        "attributes-natural-language",
        "status-message",
    ]
    assert answer.operation.text("attributes-natural-language") == "fr"
    assert (answer.code, answer.request_id, answer.groups[1]) == (Status.SUCCESSFUL_OK, 7, jobs)


def test_a_refusal_names_the_attributes_in_question() -> None:
    """The Unsupported group returns what was wrong, and a long message is cut to its 255 octets."""
    wrong = Attribute.of("document-format", ipp.mime_media_type("image/heif"))
    error = IppError(Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, "é" * 200, unsupported=(wrong,))
    answer = refusal(ask(PRINTER_URI), error)
    assert answer.first(GroupTag.UNSUPPORTED).attributes == (wrong,)
    assert answer.operation.text("status-message") == "é" * 127
    assert not_supported("duplex").attributes == (Attribute.of("duplex", ipp.unsupported()),)


@given(MESSAGES)
@settings(max_examples=100)
def test_any_message_is_a_request_or_an_ipp_error(message: Message) -> None:
    """No message raises anything but an IppError, whose refusal can be written."""
    sound = replace(message, version=(1, 1), code=Operation.PRINT_JOB, request_id=1)
    operation = Group(GroupTag.OPERATION, (CHARSET, LANGUAGE, PRINTER_URI, *sound.operation.attributes))
    try:
        check(replace(sound, groups=(operation, *sound.groups)))
    except IppError as error:
        assert decode(encode(refusal(message, error))).code == error.status
