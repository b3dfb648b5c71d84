"""Who asks, by the same three headers that Cloakroom passes on."""

from dataclasses import dataclass

from django.contrib.auth import get_user_model
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from . import tokens


@dataclass(frozen=True)
class Visitor:
    """A caller who has not signed in: of kind `guest`, `public` or `embed`."""

    kind: str
    account_id: int
    pk: int | None = None
    is_authenticated = True


class HeaderAuthentication(BaseAuthentication):
    """A token in a header, with or without the word for its scheme."""

    header = "Authorization"

    def authenticate(self, request):
        """Answers the caller; nobody where the header is not there."""
        if self.header not in request.headers:
            return None
        token = request.headers[self.header].split(" ")[-1]
        caller = self.caller(token)
        if caller is None:
            raise AuthenticationFailed
        return caller, token

    def authenticate_header(self, request):
        """What a 401 says."""
        return "Bearer"


class UserToken(HeaderAuthentication):
    """`Authorization: Bearer`, a user."""

    def caller(self, token):
        """The user whose token it is, if still active."""
        entry = tokens.find(token)
        return entry and get_user_model().objects.filter(pk=entry["user_id"], is_active=True).first()


class GuestToken(HeaderAuthentication):
    """`X-Guest-Authorization`, a guest."""

    header = "X-Guest-Authorization"

    def caller(self, token):
        """The guest whose token it is."""
        claims = tokens.find_guest(token)
        return claims and Visitor("guest", claims["account_id"], claims.get("user_id"))


class PublicToken(HeaderAuthentication):
    """`X-Public-Authorization: Token`, a visitor of a public or an embedded form."""

    header = "X-Public-Authorization"

    def caller(self, token):
        """The visitor whose token it is."""
        entry = tokens.find_public(token)
        return entry and Visitor("public" if len(token) == 8 else "embed", entry["account_id"])
