"""The shop's pages and its API."""

import hashlib

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST, require_http_methods

from . import events
from .models import Order


@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The page that shows notifications as they arrive; counts its visits in the session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    response = render(request, "shop/home.html", {"visits": request.session["visits"]})
    response.set_cookie("theme", "plain", secure=True)
    return response


@require_GET
def me(request: HttpRequest) -> JsonResponse:
    """Who asks, and how the request looked when the app got it."""
    return JsonResponse(
        {
            "user": request.user.get_username() or None,
            "url": request.build_absolute_uri(),
            "address": request.headers.get("X-Forwarded-For"),
            "cookies": sorted(request.COOKIES),
        }
    )


@require_GET
@login_required
def token(request: HttpRequest) -> JsonResponse:
    """A fresh token for the stream."""
    response = JsonResponse({"token": events.stream_token(request.user.pk)})
    response["Cache-Control"] = "no-store"
    return response


@require_http_methods(["GET", "POST"])
@login_required
def orders(request: HttpRequest) -> JsonResponse:
    """GET lists the user's orders, POST saves one and tells all the user's tabs once it is committed.

    The order stands even when the push fails: `robust` logs that, and the tabs find the order when they load next.
    """
    if request.method == "GET":
        return JsonResponse({"orders": [order.as_json() for order in request.user.orders.order_by("pk")]})
    replies: list[dict] = []
    with transaction.atomic():
        order = Order.objects.create(user=request.user, item=request.POST.get("item", "something"))
        # A lambda: what `functools.partial` makes has no name, and Django 5.2 trips over that when it logs a failure.
        transaction.on_commit(lambda: replies.append(_notify(order)), robust=True)
    return JsonResponse({**order.as_json(), "delivered": replies[0]["delivered"] if replies else None})


def _notify(order: Order) -> dict:
    data = {"type": "order", "title": f"Order {order.pk}: {order.item}", **order.as_json()}
    return events.publish(user=order.user_id, event="notification", data=data)


@require_POST
@login_required
def upload(request: HttpRequest) -> JsonResponse:
    """Takes a file and answers with its length and SHA-256."""
    digest, length = hashlib.sha256(), 0
    for chunk in request.FILES["file"].chunks():
        digest.update(chunk)
        length += len(chunk)
    return JsonResponse({"length": length, "sha256": digest.hexdigest()})
