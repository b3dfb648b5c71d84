"""The settings of a web application that keeps its attachments in Cloakroom. All that differs comes from the environment."""

import os
from pathlib import Path
from urllib.parse import urlsplit

# Cloakroom has the same one, as CLOAKROOM_AUTH_SECRET_KEY.
SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "people",
    "attachments",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "attachments.middleware.FileServiceCookie",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "website.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "OPTIONS": {"context_processors": ["website.views.files_url"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ.get("DATA_DIR", ".")) / "website.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}
# The Redis that Cloakroom reads, as CLOAKROOM_REDIS_URL. Django's own backend does as well:
# django.core.cache.backends.redis.RedisCache
CACHES = {
    "default": {
        "BACKEND": os.environ.get("CACHE_BACKEND", "django_redis.cache.RedisCache"),
        "LOCATION": os.environ["REDIS_URL"],
    }
}

AUTH_USER_MODEL = "people.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "signin"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "attachments"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "attachments.authentication.UserToken",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

# The file service: as browsers reach it (its CLOAKROOM_PUBLIC_URL), and as this application does.
FILES_URL = os.environ.get("FILES_URL", "http://127.0.0.1:8080/files")
FILES_PRIVATE_URL = os.environ.get("FILES_PRIVATE_URL", FILES_URL)
# What this application claims files with: a token by `cloakroom token create --kind service`. Empty: it claims none.
FILES_SERVICE_TOKEN = os.environ.get("FILES_SERVICE_TOKEN", "")
FILES_HOST = urlsplit(FILES_URL).netloc
# Where it has a host of its own, the domain above both: ".example.com" for app.example.com and files.example.com.
FILES_COOKIE_DOMAIN = os.environ.get("FILES_COOKIE_DOMAIN") or None

# With HTTPS, as outside of tests, cookies never travel without.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = os.environ.get("HTTPS") == "on"

# With Django's default, `same-origin`, a browser says of a plain form that it comes from `null`, and Cloakroom takes no
# cookie from nowhere.
SECURE_REFERRER_POLICY = "strict-origin-when-cross-origin"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"]},
    "loggers": {"django.request": {"level": "ERROR"}},
}
