"""Pages."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie

from attachments.models import Attachment


def files_url(request):
    """For templates: where the file service is."""
    return {"files_url": settings.FILES_URL}


class SignIn(LoginView):
    """Cloakroom sends visitors here with `redirectUrl`, the file that they wanted."""

    template_name = "signin.html"
    redirect_field_name = "redirectUrl"
    # The way back leads to this site or to the file service, and nowhere else.
    success_url_allowed_hosts = {settings.FILES_HOST}


@login_required(redirect_field_name="redirectUrl")
@ensure_csrf_cookie
def attachments(request):
    """The account's attachments, and forms to add some."""
    known = Attachment.objects.filter(account=request.user.account_id)
    shown = [attachment for attachment in known if attachment.may_read(request.user)]
    return render(request, "attachments.html", {"attachments": shown})


def error(request):
    """Where Cloakroom sends a browser that may not have a file, or whose file is not there."""
    return render(request, "error.html")
