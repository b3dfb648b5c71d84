"""What Cloakroom finds in Redis and in cookies."""

import hashlib
import os
import pickle

import jwt
import redis
from django.conf import settings
from django.core.cache import cache
from django.test import override_settings

from attachments import tokens

from .people import PeopleTestCase


def raw():
    """Redis itself, past Django's cache."""
    return redis.Redis.from_url(os.environ["REDIS_URL"])


def key_of(token):
    """As Cloakroom computes it."""
    salt = settings.SECRET_KEY.encode()
    return b":1:" + hashlib.pbkdf2_hmac("sha256", token.encode(), salt, 1, 32).hex().encode()


class Tokens(PeopleTestCase):
    """Keys and values, byte for byte where they are promised."""

    def test_a_sign_in_leaves_a_pickled_dict_under_the_hash_of_the_token(self):
        token = self.sign_in()
        entry = pickle.loads(raw().get(key_of(token)))
        self.assertEqual(
            entry,
            {
                "user_id": 3685,
                "account_id": 1688,
                "user_agent": "Браузер/1.0",
                "user_ip": "127.0.0.1",
                "for_api_key": False,
                "is_superuser": False,
            },
        )
        self.assertGreater(raw().ttl(key_of(token)), 0)
        self.assertEqual(pickle.loads(raw().get(":1:3685")), [tokens.key(token)])
        self.assertNotIn(token.encode(), b"".join(raw().keys()))

    def test_a_sign_out_takes_the_token_and_its_cookie_away(self):
        token = self.sign_in()
        self.client.post("/auth/signout/")
        self.assertIsNone(raw().get(key_of(token)))
        self.assertEqual(pickle.loads(raw().get(":1:3685")), [])
        self.assertEqual(self.client.cookies["file_service_auth"].value, "")

    def test_a_second_sign_in_ends_the_browsers_first_token_and_no_other(self):
        first = self.sign_in()
        elsewhere = self.client_class()
        elsewhere.force_login(self.olga)
        second = self.sign_in()
        self.assertIsNone(raw().get(key_of(first)))
        self.assertIsNotNone(raw().get(key_of(second)))
        self.assertEqual(len(pickle.loads(raw().get(":1:3685"))), 2)
        tokens.revoke_all(self.olga)
        self.assertIsNone(raw().get(key_of(second)))
        self.assertIsNone(raw().get(":1:3685"))

    def test_the_cookie_is_for_the_domain_above_both_and_out_of_reach_of_scripts(self):
        with override_settings(FILES_COOKIE_DOMAIN=".example.com", SESSION_COOKIE_SECURE=True):
            self.sign_in()
        cookie = self.client.cookies["file_service_auth"]
        self.assertEqual(
            [cookie[name] for name in ("domain", "path", "samesite", "httponly", "secure")],
            [".example.com", "/", "Lax", True, True],
        )

    def test_public_and_embed_tokens_are_pickled_dicts_under_the_token_itself(self):
        for length in (8, 32):
            token = tokens.public(1688, length)
            self.assertRegex(token, f"^[A-Za-z0-9]{{{length}}}$")
            self.assertEqual(pickle.loads(raw().get(f":1:{token}")), {"account_id": 1688})
            self.assertEqual(tokens.find_public(token), {"account_id": 1688})
        cache.set(12345678, ["a list of tokens"])
        for other in ("12345678", "unknown1", "*" * 8, ""):
            self.assertIsNone(tokens.find_public(other))

    def test_guests_come_with_a_jwt_of_the_same_secret(self):
        for user in (None, 3688):
            token = tokens.guest(1688, user)
            self.assertEqual(jwt.get_unverified_header(token)["alg"], "HS256")
            claims = jwt.decode(token, settings.SECRET_KEY, algorithms=["HS256"])
            self.assertIsInstance(claims.pop("exp"), int)
            self.assertEqual(claims, {"token_type": "guest", "account_id": 1688, "user_id": user})
            self.assertIsNone(tokens.find_guest(token + "x"))
        other = jwt.encode({"account_id": 1688, "exp": 1 << 40}, settings.SECRET_KEY, algorithm="HS256")
        self.assertIsNone(tokens.find_guest(other))
