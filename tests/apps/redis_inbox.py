"""The inbox of the document "Server-Sent Events (SSE) Notification System", as it describes it: what writes and reads Redis.

A list `notifications:{user_id}` of JSON objects with an id, for 24 hours; the set `read_notifications:{user_id}` of the
ids that were sent; the oldest one that is not in the set is next."""

import itertools
import json
import time

import redis

QUEUE_TTL = 24 * 60 * 60

_last = itertools.count()


class Inbox:
    """The functions of the document's notifications.py, over one connection."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def add_notification(self, user_id: str, message: str) -> None:
        """Queues a notification, and lets the queue live for another day."""
        # Milliseconds as the document's; two in one of them would have one id there.
        notification = {"id": int(time.time() * 1000) * 1000 + next(_last) % 1000, "message": message}
        queue = f"notifications:{user_id}"
        self.client.rpush(queue, json.dumps(notification))
        self.client.expire(queue, QUEUE_TTL)

    def next_unread(self, user_id: str, mark: bool = True) -> dict | None:
        """The oldest notification that was not sent, which is sent then."""
        read = self.client.smembers(f"read_notifications:{user_id}")
        for text in self.client.lrange(f"notifications:{user_id}", 0, -1):
            notification = json.loads(text)
            if str(notification["id"]) not in read:
                if mark:
                    self.client.sadd(f"read_notifications:{user_id}", notification["id"])
                    self.client.expire(f"read_notifications:{user_id}", QUEUE_TTL)
                return notification
        return None
