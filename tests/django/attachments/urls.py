"""What can be called below `/attachments/`."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.Register.as_view(), name="register-attachment"),
    path("check-permission", views.CheckPermission.as_view()),
    path("check-permissions", views.CheckPermissions.as_view()),
    path("invitations/", views.Invite.as_view()),
]
