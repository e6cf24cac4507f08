"""The shop's one table."""

from django.conf import settings
from django.db import models


class Order(models.Model):
    """What a user bought."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="orders")
    item = models.CharField(max_length=100)
    created = models.DateTimeField(auto_now_add=True)

    def as_json(self) -> dict:
        """The order as the API and the notifications show it."""
        return {"order": self.pk, "item": self.item}
