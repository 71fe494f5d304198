"""A Django site whose accounts are kept by `sub`, as mozilla-django-oidc's manual has it under "Connecting OIDC user
identities to Django users": by itself it keeps them by electronic mail addresses, which our provider does not know.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from tests.issuance.unmodified.manual import block

_accounts: dict[str, Any] = {"__name__": __name__}
exec(block("django accounts"), _accounts)
BySubject = _accounts["BySubject"]


def who(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"sub": request.user.get_username(), "accounts": BySubject().UserModel.objects.count()})


urlpatterns = [path("oidc/", include("mozilla_django_oidc.urls")), path("", who)]
