"""What Cloakroom asks, and what pages tell after an upload."""

from django.conf import settings
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from . import files, tokens
from .authentication import GuestToken, PublicToken, UserToken
from .middleware import SESSION_KEY
from .models import Attachment
from .serializers import Check, Checks, Invitation, Registration


class CheckPermission(APIView):
    """`CLOAKROOM_PERMISSION_URL`: 204 is yes, 401 and 403 are no."""

    authentication_classes = [UserToken, GuestToken, PublicToken]

    def post(self, request):
        """Answers one question, in the caller's name."""
        check = Check(data=request.data)
        check.is_valid(raise_exception=True)
        return Response(status=204 if self.allows(**check.validated_data) else 403)

    def allows(self, file_id, action):
        """Whether the caller may. What is not reading is the owner's alone, about whom Cloakroom does not ask."""
        attachment = Attachment.objects.filter(pk=file_id).first()
        return action == "read" and attachment is not None and attachment.may_read(self.request.user)


class CheckPermissions(CheckPermission):
    """The same for `CLOAKROOM_PERMISSION_PROTOCOL=batch`: many questions at once, and how long each answer holds."""

    def post(self, request):
        """Answers them in their order."""
        checks = Checks(data=request.data)
        checks.is_valid(raise_exception=True)
        return Response({"results": [self.result(**check) for check in checks.validated_data["checks"]]})

    def result(self, **check):
        """One answer; `ttl` is in seconds."""
        allowed = self.allows(**check)
        return {"allow": allowed, "ttl": 60 if allowed else 1, "reason": "the attachment's rule"}


class Register(APIView):
    """Called by pages after an upload: from now on this application answers for the file."""

    def post(self, request):
        """Registers a file of the caller's own."""
        registration = Registration(data=request.data, context={"request": request})
        registration.is_valid(raise_exception=True)
        token = request.auth or request.session.get(SESSION_KEY, "")
        if not files.belongs_to(registration.validated_data["file_id"], request.user, token):
            raise PermissionDenied
        registration.save(account_id=request.user.account_id)
        if settings.FILES_SERVICE_TOKEN:
            files.claim(registration.validated_data["file_id"])
        return Response(registration.data, status=201)


class Invite(APIView):
    """Makes tokens for visitors of the caller's account."""

    def post(self, request):
        """Makes one."""
        invitation = Invitation(data=request.data, context={"request": request})
        invitation.is_valid(raise_exception=True)
        account, guest = request.user.account_id, invitation.validated_data["user"]
        match invitation.validated_data["kind"]:
            case "guest":
                token = tokens.guest(account, guest and guest.pk)
            case "public":
                token = tokens.public(account)
            case "embed":
                token = tokens.public(account, length=32)
        return Response({"token": token}, status=201)
