"""`manage.py demo 127.0.0.1:8000`: migrates, makes people of two accounts, and serves."""

from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.core.management.base import BaseCommand
from waitress import serve

from people.models import Account, User
from website.wsgi import application

PASSWORD = "correct horse battery staple"

# Account, user, name.
PEOPLE = [
    (1688, 3685, "olga"),
    (1688, 3686, "colin"),
    (1688, 3687, "carla"),
    (1688, 3688, "gina"),
    (1689, 3700, "otto"),
]


class Command(BaseCommand):
    """Serves the project with people in it."""

    help = f"Makes {', '.join(name for _, _, name in PEOPLE)} with the password {PASSWORD!r}, and serves."

    def add_arguments(self, parser):
        """One: where."""
        parser.add_argument("listen", nargs="?", default="127.0.0.1:8000")

    def handle(self, *args, listen, **options):
        """Does it."""
        call_command("migrate", verbosity=0)
        password = make_password(PASSWORD)
        for account, pk, name in PEOPLE:
            Account.objects.get_or_create(pk=account, defaults={"name": f"Account {account}"})
            guest = name == "gina"
            User.objects.get_or_create(
                pk=pk,
                defaults={
                    "username": name,
                    "account_id": account,
                    "guest": guest,
                    "password": make_password(None) if guest else password,
                },
            )
        self.stdout.write(f"http://{listen}/")
        serve(application, listen=listen, threads=16)
