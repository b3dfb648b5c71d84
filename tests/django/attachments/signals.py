"""A token with every sign-in, and its end with every sign-out."""

from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.dispatch import receiver

from . import tokens
from .middleware import COOKIE, SESSION_KEY


@receiver(user_logged_in)
def signed_in(request, user, **kwargs):
    """Notes a new token in the session, and ends the one that the browser had before."""
    if COOKIE in request.COOKIES:
        tokens.revoke(request.COOKIES[COOKIE])
    request.session[SESSION_KEY] = tokens.issue(user, request)


@receiver(user_logged_out)
def signed_out(request, **kwargs):
    """Ends the session's token."""
    if SESSION_KEY in request.session:
        tokens.revoke(request.session[SESSION_KEY])
