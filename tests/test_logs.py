"""The log: one JSON object a line with ids beside the words, no command to a terminal, no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from printerd import logs

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b1mFA-1\u202efdp.exe\r\nERROR printerd forged"
log = logging.getLogger("printerd.tests")


class Screen(StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def journal() -> Iterator[Any]:
    """Sends this process's records to a stream, and puts the root logger back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def begin(stream: StringIO) -> StringIO:
        logs.to_stderr(stream)
        return stream

    yield begin
    root.handlers[:] = before
    root.setLevel(level)


def objects(stream: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_object_with_its_ids(journal: Any) -> None:
    """What is bound and what is given stands beside the words, each under its own name; what was unbound does not."""
    stream = journal(StringIO())
    with logs.bound(job="j-1", stage="seal"):
        log.info("invoice archived", extra={"invoice": "i-1", "number": "FA-1"})
    log.warning("%d left", 2)
    first, second = objects(stream)
    assert {"event": "invoice archived", "job": "j-1", "stage": "seal", "invoice": "i-1"}.items() <= first.items()
    assert (first["level"], first["logger"], first["number"]) == ("info", "printerd.tests", "FA-1")
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"]) == ("2 left", "warning")
    assert "job" not in second


@pytest.mark.parametrize("kind", [StringIO, Screen])
def test_what_a_sender_wrote_begins_no_record_and_commands_nothing(journal: Any, kind: type[StringIO]) -> None:
    """A title in a message, beside it or in a trace cannot pose as a record, nor move a cursor, nor turn letters."""
    stream = journal(kind())
    log.info("job %s", HOSTILE, extra={"title": HOSTILE})
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")
    told = stream.getvalue()
    assert not [character for character in told if not character.isprintable() and character != "\n"]
    assert not [line for line in told.splitlines() if line.startswith("ERROR printerd")]
    if kind is StringIO:
        first, second = objects(stream)
        assert first["title"] == HOSTILE
        assert "Traceback" in second["exception"]


SECRETS = [
    ("mailed https://pay.example/l/Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA to a", "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA"),
    ("GET /login/Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA", "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA"),
    ("Authorization: Bearer hunter2hunter2", "hunter2"),
    ("postgresql://app:hunter2@db/printer is away", "hunter2"),
    ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----", "hunter2"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
@pytest.mark.parametrize("kind", [StringIO, Screen])
def test_a_secret_is_not_written(journal: Any, kind: type[StringIO], text: str, secret: str) -> None:
    """A secret that slipped into a message, a value, a list or a failure is taken out; the rest is still told."""
    stream = journal(kind())
    log.info("said %s", text, extra={"reply": text, "several": [text], "nested": {"reply": text}})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        log.exception("failed")
    assert secret not in stream.getvalue()
    assert "…" in stream.getvalue()
    assert "RuntimeError" in stream.getvalue()


def test_a_value_whose_name_is_that_of_a_secret_is_not_written(journal: Any) -> None:
    """Whatever is called password, token or the like is left out, at any depth."""
    stream = journal(StringIO())
    log.info("settings", extra={"password": "a", "smtp": {"Token": "b", "host": "relay"}})
    (told,) = objects(stream)
    assert (told["password"], told["smtp"]) == ("…", {"Token": "…", "host": "relay"})


def test_on_a_terminal_the_log_is_plain_words(journal: Any) -> None:
    """Who runs it by hand reads words; a value of several words is seen to end."""
    stream = journal(Screen())
    log.info("job settled", extra={"number": 7, "title": "two words", "invoices": {"archived": 2}})
    told = stream.getvalue().rstrip()
    assert told.endswith('job settled  number=7 title="two words" invoices={"archived": 2}')
    assert " info " in told


def test_libraries_are_heard_from_warnings_on(journal: Any) -> None:
    """The engine's chatter is not in the journal; its warnings are, in our form."""
    stream = journal(StringIO())
    logging.getLogger("dbos").info("chatter")
    logging.getLogger("dbos").warning("trouble")
    assert [one["event"] for one in objects(stream)] == ["trouble"]
