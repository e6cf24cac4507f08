"""Settings of the example; what differs between machines comes from the environment."""

import os
from datetime import timedelta
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
ALLOWED_HOSTS = os.environ.get("DJANGO_HOSTS", "localhost,127.0.0.1").split(",")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "corsheaders",
    "inbox",
]
MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "inbox.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("INBOX_DATABASE", BASE_DIR / "inbox.sqlite3"),
        "ATOMIC_REQUESTS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# The front end is served from another origin.
CORS_ALLOWED_ORIGINS = os.environ.get("WEB_ORIGINS", "http://localhost:3000").split(",")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ("rest_framework_simplejwt.authentication.JWTAuthentication",),
}
# Sidestream knows the same key, and accepts the tokens of the login for its streams.
SIMPLE_JWT = {
    "SIGNING_KEY": os.environ["JWT_SECRET"],
    "ACCESS_TOKEN_LIFETIME": timedelta(hours=8),
}

SIDESTREAM_SOCKET = os.environ.get("SIDESTREAM_SOCKET", BASE_DIR / "sidestream.sock")

# Only for the form in which notifications stay in Redis (with-redis/notifications.py).
REDIS_HOST = "127.0.0.1"
REDIS_PORT = int(os.environ.get("REDIS_PORT", "6379"))
REDIS_DB = 0

# Also of notifications that could not be published; without this, Django shows errors only to a developer.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
