"""A row of a manifest: what one picture is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ID, TRUTH, MASK, NOTES = "id", "truth", "mask", "notes"
MEASURED = (TRUTH, MASK)
"""Columns that name pictures to measure against; they are sent to the workflow only where it has an input of that name."""


@dataclass(frozen=True)
class Row:
    """number: the line of the file, or the place in a benchmark, from 1. values: by column, as read. notes: carried into the record."""

    number: int
    id: str
    values: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)
