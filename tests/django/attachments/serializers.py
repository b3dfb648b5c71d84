"""What comes in."""

from django.contrib.auth import get_user_model
from rest_framework import serializers

from .models import Attachment


class Registration(serializers.ModelSerializer):
    """A file that was uploaded, and who may read it. Those on its list are of the caller's account."""

    class Meta:
        """The model's own fields, bar the account."""

        model = Attachment
        fields = ["file_id", "rule", "users"]

    def get_fields(self):
        """Offers only users of the caller's account."""
        fields = super().get_fields()
        account = self.context["request"].user.account_id
        users = get_user_model().objects.filter(account=account)
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
    user = serializers.IntegerField(default=None, allow_null=True)
