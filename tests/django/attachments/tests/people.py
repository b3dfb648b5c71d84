"""Two accounts, and a Redis that nobody else uses."""

from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import TestCase

from people.models import Account

PASSWORD = "correct horse battery staple"


class PeopleTestCase(TestCase):
    """With Olga and Colin of one account, and Otto of another."""

    @classmethod
    def setUpTestData(cls):
        """Makes them."""
        users = get_user_model().objects
        for number in (1688, 1689):
            Account.objects.create(pk=number, name=f"Account {number}")
        people = [(3685, "olga", 1688), (3686, "colin", 1688), (3700, "otto", 1689)]
        cls.olga, cls.colin, cls.otto = (
            users.create_user(pk=pk, username=name, account_id=account) for pk, name, account in people
        )
        cls.olga.set_password(PASSWORD)
        cls.olga.save()

    def setUp(self):
        """Nobody is signed in."""
        cache.clear()

    def sign_in(self):
        """Signs Olga in as a browser does and answers the token in the cookie."""
        form = {"username": "olga", "password": PASSWORD}
        answer = self.client.post("/auth/signin/", form, headers={"User-Agent": "Браузер/1.0"})
        self.assertEqual(answer.status_code, 302, answer.content)
        return self.client.cookies["file_service_auth"].value
