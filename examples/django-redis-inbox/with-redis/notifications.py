"""Notifications in Redis, as the app had them before Sidestream: a list and a set of what was read for each user."""

import json
import time

import redis
from django.conf import settings

QUEUE_TTL = 24 * 60 * 60  # seconds

redis_client = redis.Redis(host=settings.REDIS_HOST, port=settings.REDIS_PORT, db=settings.REDIS_DB)


def add_notification(user_id, message):
    """Queues a notification for a user."""
    notification = {"id": int(time.time() * 1000), "message": message}
    queue = f"notifications:{user_id}"
    redis_client.rpush(queue, json.dumps(notification))
    redis_client.expire(queue, QUEUE_TTL)
