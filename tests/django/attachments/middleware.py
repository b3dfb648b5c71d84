"""The cookie by which Cloakroom knows a browser."""

from django.conf import settings

COOKIE = "file_service_auth"
SESSION_KEY = "file_service_token"


class FileServiceCookie:
    """Gives a browser the token of its session, and takes it back when the session ends."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        token = request.session.get(SESSION_KEY)
        if token == request.COOKIES.get(COOKIE):
            return response
        place = {"domain": settings.FILES_COOKIE_DOMAIN, "samesite": "Lax"}
        if token is None:
            response.delete_cookie(COOKIE, **place)
        else:
            response.set_cookie(
                COOKIE,
                token,
                max_age=settings.SESSION_COOKIE_AGE,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                **place,
            )
        return response
