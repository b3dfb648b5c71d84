"""Accounts and their users."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Account(models.Model):
    """A customer: what its users see, others do not."""

    name = models.CharField(max_length=100)


class User(AbstractUser):
    """Somebody who belongs to an account."""

    kind = "user"

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
