"""The app's API. What was here for streams, Sidestream does now; one function is left, and knows how to reach it."""

import json
import logging
import os
import socket

from django.db import transaction
from rest_framework.generics import ListAPIView, ListCreateAPIView

from users.models import Notification
from users.serializers import NotificationSerializer, OrderSerializer

logger = logging.getLogger(__name__)


def send_notification_to_user(user_id, data):
    """Pushes data to every open tab of a user. A push that fails is logged: the page still finds its notification later."""
    line = json.dumps({"user": user_id, "data": data}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(os.environ["SIDESTREAM_SOCKET"])
            connection.sendall(line)
            reply = json.loads(connection.makefile().readline() or '{"error": "no answer"}')
    except (OSError, ValueError) as error:
        reply = {"error": str(error)}
    if "error" in reply:
        logger.warning("Notification to user %s was not pushed: %s", user_id, reply.get("message", reply["error"]))


class NotificationListView(ListAPIView):
    """GET /api/notifications/: what is behind the user's bell, newest first."""

    serializer_class = NotificationSerializer

    def get_queryset(self):
        return Notification.objects.filter(user=self.request.user)[:50]


class OrderListView(ListCreateAPIView):
    """POST /api/orders/: an order, of which its user is notified once it is in the database."""

    serializer_class = OrderSerializer

    def get_queryset(self):
        return self.request.user.order_set.order_by("-id")[:10]

    @transaction.atomic
    def perform_create(self, serializer):
        order = serializer.save(user=self.request.user)
        notify(self.request.user.id, f"Order #{order.id}", f"{order.item} is on its way")


def notify(user_id, title, message):
    """Puts a notification behind the user's bell, and tells the open tabs when it is there for them to load."""
    notification = Notification.objects.create(user_id=user_id, title=title, message=message)
    data = {"type": "notification", "id": notification.id, "title": title, "message": message}
    transaction.on_commit(lambda: send_notification_to_user(user_id, data), robust=True)
