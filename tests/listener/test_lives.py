"""What a client was told stays true, whatever clients, the worker and the operator do then."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from .lives import MANY, Lives


def test_no_job_is_lost_doubled_or_comes_back_from_its_end() -> None:
    """Jobs in steps and at once, cut and sent again, held, canceled and restarted; time passes, processes end."""
    run_state_machine_as_test(Lives, settings=settings(MANY, max_examples=12, stateful_step_count=40))
