"""The web pages of the staff: rendered here, readable without a script, closed without a login."""

from printerd.console.app import application
from printerd.console.login import open_link

__all__ = ["application", "open_link"]
