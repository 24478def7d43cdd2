"""The sentence of a job in the print queue."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from printerd.model import InvoiceState
from printerd.storage import archive, messages, schema
from tests import archive_rows


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_standing_has_its_words(language: str) -> None:
    """Whatever state an invoice is in and however far its delivery came, the print queue can say it."""
    states = set(InvoiceState) - {InvoiceState.ARCHIVED}
    assert set(messages.STANDINGS[language]) == states | set(archive.STEPS)


@pytest.mark.parametrize("state", InvoiceState)
def test_no_invoice_keeps_a_job_from_its_sentence(tmp_path: Path, state: InvoiceState) -> None:
    """A job is told about whatever becomes of its invoices: a specimen of a rehearsal, too."""
    database, blobs = archive_rows.opened(tmp_path)
    with database.write() as connection:
        job = archive_rows.job(connection)
        for position in range(2):
            archive_rows.invoice(connection, blobs, job, position, state=state, issuer=str(position))
        messages.refresh(connection, [job], "fr")
        assert str(connection.scalar(sa.select(schema.jobs.c.message))).startswith("2 factures")
    database.close()
