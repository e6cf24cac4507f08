"""The app behind Sidestream in a soak: a few lines of WSGI, run by gunicorn."""

SMALL = b"x" * 60
LARGE = b"0123456789abcdef" * 4096


def app(environ, start_response):
    """Answers /small and /large, counts what is sent to /upload, and says at /me who has which session."""
    path = environ["PATH_INFO"]
    kind, body, status = "text/plain", SMALL, "200 OK"
    if path == "/large":
        body = LARGE
    elif path == "/upload":
        body = b"%d" % len(environ["wsgi.input"].read())
    elif path == "/me":
        session = environ.get("HTTP_COOKIE", "").partition("sessionid=")[2].partition(";")[0]
        kind, body = "application/json", b'{"id":"%s"}' % session.encode()
        status = status if session else "401 Unauthorized"
    elif path != "/small":
        status = "404 Not Found"
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
