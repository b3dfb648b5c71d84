"""What the application knows about the files that lie in Cloakroom."""

from django.conf import settings
from django.db import models


class Attachment(models.Model):
    """A file of an account, and who but its owner may read it."""

    class Rule(models.TextChoices):
        """Who may."""

        ACCOUNT = "account", "every user of the account"
        RESTRICTED = "restricted", "those on the list"
        FORM = "form", "users, and visitors of the account's public forms"
        EMBED = "embed", "users, and visitors of the account's embedded forms"

    file_id = models.CharField(max_length=512, primary_key=True)
    account = models.ForeignKey("people.Account", on_delete=models.CASCADE)
    rule = models.CharField(max_length=10, choices=Rule)
    users = models.ManyToManyField(settings.AUTH_USER_MODEL)

    def may_read(self, caller):
        """Whether a user or a visitor may read it."""
        if caller.account_id != self.account_id:
            return False
        match self.rule:
            case self.Rule.ACCOUNT:
                return caller.kind == "user"
            case self.Rule.RESTRICTED:
                return self.users.filter(pk=caller.pk).exists()
            case self.Rule.FORM:
                return caller.kind in ("user", "public")
            case self.Rule.EMBED:
                return caller.kind in ("user", "embed")
