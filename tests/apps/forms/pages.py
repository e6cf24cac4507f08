"""A Django site in one file, for WSGI and ASGI: forms, a session, uploads, a streamed answer, a WebSocket, and what it knows of
its client."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from io import BytesIO

from django.conf import settings
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_POST

settings.configure(
    SECRET_KEY="of no use anywhere else",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["localhost"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    USE_X_FORWARDED_HOST=True,
)

PIECES = 10
PAUSE = 0.05  # seconds between two of them


def where(request: HttpRequest) -> HttpResponse:
    """What it knows of a request."""
    not_told = ("X-Request-Id", "Connection", "Cookie")
    ours = {name: value for name, value in sorted(request.headers.items()) if name not in not_told}
    known = {"url": request.build_absolute_uri(), "secure": request.is_secure(), "path": request.path, "headers": ours}
    return JsonResponse(known | {"cookies": sorted(request.COOKIES), "method": request.method})


def form(request: HttpRequest) -> HttpResponse:
    """A form whose content is kept in the session."""
    if request.method == "POST":
        request.session["names"] = [*request.session.get("names", []), *request.POST.getlist("name")]
        return redirect("/names")
    return HttpResponse(f'<form method="post"><input name="csrfmiddlewaretoken" value="{get_token(request)}"></form>')


def names(request: HttpRequest) -> HttpResponse:
    """What the session holds."""
    return HttpResponse(", ".join(request.session.get("names", [])))


@require_POST
def upload(request: HttpRequest) -> HttpResponse:
    """What came of a file."""
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    fields = {"note": request.POST.get("note"), "name": file.name, "type": file.content_type}
    return JsonResponse(fields | {"size": file.size, "digest": digest.hexdigest()})


def stream(request: HttpRequest) -> HttpResponse:
    """An answer that takes its time."""

    def pieces():
        for number in range(PIECES):
            yield f"piece {number}\n"
            time.sleep(PAUSE)

    async def async_pieces():
        for number in range(PIECES):
            yield f"piece {number}\n"
            await asyncio.sleep(PAUSE)

    made = async_pieces() if isinstance(request, ASGIRequest) else pieces()
    return StreamingHttpResponse(made, content_type="text/plain")


def download(request: HttpRequest) -> HttpResponse:
    """A file of three megabytes."""
    return FileResponse(BytesIO(bytes(range(256)) * 12_000), as_attachment=True, filename="gr\u00fc\u00dfe.bin")


def fail(request: HttpRequest) -> HttpResponse:
    """An error that nobody has foreseen."""
    raise RuntimeError("as the test wants it")


urlpatterns = [path(view.__name__, view) for view in (where, form, names, upload, stream, download, fail)]
wsgi = get_wsgi_application()
site = get_asgi_application()


async def asgi(scope: dict, receive: Callable, send: Callable) -> None:
    """The site, and beside it a WebSocket for who has a session, as Channels has them."""
    await (chat if scope["type"] == "websocket" else site)(scope, receive, send)


async def chat(scope: dict, receive: Callable, send: Callable) -> None:
    """Says whom it speaks with, and then what it hears; to who has no session, or comes from elsewhere, nothing."""
    fields = {name.decode(): value.decode() for name, value in scope["headers"]}
    names = SessionStore(SimpleCookie(fields.get("cookie", ""))["sessionid"].value).get("names") if "cookie" in fields else None
    await receive()
    if not names or fields["origin"] != f"https://{fields['host']}":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept", "headers": [(b"x-chat", b"yes")]})
    known = {name: fields.get(f"x-forwarded-{name}") for name in ("proto", "host", "port", "for")}
    known |= {"names": names, "scheme": scope["scheme"], "path": scope["path"], "query": scope["query_string"].decode()}
    await send({"type": "websocket.send", "text": json.dumps(known)})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "bye":
            return await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
        await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})
