"""Mails are written when prints are archived, and never much later."""

from __future__ import annotations

from printerd.precedence import Precedence

PATIENCE = {"seal": 0.0, "deliver": 15.0}


def test_who_has_patience_lets_work_go_first() -> None:
    """Whether it is due or at work."""
    order = Precedence(PATIENCE)
    assert order.first(["seal", "deliver"], [], 0) == ["seal"]
    assert order.first(["deliver"], ["seal"], 1) == []


def test_nothing_to_do_for_others_begins_at_once() -> None:
    assert Precedence(PATIENCE).first(["deliver"], [], 0) == ["deliver"]
    assert Precedence(PATIENCE).first(["deliver"], ["deliver"], 0) == ["deliver"]


def test_patience_ends_and_stays_ended_while_there_is_work() -> None:
    """Under load that never ends, who was put off for so long shares from then on."""
    order = Precedence(PATIENCE)
    begun = [moment for moment in range(0, 60, 5) if "deliver" in order.first(["seal", "deliver"], [], moment)]
    assert begun == list(range(15, 60, 5))


def test_patience_begins_anew_after_a_rest() -> None:
    order = Precedence(PATIENCE)
    order.first(["seal", "deliver"], [], 0)
    order.first(["seal"], [], 14)
    assert order.first(["seal", "deliver"], [], 15) == ["seal"]
