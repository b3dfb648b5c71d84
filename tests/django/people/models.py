"""Accounts and their users."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Account(models.Model):
    """A customer: what its users see, others do not."""

    name = models.CharField(max_length=100)


class User(AbstractUser):
    """Somebody of an account. A guest cannot sign in, and comes with tokens that users make."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    guest = models.BooleanField(default=False)

    @property
    def kind(self):
        """As whom the rules of attachments know them."""
        return "guest" if self.guest else "user"
