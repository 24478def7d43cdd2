"""SMTP: never twice, and never "sent" when it was not.

Between the final dot and the 250 nobody knows (RFC 5321 section 6.1), so SMTP
cannot promise exactly once. What broke

    before the final dot   is tried again, 1 minute to 6 hours apart, for 3 days
    after it               is UNCERTAIN and never sent again by itself

A letter has one recipient, for a transaction with several has no single answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from dataclasses import dataclass, field
from time import monotonic, time

import structlog
from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from .database import Database, now, wait_for_bell
from .letters import Office
from .outbox import (
    Accepted,
    Deferred,
    Doubtful,
    Outcome,
    Patience,
    Phase,
    Refused,
    Sending,
    claim,
    enter,
    nameless,
    settle,
)

IDLE = 5.0
"""A connection without work is closed after so many seconds."""
LETTERS_PER_CONNECTION = 50
LONGEST_BREAK = 900.0
"""The account is tried again after so many seconds at the latest, whatever the letters themselves wait for."""

_log = structlog.get_logger("mailer")
_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")  # RFC 3463


@dataclass(frozen=True, slots=True)
class Account:
    """The relay. ``timeout`` in seconds; ``per_minute`` and ``connections`` are limits of the account."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: str
    helo: str
    timeout: float
    per_minute: int
    connections: int = 2


def one_line(code: int, message: str) -> str:
    """An SMTP reply on one line, at most 400 characters."""
    text = " ".join(f"{code} {message}".split())
    return "".join(character for character in text if character.isprintable())[:400]


def judge(phase: Phase, code: int, message: str) -> Refused | Deferred:
    """What a reply other than success means (RFC 5321 section 4.2.1, RFC 3463).

    A refusal while connecting, logging in or naming the sender is about the account:
    the letter waits for someone to mend it. 421 and 4.7.x stop the whole account too.
    """
    reply, enhanced = one_line(code, message), _ENHANCED.search(message)
    if phase in ("connect", "mail"):
        return Deferred(reply, account=True)
    if 500 <= code < 600:
        return Refused(reply, enhanced[0] if enhanced else f"refused in {phase}")
    return Deferred(reply, account=code == 421 or bool(enhanced and enhanced[0].startswith("4.7.")))


def xtext(text: str) -> str:
    """An ESMTP parameter's value (RFC 3461 section 4)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def dotted(wire: bytes) -> bytes:
    """The message as DATA carries it, all but the final dot (RFC 5321 section 4.5.2)."""
    lines = wire if wire.endswith(b"\r\n") else wire + b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", lines)


class Connection:
    """One SMTP connection, used for one letter after the other."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._client: SMTP | None = None
        self._letters = 0

    async def ready(self) -> SMTP:
        """A client that has said EHLO and logged in; a kept connection is asked first whether it still lives."""
        if self._client is not None and self._letters < LETTERS_PER_CONNECTION:
            with contextlib.suppress(SMTPException, OSError):
                await self._client.rset()
                self._letters += 1
                return self._client
        await self.close()
        account = self._account
        client = SMTP(
            hostname=account.host,
            port=account.port,
            username=account.user or None,
            password=account.password or None,
            local_hostname=account.helo or None,
            timeout=account.timeout,
            use_tls=account.tls == "tls",
            start_tls=account.tls == "starttls",
        )
        await client.connect()
        self._client, self._letters = client, 1
        await client.ehlo()
        return client

    async def close(self) -> None:
        """Say QUIT if the other side still listens."""
        client, self._client = self._client, None
        if client is not None and client.is_connected:
            with contextlib.suppress(SMTPException, OSError):
                await client.quit(timeout=2)
            client.close()


class Mailer:
    """Empties the outbox: a few connections, at most ``per_minute`` letters, a breaker for the account."""

    def __init__(self, database: Database, office: Office, account: Account, patience: Patience) -> None:
        self._database = database
        self._office = office
        self._account = account
        self._patience = patience
        self._turn = asyncio.Lock()
        self._begun: deque[float] = deque(maxlen=account.per_minute)
        self._closed_until = 0.0
        self._troubles = 0
        self._trouble = ""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Send until ``stop``; a letter that is on its way then is brought to its end."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._account.connections):
                workers.create_task(self._work())

    def stop(self) -> None:
        """Begin no more letters."""
        self._stopping.set()
        self._database.ring()

    def trouble(self) -> str:
        """What the relay said when it stopped the whole account, until it takes or refuses a letter again."""
        return self._trouble

    async def _work(self) -> None:
        connection = Connection(self._account)
        while not self._stopping.is_set():
            bell = self._database.bell()
            sending = await self._next()
            if isinstance(sending, Sending):
                await self._send(connection, sending)
            else:
                idle = asyncio.create_task(wait_for_bell(bell, sending))
                if not (await asyncio.wait({idle}, timeout=IDLE))[0]:
                    await connection.close()
                await idle
        await connection.close()

    async def _next(self) -> Sending | float:
        """The next letter, or how many seconds there is nothing to do."""
        async with self._turn:
            pause = self._pause()
            if pause > 0:
                return min(pause, 60.0)
            found = await self._database.write_quietly(claim, self._office, self._patience, now())
            if isinstance(found, Sending):
                self._begun.append(monotonic())
                return found
            return 60.0 if found is None else min(60.0, max(0.01, found - time()))

    def _pause(self) -> float:
        """Seconds until the breaker closes and the rate allows one more."""
        full = len(self._begun) == self._account.per_minute
        return max(self._closed_until - monotonic(), self._begun[0] + 60 - monotonic() if full else 0.0)

    async def _send(self, connection: Connection, sending: Sending) -> None:
        outcome = await self._attempt(connection, sending)
        self._breaker(outcome)
        await self._database.write(settle, sending.id, outcome, self._patience, now())
        _log.info("letter", message=sending.id, attempt=sending.attempt, outcome=type(outcome).__name__)

    def _breaker(self, outcome: Outcome) -> None:
        if isinstance(outcome, Deferred) and outcome.account:
            self._troubles += 1
            self._trouble = nameless(outcome.reply)
            self._closed_until = monotonic() + min(LONGEST_BREAK, self._patience.pause(self._troubles))
            _log.error("account stopped", host=self._account.host, reply=outcome.reply)
        elif isinstance(outcome, Accepted | Refused):
            self._troubles, self._trouble = 0, ""

    async def _attempt(self, connection: Connection, sending: Sending) -> Outcome:
        phase: Phase = "connect"
        try:
            client = await connection.ready()
            if sending.needs_utf8 and not client.supports_extension("smtputf8"):
                return Refused("", "the relay does not offer SMTPUTF8")
            phase = "mail"
            await self._enter(sending, phase)
            await client.mail(sending.sender, options=_mail_options(client, sending), encoding="utf-8")
            phase = "rcpt"
            await self._enter(sending, phase)
            await client.rcpt(sending.recipient, options=_rcpt_options(client, sending), encoding="utf-8")
            phase = "data"
            await self._enter(sending, phase)
            start = await client.execute_command(b"DATA")
            if start.code != 354:
                return judge(phase, start.code, start.message)
        except SMTPResponseException as error:
            return judge(phase, error.code, error.message)
        except (SMTPException, OSError) as error:
            return Deferred(_words(error), account=phase == "connect")
        except ValueError:  # aiosmtplib's for an address that cannot stand on a command line
            return Refused("", "the address cannot be written in SMTP")
        return await self._hand_over(client, sending)

    async def _enter(self, sending: Sending, phase: Phase) -> None:
        await self._database.write_quietly(enter, sending.id, phase)

    async def _hand_over(self, client: SMTP, sending: Sending) -> Outcome:
        """Send the lines, then the dot, then wait: only from the dot on is there a doubt."""
        protocol = client.protocol
        try:
            if protocol is None:
                return Deferred("connection lost before the message", account=False)
            protocol.write(dotted(sending.wire))
            await self._drain(client)
        except (SMTPException, OSError) as error:
            client.close()  # and no QUIT: it would be a line of the message
            return Deferred(_words(error), account=False)
        try:
            protocol.write(b".\r\n")
            reply = await protocol.read_response(timeout=self._account.timeout)
        except (SMTPException, OSError) as error:
            client.close()
            return Doubtful(f"no answer after the message: {_words(error)}")
        if 200 <= reply.code < 300:
            return Accepted(one_line(reply.code, reply.message))
        if 400 <= reply.code < 600:
            return judge("data", reply.code, reply.message)
        client.close()
        return Doubtful(f"no answer after the message but {one_line(reply.code, reply.message)}")

    async def _drain(self, client: SMTP) -> None:
        """Wait until the lines have left this process."""
        async with asyncio.timeout(self._account.timeout):
            while isinstance(transport := client.transport, asyncio.WriteTransport) and not transport.is_closing():
                if not transport.get_write_buffer_size():
                    return
                await asyncio.sleep(0.005)
        raise ConnectionResetError("connection lost within the message")


def _words(error: Exception) -> str:
    return one_line(0, str(error) or type(error).__name__)[2:]


def _mail_options(client: SMTP, sending: Sending) -> list[str]:
    options = [f"SIZE={len(sending.wire)}"] if client.supports_extension("size") else []
    if client.supports_extension("dsn"):  # RFC 3461: the report must not carry the letter, for the link stands in it
        options += ["RET=HDRS", f"ENVID={xtext(sending.id)}"]
    return options + (["SMTPUTF8", "BODY=8BITMIME"] if sending.needs_utf8 else [])


def _rcpt_options(client: SMTP, sending: Sending) -> list[str]:
    if not client.supports_extension("dsn") or not sending.recipient.isascii():
        return []
    return ["NOTIFY=FAILURE,DELAY", f"ORCPT=rfc822;{xtext(sending.recipient)}"]
