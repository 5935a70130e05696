"""The error that Graft raises at users, for everything that imports ComfyUI."""

from ..errors import GraftError

__all__ = ["GraftError"]
