"""Questions to Cloakroom in a caller's name, and what the application says in its own."""

import json
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from django.conf import settings

TIMEOUT = 10


def belongs_to(file_id, user, token):
    """Whether a file is a user's own, as Cloakroom says. Who registers a file answers for it from then on."""
    address = f"{settings.FILES_PRIVATE_URL}/{quote(file_id, safe='')}/info"
    question = Request(address, headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(question, timeout=TIMEOUT) as answer:
            info = json.load(answer)
    except HTTPError as error:
        if error.code in (401, 403, 404):
            return False
        raise
    return (info["account_id"], info["user_id"]) == (user.account_id, user.pk)


def claim(file_id):
    """Says that this application uses a file, so that it does not expire. Doing it twice is the same as once."""
    address = f"{settings.FILES_PRIVATE_URL}/{quote(file_id, safe='')}/claim"
    headers = {"Authorization": f"Bearer {settings.FILES_SERVICE_TOKEN}"}
    with urlopen(Request(address, method="POST", headers=headers), timeout=TIMEOUT):
        pass
