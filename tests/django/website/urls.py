"""What can be called."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.attachments, name="attachments"),
    path("auth/signin/", views.SignIn.as_view(), name="signin"),
    path("auth/signout/", LogoutView.as_view(), name="signout"),
    path("error/", views.error, name="error"),
    path("attachments/", include("attachments.urls")),
]
