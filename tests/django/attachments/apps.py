"""Connects sign-in and sign-out with the file service's tokens."""

from django.apps import AppConfig


class AttachmentsConfig(AppConfig):
    """Attachments that lie in Cloakroom."""

    name = "attachments"

    def ready(self):
        """Imports the receivers, which connects them."""
        from . import signals  # noqa: F401
