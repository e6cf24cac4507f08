"""Five hundred open tabs: the app's one worker serves on as if there were none, and each push finds its tabs."""

import hashlib
import json
import os
from collections.abc import Iterator
from http.client import HTTPSConnection

import pytest
from deployment import Deployment
from streams import Stream, read

TABS = 20  # of each user, alice and bob among them
USERS = 25


@pytest.fixture(scope="module")
def tabs(shop: Deployment) -> Iterator[dict[int, list[Stream]]]:
    """500 open streams, by user."""
    tls = shop.tls()
    tabs = {user: [Stream(shop.port, tls, shop.token(user)) for _ in range(TABS)] for user in range(1, USERS + 1)}
    yield tabs
    for stream in everyone(tabs):
        stream.close()


def everyone(tabs: dict[int, list[Stream]]) -> list[Stream]:
    return [stream for streams in tabs.values() for stream in streams]


def still_open(tabs: dict[int, list[Stream]]) -> bool:
    for stream in everyone(tabs):
        stream.pump()
    return not any(stream.ended for stream in everyone(tabs))


def titles(stream: Stream) -> list[str]:
    return [json.loads(event.data)["title"] for event in stream.events if event.event == "notification"]


def test_every_page_answers(shop: Deployment, tabs: dict[int, list[Stream]]) -> None:
    alice = shop.login("alice")
    assert "Visit 2." in alice.get("/").text
    assert alice.cookies["theme"] == "plain"
    me = alice.get("/api/me").json()
    assert me == {
        "user": "alice",
        "url": f"{shop.url}/api/me",
        "address": "127.0.0.1",
        "cookies": ["csrftoken", "sessionid", "theme"],
    }
    spoofed = alice.get("/api/me", headers={"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http"}).json()
    assert spoofed == me, "a client's own forwarding headers reach the app"
    assert alice.get("/nowhere").status_code == 404
    assert alice.post("/api/orders", data={"item": "Teapot"}).status_code == 403, "a form without its CSRF token"
    assert still_open(tabs)


def test_a_large_upload_arrives_whole(shop: Deployment, tabs: dict[int, list[Stream]]) -> None:
    alice = shop.login("alice")
    content = os.urandom(20 * 1024 * 1024)
    answer = alice.post("/upload", data=alice.form(), files={"file": content})
    assert answer.json() == {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert still_open(tabs)


def test_an_upload_above_the_limit_is_refused_before_it_is_sent(shop: Deployment) -> None:
    connection = HTTPSConnection("localhost", shop.port, timeout=60, context=shop.tls())
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Length", str(26 * 1024 * 1024))
    connection.endheaders()
    assert connection.getresponse().status == 413, "more than the upstream's max_body"
    connection.close()


def test_a_push_reaches_all_tabs_of_its_user_and_nobody_else(shop: Deployment, tabs: dict[int, list[Stream]]) -> None:
    alice, bob = shop.login("alice"), shop.login("bob")
    first = alice.order("Teapot")
    assert first["delivered"] == TABS
    # Bob's event comes later on the same path: when his tabs have it, hers would have reached them too.
    second = bob.order("Kettle")
    assert second["delivered"] == TABS
    expected = {alice.user_id: [f"Order {first['order']}: Teapot"], bob.user_id: [f"Order {second['order']}: Kettle"]}
    mine = tabs[alice.user_id] + tabs[bob.user_id]
    read(everyone(tabs), lambda: all(titles(stream) for stream in mine), 10, "both pushes in all tabs of both users")
    for user, streams in tabs.items():
        for stream in streams:
            assert titles(stream) == expected.get(user, [])
    assert still_open(tabs)


def test_a_restart_of_the_app_drops_no_stream(shop: Deployment, tabs: dict[int, list[Stream]]) -> None:
    alice = shop.login("alice")
    before = {id(stream): titles(stream) for stream in everyone(tabs)}

    shop.stop_app()
    page = alice.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.status_code == 502 and page.headers["Content-Type"].startswith("text/html")
    assert "502" in page.text and "Retry-After" in page.headers
    api = alice.get("/api/me", headers={"Accept": "application/json"})
    assert api.status_code == 502 and api.headers["Content-Type"].startswith("application/json")
    assert "error" in api.json() and "Retry-After" in api.headers
    assert still_open(tabs)
    newcomer = Stream(shop.port, shop.tls(), shop.token(alice.user_id))
    newcomer.close()

    shop.start_app()
    order = alice.order("Saucer")
    # The newcomer's socket is closed, but Sidestream may hear of that only after the push.
    assert order["delivered"] in (TABS, TABS + 1)
    title = f"Order {order['order']}: Saucer"
    mine = tabs[alice.user_id]
    read(mine, lambda: all(title in titles(stream) for stream in mine), 10, "the push in all tabs of alice")
    for user, streams in tabs.items():
        for stream in streams:
            assert titles(stream) == before[id(stream)] + ([title] if user == alice.user_id else [])
    assert still_open(tabs)


def test_an_order_stands_though_its_push_fails(shop: Deployment) -> None:
    alice = shop.login("alice")
    publish_socket = shop.folder / "publish.sock"
    hidden = publish_socket.rename(shop.folder / "hidden.sock")
    try:
        order = alice.order("Tray")
    finally:
        hidden.rename(publish_socket)
    assert order["delivered"] is None
    assert alice.get("/api/orders").json()["orders"][-1] == {"order": order["order"], "item": "Tray"}


def test_a_stream_without_a_good_token_is_refused(shop: Deployment) -> None:
    alice = shop.login("alice")
    for headers in ({}, {"Authorization": "Bearer " + alice.token()[:-4] + "AAAA"}):
        answer = alice.get("/events", headers=headers)
        assert answer.status_code == 401 and "event-stream" not in answer.headers["Content-Type"]
