"""notifications/sse/ and notifications/trigger/ were here, and are routes of sidestream.toml now."""

from django.urls import path
from rest_framework_simplejwt.views import TokenObtainPairView

from users.views import NotificationListView, OrderListView

urlpatterns = [
    path("token/", TokenObtainPairView.as_view()),
    path("notifications/", NotificationListView.as_view()),
    path("orders/", OrderListView.as_view()),
]
