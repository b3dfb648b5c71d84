"""What Cloakroom asks, and what pages tell."""

import json
from unittest.mock import patch

from django.contrib.auth import get_user_model

from attachments import tokens
from attachments.models import Attachment

from .people import PASSWORD, PeopleTestCase

QUESTION = "/attachments/check-permission"


class Questions(PeopleTestCase):
    """One question, one answer: callers by rules."""

    def setUp(self):
        """An attachment by each rule, with Colin on the list of one."""
        super().setUp()
        for rule in Attachment.Rule:
            made = Attachment.objects.create(file_id=f"{rule} файл.txt", account_id=1688, rule=rule)
            if rule == Attachment.Rule.RESTRICTED:
                made.users.add(self.colin)
        request = self.client.get("/auth/signin/").wsgi_request
        self.callers = {
            name: {"Authorization": f"Bearer {tokens.issue(user, request)}"}
            for name, user in (("olga", self.olga), ("colin", self.colin), ("otto", self.otto))
        }
        self.callers |= {
            "guest": {"X-Guest-Authorization": tokens.guest(1688)},
            "colin as a guest": {"X-Guest-Authorization": tokens.guest(1688, 3686)},
            "public": {"X-Public-Authorization": f"Token {tokens.public(1688)}"},
            "embed": {"X-Public-Authorization": f"Token {tokens.public(1688, 32)}"},
            "another's form": {"X-Public-Authorization": f"Token {tokens.public(1689)}"},
        }

    def ask(self, headers, file_id, action="read"):
        """The status."""
        form = {"file_id": file_id, "action": action}
        return self.client.post(QUESTION, form, headers=headers).status_code

    def test_each_rule_lets_in_whom_it_names_and_nobody_else(self):
        let_in = {
            "account": {"olga", "colin"},
            "restricted": {"colin", "colin as a guest"},
            "form": {"olga", "colin", "public"},
            "embed": {"olga", "colin", "embed"},
        }
        for rule, expected in let_in.items():
            for name, headers in self.callers.items():
                with self.subTest(rule=rule, caller=name):
                    status = self.ask(headers, f"{rule} файл.txt")
                    self.assertEqual(status, 204 if name in expected else 403)
                    self.assertEqual(self.ask(headers, f"{rule} файл.txt", "delete"), 403)

    def test_what_is_not_registered_is_nobodys(self):
        self.assertEqual(self.ask(self.callers["olga"], "unknown"), 403)

    def test_a_refused_credential_is_401(self):
        token = self.callers["olga"]["Authorization"].split()[1]
        tokens.revoke(token)
        refused = [
            {},
            {"Authorization": f"Bearer {token}"},
            {"X-Guest-Authorization": f"{tokens.guest(1688)}x"},
            {"X-Public-Authorization": "Token 00000000"},
            # The same characters in another place.
            {"X-Public-Authorization": f"Token {token}"},
        ]
        for headers in refused:
            self.assertEqual(self.ask(headers, "account файл.txt"), 401, headers)

    def test_many_questions_are_answered_in_their_order(self):
        ids = ["account файл.txt", "restricted файл.txt", "unknown"]
        checks = {"checks": [{"file_id": file_id, "action": "read"} for file_id in ids]}
        headers = self.callers["olga"]
        answer = self.client.post(f"{QUESTION}s", checks, "application/json", headers=headers)
        self.assertEqual([result["allow"] for result in answer.json()["results"]], [True, False, False])
        self.assertEqual([result["ttl"] for result in answer.json()["results"]], [60, 1, 1])
        too_many = {"checks": checks["checks"] * 34}
        answer = self.client.post(f"{QUESTION}s", too_many, "application/json", headers=headers)
        self.assertEqual(answer.status_code, 400)


class Registrations(PeopleTestCase):
    """Pages tell whose an uploaded file is."""

    def register(self, user_id=3685, **more):
        """The status, where Cloakroom says that the file is that user's."""
        body = {"file_id": "новый", "rule": "restricted", "users": [3686], **more}
        info = json.dumps({"account_id": 1688, "user_id": user_id}).encode()
        with patch("attachments.files.urlopen") as urlopen:
            urlopen.return_value.__enter__.return_value.read.return_value = info
            status = self.client.post("/attachments/", body, "application/json").status_code
        self.asked = urlopen.call_args and urlopen.call_args.args[0]
        return status

    def test_ones_own_file_is_registered_with_its_rule(self):
        token = self.sign_in()
        self.assertEqual(self.register(), 201)
        made = Attachment.objects.get()
        self.assertEqual((made.file_id, made.account_id, made.rule), ("новый", 1688, "restricted"))
        self.assertEqual(list(made.users.values_list("pk", flat=True)), [3686])
        self.assertTrue(self.asked.full_url.endswith("/files/%D0%BD%D0%BE%D0%B2%D1%8B%D0%B9/info"))
        self.assertEqual(self.asked.headers["Authorization"], f"Bearer {token}")
        self.assertEqual(self.register(), 400, "nobody takes it over")

    def test_a_file_of_somebody_elses_is_not(self):
        self.sign_in()
        self.assertEqual(self.register(user_id=3686), 403)
        self.assertEqual(self.register(users=[3700]), 400, "a user of another account")
        self.assertFalse(Attachment.objects.exists())

    def test_nobody_registers_without_signing_in(self):
        self.assertEqual(self.register(), 401)


class Invitations(PeopleTestCase):
    """Tokens for visitors, made by users."""

    def invite(self, **body):
        """The answer."""
        return self.client.post("/attachments/invitations/", body, "application/json")

    def test_they_are_for_the_account_and_for_its_guests(self):
        guests = get_user_model().objects
        guest = guests.create_user(username="gina", account_id=1688, guest=True)
        stranger = guests.create_user(username="gus", account_id=1689, guest=True)
        self.assertEqual(self.invite(kind="public").status_code, 401)
        self.sign_in()
        claims = tokens.find_guest(self.invite(kind="guest", user=guest.pk).json()["token"])
        self.assertEqual((claims["account_id"], claims["user_id"]), (1688, guest.pk))
        self.assertIsNone(tokens.find_guest(self.invite(kind="guest").json()["token"])["user_id"])
        for length, kind in ((8, "public"), (32, "embed")):
            token = self.invite(kind=kind).json()["token"]
            self.assertEqual((len(token), tokens.find_public(token)), (length, {"account_id": 1688}))
        for other in (self.colin, stranger):
            refused = self.invite(kind="guest", user=other.pk)
            self.assertEqual(refused.status_code, 400, "in the name of somebody who can sign in, or a stranger")


class SignIn(PeopleTestCase):
    """The way back after it."""

    def test_it_leads_to_the_file_service_and_nowhere_else(self):
        for there, expected in (
            ("http://127.0.0.1:8080/files/a%20b?x=y", "http://127.0.0.1:8080/files/a%20b?x=y"),
            ("http://evil.example/files/a", "/"),
            ("//evil.example", "/"),
            ("javascript:alert(1)", "/"),
        ):
            form = {"username": "olga", "password": PASSWORD, "redirectUrl": there}
            answer = self.client.post("/auth/signin/", form)
            self.assertRedirects(answer, expected, fetch_redirect_response=False)

    def test_a_page_of_the_site_asks_for_it_and_shows_what_one_may_read(self):
        self.assertRedirects(self.client.get("/"), "/auth/signin/?redirectUrl=/")
        Attachment.objects.create(file_id="a b/ё", account_id=1688, rule="account")
        Attachment.objects.create(file_id="of-others", account_id=1689, rule="account")
        self.sign_in()
        page = self.client.get("/").content.decode()
        self.assertIn("http://127.0.0.1:8080/files/a%20b%2F%D1%91", page)
        self.assertNotIn("of-others", page)
