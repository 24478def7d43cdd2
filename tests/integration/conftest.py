"""The fixtures of this folder."""

from ..cups import cupsd

__all__ = ["cupsd"]
