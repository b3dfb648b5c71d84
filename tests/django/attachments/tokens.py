"""The tokens by which Cloakroom knows the callers of this application. It reads them from the same Redis."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

import jwt
from django.conf import settings
from django.core.cache import cache
from django.utils.crypto import get_random_string

GUESTS_STAY = timedelta(days=7)


def key(token):
    """The cache key of a user's token, from which nobody who reads the cache learns the token."""
    return hashlib.pbkdf2_hmac("sha256", token.encode(), settings.SECRET_KEY.encode(), 1).hex()


def issue(user, request):
    """Makes a token for a user who signs in."""
    token = secrets.token_hex(16)
    entry = {
        "user_id": user.pk,
        "account_id": user.account_id,
        "user_agent": request.headers.get("User-Agent", "")[:255],
        "user_ip": request.META.get("REMOTE_ADDR", ""),
        "for_api_key": False,
        "is_superuser": user.is_superuser,
    }
    cache.set(key(token), entry, settings.SESSION_COOKIE_AGE)
    cache.set(user.pk, [*cache.get(user.pk, []), key(token)], settings.SESSION_COOKIE_AGE)
    return token


def find(token):
    """What was noted for a user's token; `None` if there is none, any more."""
    return cache.get(key(token))


def revoke(token):
    """Ends a token. Cloakroom refuses it within a tenth of a second."""
    entry = find(token)
    if entry:
        cache.delete(key(token))
        others = [other for other in cache.get(entry["user_id"], []) if other != key(token)]
        cache.set(entry["user_id"], others, settings.SESSION_COOKIE_AGE)


def revoke_all(user):
    """Ends every token of a user, after a change of password for one."""
    cache.delete_many([*cache.get(user.pk, []), user.pk])


def guest(account_id, user_id=None):
    """A token for a guest of an account, who may be one of its users or nobody in particular."""
    claims = {
        "token_type": "guest",
        "account_id": account_id,
        "user_id": user_id,
        "exp": datetime.now(UTC) + GUESTS_STAY,
    }
    return jwt.encode(claims, settings.SECRET_KEY, algorithm="HS256")


def public(account_id, length=8):
    """A token for whoever opens a public form of an account; of 32 characters for one embedded elsewhere."""
    token = get_random_string(length)
    cache.set(token, {"account_id": account_id}, timeout=None)
    return token


def find_guest(token):
    """The claims of a guest's token; `None` if it is not one, or not valid any more."""
    try:
        claims = jwt.decode(
            token, settings.SECRET_KEY, algorithms=["HS256"], options={"require": ["exp", "account_id"]}
        )
    except jwt.InvalidTokenError:
        return None
    return claims if claims.get("token_type") == "guest" else None


def find_public(token):
    """What was noted for a public token or an embed token; `None` if there is none, any more."""
    if len(token) not in (8, 32) or not token.isalnum():
        return None
    entry = cache.get(token)
    # The same cache has lists under the numbers of users.
    return entry if isinstance(entry, dict) else None
