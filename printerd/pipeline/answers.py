"""What a reader may answer, to the last key: its document may have taken it over.

One rule: an answer that is not of this form is no answer. It fails before a row is written, so it costs its own
document and no other of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from printerd.model import PageRange
from printerd.pipeline.layouts import FIELDS, LONGEST
from printerd.pipeline.pools import PoolBroken

MOST = 10_000
"""Invoices of one document, and bank accounts of one invoice."""

Text = Annotated[str, Field(max_length=200_000)]
Line = Annotated[str, Field(max_length=LONGEST)]
FileName = Annotated[str, Field(max_length=100)]
Page = Annotated[int, Field(ge=1, le=MOST)]
Points = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Box = Annotated[list[Points], Field(min_length=5, max_length=5)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class _Found(_Form):
    value: Line
    box: Box | None


class _Invoice(_Form):
    first: Page
    last: Page
    template: Line
    fields: dict[str, _Found]
    ibans: Annotated[list[_Found], Field(max_length=MOST)]
    text: Text
    words: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    pdf: FileName | None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.first > self.last or not self.fields.keys() <= FIELDS:
            raise ValueError("its pages or its fields cannot be")
        return self


class _Part(_Form):
    """The values of the task ``mend`` of :mod:`printerd.pipeline.reading`."""

    removed: list[Line]
    invoices: Annotated[list[_Invoice], Field(max_length=MOST)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """Each page is one invoice's, in their order."""
        ends = [0, *(invoice.last for invoice in self.invoices)]
        if any(invoice.first <= before for invoice, before in zip(self.invoices, ends, strict=False)):
            raise ValueError("its invoices have pages that cannot be")
        return self


class _Reading(_Part):
    """The values of the task ``read``."""

    pages: Page
    converted: FileName | None


class _Seen(_Form):
    template: Line
    number: Text
    customer: Text
    position: int
    heads: bool


class _Range(_Part):
    """The values of the task ``read range``."""

    invoices: Annotated[list[_Invoice], Field(min_length=1, max_length=MOST)]
    seen: list[_Seen]


def checked(values: Mapping[str, Any], most: int = MOST) -> Mapping[str, Any]:
    """``values`` as they are; raises :class:`PoolBroken` when a reader gave others than it may.

    Those of a document of more than ``most`` pages may have no invoices.
    """
    _check(_Reading, values)
    _require(values["invoices"] or values["pages"] > most, "invoices")
    return _within(PageRange(1, values["pages"]), values)


def checked_range(values: Mapping[str, Any], pages: PageRange) -> Mapping[str, Any]:
    """The same for what a reader tells of some pages of a document."""
    _check(_Range, values)
    _require(len(values["seen"]) == len(pages), "seen")
    return _within(pages, values)


def checked_mending(values: Mapping[str, Any], pages: PageRange) -> Mapping[str, Any]:
    """The same for the invoices that a reader found over the seams of ranges."""
    _check(_Part, values)
    return _within(pages, values)


def _check(form: type[_Form], values: Mapping[str, Any]) -> None:
    try:
        form.model_validate(values)
    except ValidationError as error:
        places = sorted({".".join(map(str, one["loc"][::2])) for one in error.errors()[:5]})
        raise _broken(", ".join(places)) from error


def _within(pages: PageRange, values: Mapping[str, Any]) -> Mapping[str, Any]:
    found = values["invoices"]
    _require(not found or pages.first <= found[0]["first"] <= found[-1]["last"] <= pages.last, "invoices")
    return values


def _require(holds: object, place: str) -> None:
    if not holds:
        raise _broken(place)


def _broken(place: str) -> PoolBroken:
    return PoolBroken(f"A reader's answer has not the form that was agreed ({place}).")
