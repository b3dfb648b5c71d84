"""What comes in."""

from django.contrib.auth import get_user_model
from rest_framework import serializers

from .models import Attachment


def colleagues(serializer):
    """The users of the caller's account, guests included."""
    account = serializer.context["request"].user.account_id
    return get_user_model().objects.filter(account=account)


class Registration(serializers.ModelSerializer):
    """A file that was uploaded, and who may read it."""

    class Meta:
        """The model's own fields, bar the account."""

        model = Attachment
        fields = ["file_id", "rule", "users"]

    def get_fields(self):
        """Lists are of users of the caller's account."""
        fields = super().get_fields()
        users = colleagues(self)
        fields["users"] = serializers.PrimaryKeyRelatedField(queryset=users, many=True, default=[])
        return fields


class Check(serializers.Serializer):
    """One question of Cloakroom's."""

    file_id = serializers.CharField(max_length=512, trim_whitespace=False)
    action = serializers.CharField(default="read")


class Checks(serializers.Serializer):
    """Several, in one request."""

    checks = Check(many=True, max_length=100)


class Invitation(serializers.Serializer):
    """Whom a token is for."""

    kind = serializers.ChoiceField(["guest", "public", "embed"])

    def get_fields(self):
        """A guest's token may be in the name of a guest, and of nobody who can sign in: it would be an owner's."""
        fields = super().get_fields()
        guests = colleagues(self).filter(guest=True)
        fields["user"] = serializers.PrimaryKeyRelatedField(queryset=guests, default=None, allow_null=True)
        return fields
