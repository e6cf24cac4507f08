"""The shop's addresses. /events is not among them: Sidestream answers it."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("login", LoginView.as_view(template_name="shop/login.html"), name="login"),
    path("logout", LogoutView.as_view(next_page="login"), name="logout"),
    path("api/me", views.me, name="me"),
    path("api/token", views.token, name="token"),
    path("api/orders", views.orders, name="orders"),
    path("upload", views.upload, name="upload"),
]
