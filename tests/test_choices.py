"""What senders may choose: the table of what each policy takes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from printerd import config
from printerd.choices import (
    COPY_TO,
    DEFAULTS,
    ROUTE,
    TEMPLATE,
    WAYS,
    Choice,
    Policy,
    Way,
    Wrong,
    asked,
    chosen,
    template_names,
)

FIRM = Policy(("mail", "hold-for-review"), ("firm.example", "Anne@other.example"), lambda: ("moulin", "Modèle 1"))


@pytest.mark.parametrize(
    ("name", "text", "taken"),
    [
        (ROUTE, "as-customer", True),
        (ROUTE, "mail", True),
        (ROUTE, "hold-for-review", True),
        (ROUTE, "paper", False),  # the firm does not allow it
        (ROUTE, "both", False),
        (ROUTE, "Mail", False),
        (ROUTE, "mail,paper", False),
        (ROUTE, "", False),
        (TEMPLATE, "automatic", True),
        (TEMPLATE, "Modèle 1", True),
        (TEMPLATE, "Modèle 2", False),
        (TEMPLATE, "../moulin", False),
        (COPY_TO, "none", True),
        (COPY_TO, "marie@firm.example", True),
        (COPY_TO, "Marie@Firm.Example", True),
        (COPY_TO, "marie@firm.example, anne@other.example", True),
        (COPY_TO, "bob@other.example", False),
        (COPY_TO, "marie@firm.example,bob@other.example", False),
        (COPY_TO, "marie@sub.firm.example", False),
        (COPY_TO, "firm.example", False),
        (COPY_TO, "@firm.example", False),
        (COPY_TO, "a b@firm.example", False),
        (COPY_TO, "a\r\nBcc: x@firm.example", False),
        (COPY_TO, "<a@firm.example>", False),
        (COPY_TO, "é@firm.example", False),
        (COPY_TO, "a..b@firm.example", False),
        (COPY_TO, f"{'a' * 65}@firm.example", False),
        (COPY_TO, ",", False),
        (COPY_TO, "", False),
        (COPY_TO, ",".join(f"a{n}@firm.example" for n in range(5)), True),
        (COPY_TO, ",".join(f"a{n}@firm.example" for n in range(6)), False),
    ],
)
def test_what_a_policy_takes(name: str, text: str, taken: bool) -> None:
    """A word of the table, a template that is there, addresses that the firm named or that are in a domain of its."""
    assert FIRM.takes(name, text) is taken
    wrong = FIRM.wrong({"copies": "2", name: text})
    assert wrong == (None if taken else Wrong(name, text, FIRM.offered()[name]))


def test_without_settings_no_copy_leaves_and_every_way_is_free() -> None:
    """What goes without saying may always be said: print dialogs send it."""
    policy = Policy()
    assert policy.wrong(DEFAULTS) is None
    assert all(policy.takes(ROUTE, way) for way in WAYS)
    assert not policy.takes(COPY_TO, "a@firm.example")


def test_a_name_that_means_nothing_is_wrong() -> None:
    """A misspelled choice is no choice, and an invoice without the one that was meant goes a wrong way."""
    assert FIRM.wrong({"invoice-printer-rout": "paper"}) == Wrong("invoice-printer-rout", "paper", ())
    assert FIRM.wrong({"sidecar.route": "north", "media": "a4"}) is None


def test_what_was_chosen() -> None:
    """Words for nothing are nothing; an address counts once."""
    assert chosen({**DEFAULTS, "copies": "2"}) == Choice() == chosen({})
    assert asked({**DEFAULTS, ROUTE: "both"}) == {ROUTE: "both"}
    options = {ROUTE: "mail", TEMPLATE: "moulin", COPY_TO: "a@x.example, b@x.example,a@x.example"}
    assert chosen(options) == Choice(Way.MAIL, "moulin", ("a@x.example", "b@x.example"))


def test_templates_are_those_of_the_folders(tmp_path: Path) -> None:
    """Shipped or the firm's own, by name; a name that no option can carry is not offered."""
    (tmp_path / "own").mkdir()
    for name in ("b.toml", "own/a.toml", "own/b.toml", "own/x,y.toml", "own/automatic.toml", "own/notes.txt"):
        (tmp_path / name).touch()
    assert template_names((tmp_path, tmp_path / "own", tmp_path / "absent")) == ("a", "b")


def test_the_settings_know_every_way() -> None:
    """choices.routes takes what a sender may choose, all of it by default."""
    assert config.Choices().routes == WAYS
    field = config.Choices.model_fields["routes"].annotation
    assert get_args(get_args(field)[0]) == WAYS


@pytest.mark.parametrize("copies", ["a@", "@firm.example", "a@b@firm.example", "fir m.example", "é.example"])
def test_a_setting_that_is_no_address(copies: str) -> None:
    """Nobody learns at the first print that no copy could ever leave."""
    with pytest.raises(ValidationError):
        config.Choices(copies=(copies,))
