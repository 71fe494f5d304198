"""The Django site's settings (https://mozilla-django-oidc.readthedocs.io/); its client is JSON in `SITE_CLIENT`."""

from __future__ import annotations

import json
import os

from tests.issuance.unmodified.manual import Client, configuration

SECRET_KEY = "a key of this test alone"
ALLOWED_HOSTS = ["127.0.0.1"]
DEBUG = True
ROOT_URLCONF = "tests.issuance.unmodified.django_site"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "mozilla_django_oidc"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
AUTHENTICATION_BACKENDS = ["tests.issuance.unmodified.django_site.BySubject"]

LOGIN_REDIRECT_URL = "/"
exec(configuration("django settings", Client(**json.loads(os.environ["SITE_CLIENT"]))))
