"""SIGTERM with open streams: in time, exit code 0, and in a way that makes every client come back."""

import time

from deployment import Deployment
from streams import Stream, read

SHUTDOWN_TIMEOUT = 10.0  # as in sidestream.toml


def test_a_graceful_stop_ends_streams_abruptly_and_clients_resume(shop: Deployment) -> None:
    alice = shop.login("alice")
    tls = shop.tls()
    tabs = [Stream(shop.port, tls, shop.token(alice.user_id)) for _ in range(10)]
    assert alice.order("Teapot")["delivered"] == len(tabs)
    read(tabs, lambda: all(tab.events for tab in tabs), 10, "the notification in every tab")

    assert shop.sidestream is not None
    began = time.monotonic()
    assert shop.sidestream.stop(SHUTDOWN_TIMEOUT + 2) == 0
    assert time.monotonic() - began < SHUTDOWN_TIMEOUT, "the deadline had to end it"
    read(tabs, lambda: all(tab.ended for tab in tabs), 5, "the end of every stream")
    assert not any(tab.complete for tab in tabs), "a clean end, after which fetch-based clients stay away"
    assert all(len(tab.events) == 1 for tab in tabs)

    shop.start_sidestream()
    again = Stream(shop.port, tls, shop.token(alice.user_id), last_event_id=tabs[0].last_id)
    read([again], lambda: again.events, 5, "word of the gap: the memory store begins anew with each start")
    assert (again.events[0].event, again.events[0].data.replace(" ", "")) == ("reset", '{"reason":"new-epoch"}')
    assert again.last_id != tabs[0].last_id
    assert alice.order("Kettle")["delivered"] == 1
    read([again], lambda: len(again.events) == 2, 5, "a push after the restart")
    for tab in [*tabs, again]:
        tab.close()
