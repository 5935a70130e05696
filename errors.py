"""The error that Graft raises at users."""

from __future__ import annotations


class GraftError(ValueError):
    """Bad input, found before sampling starts. The message names the input, says what was seen and what to do."""
