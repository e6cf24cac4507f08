"""The API. The stream beside it, /api/communication/notifications/sse/, is Sidestream's."""

from django.urls import path
from rest_framework_simplejwt.views import TokenObtainPairView

from .views import ApproverGroupView

urlpatterns = [
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/approval/approver-groups/", ApproverGroupView.as_view()),
]
