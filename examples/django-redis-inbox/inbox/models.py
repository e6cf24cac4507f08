"""What the example is about: groups of people who approve something."""

from django.db import models


class ApproverGroup(models.Model):
    """One group."""

    name = models.CharField(max_length=100)
