"""`[[source]] kind = "redis-list"` with a real Redis: the inbox of the third document, by its own functions."""

from collections.abc import Iterator

import pytest
from deployment import wait_for
from redis_inbox import Inbox
from sources import LISTS, Node, RedisServer, messages


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["told", "asked"])
def inbox_server(request) -> Iterator[RedisServer]:
    """A Redis that tells of changes, and one that does not."""
    options = ["--notify-keyspace-events", "Kl"] if request.param == "told" else []
    with RedisServer(*options) as server:
        server.is_told = request.param == "told"
        yield server


def test_the_documents_inbox_reaches_its_user_and_is_read(inbox_server) -> None:
    inbox = Inbox(inbox_server.client)
    with Node(LISTS.format(url=inbox_server.url, more="")) as node:
        node.says(f"is_told={str(inbox_server.is_told).lower()}")
        # What waits when the user comes, less what the app's own endpoint has sent before.
        inbox.add_notification("2", "sent before.")
        inbox.add_notification("2", "waits.")
        inbox.add_notification("3", "for somebody else.")
        assert inbox.next_unread("2")["message"] == "sent before."
        with node.stream("2") as stream:
            assert messages(stream.until(1)) == ["waits."]
            for number in range(20):
                inbox.add_notification("2", f"live {number}.")
            assert messages(stream.until(21))[1:] == [f"live {number}." for number in range(20)]
            # The document's own function finds nothing left, by ids as it writes them.
            wait_for(lambda: inbox.next_unread("2") is None, 10, "all is read in the app's own set")
            assert 0 < inbox.client.ttl("read_notifications:2") <= 24 * 3600
        assert inbox.next_unread("3")["message"] == "for somebody else."
        assert inbox.client.lrange("notifications:3", 0, -1), "nothing is taken out of a list"
        with node.stream("2") as stream:
            inbox.add_notification("2", "after a reload.")
            assert messages(stream.until(1)) == ["after a reload."]


def test_a_restart_sends_again_only_what_was_not_read(inbox_server) -> None:
    inbox = Inbox(inbox_server.client)
    with Node(LISTS.format(url=inbox_server.url, more="")) as node:
        with node.stream("5") as stream:
            inbox.add_notification("5", "read.")
            assert messages(stream.until(1)) == ["read."]
            wait_for(lambda: inbox.next_unread("5", mark=False) is None, 10, "it is read")
        node.kill()
        inbox.add_notification("5", "while it was away.")
        node.start()
        with node.stream("5") as stream:
            assert messages(stream.until(1)) == ["while it was away."]


def test_with_a_store_on_disk_what_is_unread_is_not_doubled(inbox_server) -> None:
    inbox = Inbox(inbox_server.client)
    with Node(LISTS.format(url=inbox_server.url, more=""), 'kind = "disk"\npath = "history"') as node:
        with node.stream("6") as stream:
            inbox.add_notification("6", "one.")
            assert messages(stream.until(1)) == ["one."]
        # A crash may make what was read in its last moment unread again, so it ends as usual.
        assert node.process.stop() == 0
        inbox.client.delete("read_notifications:6")
        node.start()
        with node.stream("6") as stream:
            inbox.add_notification("6", "two.")
            assert messages(stream.until(1)) == ["two."]
            # A client has an event a moment before it is noted as read.
            wait_for(lambda: node.ask("GET", "/inbox/6")["events"] == [], 5, "all is read")


def test_two_nodes_with_a_user_on_each_send_everything_to_both(inbox_server) -> None:
    inbox = Inbox(inbox_server.client)
    source = LISTS.format(url=inbox_server.url, more="")
    with Node(source) as one, Node(source) as two, one.stream("7") as here, two.stream("8") as there:
        for number in range(10):
            inbox.add_notification("7", f"here {number}.")
            inbox.add_notification("8", f"there {number}.")
        assert messages(here.until(10)) == [f"here {number}." for number in range(10)]
        assert messages(there.until(10)) == [f"there {number}." for number in range(10)]
        wait_for(lambda: inbox.next_unread("7", mark=False) is None, 10, "all is read")
        one.kill()
        inbox.add_notification("7", "elsewhere.")
        with two.stream("7") as moved:
            assert messages(moved.until(1)) == ["elsewhere."]


def test_a_user_on_two_nodes_with_one_store_has_everything_once_on_both(inbox_server) -> None:
    """Both nodes read the list, and one event is made of each entry; what was read is not sent again by either."""
    inbox = Inbox(inbox_server.client)
    source = LISTS.format(url=inbox_server.url, more="")
    shared = f'kind = "redis"\nurl = "{inbox_server.url}"'
    wanted = [*(f"live {number}." for number in range(50)), "last."]
    with Node(source, shared) as one, Node(source, shared) as two:
        with one.stream("12") as here, two.stream("12") as there:
            for message in wanted[:-1]:
                inbox.add_notification("12", message)
            for stream in [here, there]:
                stream.until(len(wanted) - 1)
            # By now each node has looked at all that came before, so a second copy would have come.
            inbox.add_notification("12", wanted[-1])
            for stream in [here, there]:
                assert messages(stream.until(len(wanted))) == wanted
            wait_for(lambda: inbox.next_unread("12", mark=False) is None, 10, "all is read")
        inbox.add_notification("12", "after.")
        with two.stream("12") as stream:
            assert messages(stream.until(1)) == ["after."]


def test_lists_go_on_after_redis_was_away(inbox_server) -> None:
    inbox = Inbox(inbox_server.client)
    with Node(LISTS.format(url=inbox_server.url, more="")) as node, node.stream("9") as stream:
        inbox.add_notification("9", "before.")
        stream.until(1)
        inbox_server.stop()
        node.says("is away")
        inbox_server.start()
        inbox.add_notification("9", "after.")
        assert messages(stream.until(2)) == ["before.", "after."]
        wait_for(lambda: inbox.next_unread("9", mark=False) is None, 10, "both are read")


def test_configure_makes_redis_tell() -> None:
    with RedisServer() as server, Node(LISTS.format(url=server.url, more="configure = true")) as node:
        node.says("is_told=true")
        assert set(server.client.config_get("notify-keyspace-events")["notify-keyspace-events"]) == set("Kl")


def test_poison_in_a_list_and_a_key_that_is_no_list(server) -> None:
    inbox = Inbox(server.client)
    server.client.set("notifications:11", "no list")
    server.client.rpush("notifications:10", "not json", "", "\udcff".encode(errors="surrogateescape"))
    inbox.add_notification("10", "good.")
    with Node(LISTS.format(url=server.url, more="")) as node, node.stream("11"), node.stream("10") as stream:
        assert messages(stream.until(1)) == ["good."]
        assert node.health()["source_rejected"] == 3
        assert "not json" not in node.log
