"""The groups as JSON."""

from rest_framework.serializers import ModelSerializer

from .models import ApproverGroup


class ApproverGroupSerializer(ModelSerializer):
    """One group."""

    class Meta:
        model = ApproverGroup
        fields = ["id", "name"]
