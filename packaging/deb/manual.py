"""The manual page invoice-printer(1) on standard output, made from the commands themselves (man-pages(7))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from printerd import __version__, cli

HEAD = """\
.TH INVOICE-PRINTER 1 "" "{version}" "Invoice Printer"
.SH NAME
invoice-printer \\- printer that seals, archives and delivers invoices
.SH SYNOPSIS
.B invoice-printer
.I COMMAND
.RI [ OPTION ]...
.SH COMMANDS
"""
TAIL = """\
.SH FILES
.TP
.I /etc/invoice-printer/config.toml
Settings: every key, its default and what it means.
.TP
.I /var/lib/invoice-printer
The instance of the service: database, documents, keys. Commands find it by themselves.
.TP
.I /etc/credstore/invoice-printer.*
Passwords that the settings name as credential:invoice-printer.NAME.
.TP
.I /usr/share/doc/invoice-printer
What the product is, how it is set up and looked after.
.SH EXIT STATUS
0: done. 1: what was looked at is not in order. 2: the command cannot be carried out as it stands.
Others are those of sysexits(3): 65 a document, 75 something is away for a while, 78 a setting.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.BR lp (1)
"""


def escaped(text: str) -> str:
    """Text as roff shows it: no escape, no request, hyphens that can be copied (groff_man(7))."""
    return re.sub(r"^(?=[.'])", r"\\&", text.replace("\\", "\\e").replace("-", "\\-"), flags=re.MULTILINE)


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each command of click with the words that call it; a group that does something by itself is one too."""
    below = getattr(command, "commands", {})
    if words and (not below or getattr(command, "invoke_without_command", False)):
        yield " ".join(words), command
    for name, child in below.items():
        yield from leaves(child, (*words, name))


def section(name: str, command: Any) -> Iterator[str]:
    """One command: what it does, its arguments and its options."""
    yield from (f'.SS "{escaped(name)}"', escaped(" ".join((command.help or "").split())))
    context = typer.Context(command, info_name=name)
    for word, meaning in filter(None, (one.get_help_record(context) for one in command.params)):
        yield from (".TP", f".B {escaped(word)}", escaped(meaning))


def main() -> None:
    print(HEAD.format(version=__version__), end="")
    for name, command in leaves(typer.main.get_command(cli.app)):
        print("\n".join(section(name, command)))
    print(TAIL, end="")


if __name__ == "__main__":
    main()
