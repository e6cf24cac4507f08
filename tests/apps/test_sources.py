"""Apps that publish by Redis and know nothing of Sidestream, with a real Redis: channels, lists and streams of it."""

import json
import re
import time
from collections.abc import Iterator

import pytest
from deployment import HERE, free_port, wait_for
from redis_inbox import Inbox
from sources import Node, RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


CHANNEL = """
[[source]]
kind = "redis-pubsub"
url = "{url}"
channel = "{channel}"
map = {{ channel = "all", event = "/eventType", data = "/payload" }}
lease = "1s"
"""


def notification(number: int) -> str:
    """As the document's `sendNotification` publishes it."""
    return json.dumps({"eventType": "notification", "payload": {"number": number}, "eventId": 1642678901240 + number})


def holder(*nodes: Node) -> Node:
    """The node that reads a channel."""
    wait_for(lambda: any("is_ours=true" in node.log for node in nodes), 10, "a node reads the channel")
    return next(node for node in nodes if node.log.rfind("is_ours=true") > node.log.rfind("is_ours=false"))


def test_what_is_published_to_a_channel_reaches_the_streams(server) -> None:
    with Node(CHANNEL.format(url=server.url, channel="notifications")) as node, node.stream("1") as stream:
        holder(node)
        for number in range(1000):
            server.client.publish("notifications", notification(number))
        assert stream.until(1000) == [{"number": number} for number in range(1000)]
        assert stream.events[0][0] == "notification"
        assert node.health()["source_events"] == 1000


def test_a_pattern_takes_all_channels_that_match(server) -> None:
    source = CHANNEL.format(url=server.url, channel="news.*")
    with Node(source) as node, node.stream("1") as stream:
        holder(node)
        for number, channel in enumerate(["news.a", "other", "news.", "newsXa", "news.b.c"]):
            server.client.publish(channel, notification(number))
        assert stream.until(3) == [{"number": 0}, {"number": 2}, {"number": 4}]


def test_what_is_no_publication_is_counted_and_the_rest_goes_on(server) -> None:
    with Node(CHANNEL.format(url=server.url, channel="poison")) as node, node.stream("1") as stream:
        holder(node)
        for body in ("", "not json", "[]", '{"eventType": "error", "payload": "s3cret"}', '{"payload": 1}', "\0"):
            server.client.publish("poison", body)
        server.client.publish("poison", notification(7))
        assert stream.until(1) == [{"number": 7}]
        health = node.health()
        assert (health["source_rejected"], health["source_events"]) == (6, 1)
        assert "no publication by its map" in node.log and "s3cret" not in node.log


def test_of_two_nodes_one_reads_and_when_it_dies_the_other_does(server) -> None:
    source = CHANNEL.format(url=server.url, channel="two")
    with Node(source) as one, Node(source) as two:
        first = holder(one, two)
        second = two if first is one else one
        with first.stream("1") as stream, second.stream("1") as idle:
            for number in range(200):
                server.client.publish("two", notification(number))
            assert len(stream.until(200)) == 200
            first.kill()
            killed = time.monotonic()
            second.says("is_ours=true")
            took = time.monotonic() - killed
            assert took < 5, f"taken over after {took:.1f} s"
            server.client.publish("two", notification(200))
            # Nothing of what the first has published: each message is one node's.
            assert idle.until(1) == [{"number": 200}]


def test_a_node_that_is_stopped_as_usual_leaves_at_once(server) -> None:
    source = CHANNEL.format(url=server.url, channel="leave").replace('"1s"', '"60s"')
    with Node(source) as one, Node(source) as two:
        first = holder(one, two)
        second = two if first is one else one
        assert first.process.stop() == 0
        second.says("is_ours=true", 5)


def test_a_node_that_was_stopped_for_long_publishes_nothing_twice(server) -> None:
    source = CHANNEL.format(url=server.url, channel="long")
    with Node(source) as one, Node(source) as two:
        first = holder(one, two)
        second = two if first is one else one
        with first.stream("1") as stopped, second.stream("1") as stream:
            first.pause()
            second.says("is_ours=true")
            for number in range(50):
                server.client.publish("long", notification(number))
            assert len(stream.until(50)) == 50
            first.go_on()
            first.says("is_ours=false")
            server.client.publish("long", notification(50))
            assert stream.until(51)[-1] == {"number": 50}
            assert stopped.data == [] and first.health()["source_events"] == 0


def test_a_redis_that_restarts_is_said_once_each_way_and_streams_stay() -> None:
    with RedisServer() as server, Node(CHANNEL.format(url=server.url, channel="gone")) as node:
        holder(node)
        with node.stream("1") as stream:
            server.stop()
            node.says("is away")
            assert node.ask("POST", "/publish", {"user": 1, "data": {"number": 0}})["delivered"] == 1
            server.start()
            node.says("is back")

            def arrives() -> bool:
                return server.client.publish("gone", notification(1)) > 0

            wait_for(arrives, 10, "the source listens again")
            wait_for(lambda: node.health()["source_events"] > 0, 10, "the lease is back")
            assert stream.until(2)[:2] == [{"number": 0}, {"number": 1}]
            assert node.log.count("is away") == 1 and node.log.count("is back") == 1


LISTS = """
[[source]]
kind = "redis-list"
url = "{url}"
key = "notifications:{{user}}"
read = {{ key = "read_notifications:{{user}}" }}
{more}
"""


@pytest.fixture(params=["told", "asked"])
def inbox_server(request) -> Iterator[RedisServer]:
    """A Redis that tells of changes, and one that does not."""
    options = ["--notify-keyspace-events", "Kl"] if request.param == "told" else []
    with RedisServer(*options) as server:
        server.is_told = request.param == "told"
        yield server


def messages(data: list) -> list[str]:
    """The texts of notifications."""
    return [notification["message"] for notification in data]


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
        assert len(node.ask("GET", "/inbox/6")["events"]) == 0


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


STREAM = """
[[source]]
kind = "redis-stream"
url = "{url}"
stream = "{stream}"
map = {{ channel = "all", data = {{ number = "/number" }} }}
"""


def add(server: RedisServer, stream: str, *numbers: int) -> None:
    """Adds entries as an app does."""
    for number in numbers:
        server.client.xadd(stream, {"data": json.dumps({"number": number})})


def pending(server: RedisServer, stream: str) -> int:
    """How many entries were given to a node and are not acknowledged."""
    return server.client.xpending(stream, "sidestream")["pending"]


def test_a_stream_is_read_from_its_begin_and_acknowledged(server) -> None:
    add(server, "jobs", *range(5))
    with Node(STREAM.format(url=server.url, stream="jobs")) as node, node.stream("1") as stream:
        wait_for(lambda: node.health()["source_events"] == 5, 10, "what waited is read")
        add(server, "jobs", *range(5, 1000))
        server.client.xadd("jobs", {"number": "last"})
        stream.raw.read_until(lambda: stream.data[-1:] == [{"number": "last"}], 20, "the last")
        # Of what waited, the stream may have come in time for some.
        assert [data["number"] for data in stream.data][-996:] == [*range(5, 1000), "last"]
        assert node.health()["source_events"] == 1001
        wait_for(lambda: pending(server, "jobs") == 0, 10, "all is acknowledged")


def test_two_nodes_share_a_stream(server) -> None:
    source = STREAM.format(url=server.url, stream="shared")
    with Node(source) as one, Node(source) as two, one.stream("1") as here, two.stream("1") as there:
        add(server, "shared", *range(500))
        wait_for(lambda: sum(n.health()["source_events"] for n in (one, two)) == 500, 20, "all is published")
        wait_for(lambda: pending(server, "shared") == 0, 10, "all is acknowledged")
        counts = [node.health()["source_events"] for node in (one, two)]
        numbers = [data["number"] for stream, count in zip((here, there), counts) for data in stream.until(count)]
        assert sorted(numbers) == list(range(500))


def test_a_bad_entry_is_put_aside_and_the_rest_goes_on(server) -> None:
    with Node(STREAM.format(url=server.url, stream="bad")) as node, node.stream("1") as stream:
        server.client.xadd("bad", {"data": "not json s3cret"})
        server.client.xadd("bad", {b"\xff\xfe": b"\xff"})
        server.client.xadd("bad", {"other": "field"})
        add(server, "bad", 7)
        assert [data["number"] for data in stream.until(1)] == [7]
        wait_for(lambda: pending(server, "bad") == 0, 10, "all is acknowledged")
        assert server.client.xlen("bad:rejected") == 3
        assert node.health()["source_rejected"] == 3 and "s3cret" not in node.log


def test_what_a_dead_consumer_left_is_taken_over(server) -> None:
    # As a node that had read an entry and died before it was kept, half a minute ago.
    server.client.xgroup_create("left", "sidestream", mkstream=True)
    add(server, "left", 1)
    server.client.xreadgroup("sidestream", "node-dead", {"left": ">"}, count=1)
    [entry] = server.client.xpending_range("left", "sidestream", "-", "+", 10)
    server.client.xclaim("left", "sidestream", "node-dead", 0, [entry["message_id"]], idle=31_000)
    with Node(STREAM.format(url=server.url, stream="left")) as node:
        wait_for(lambda: pending(server, "left") == 0, 10, "it is acknowledged")
        assert node.health()["source_events"] == 1


def test_a_stream_goes_on_after_redis_was_away_and_the_node_was_killed() -> None:
    with RedisServer() as server, Node(STREAM.format(url=server.url, stream="on")) as node:
        with node.stream("1") as stream:
            add(server, "on", 1)
            stream.until(1)
            server.stop()
            node.says("is away")
            server.start()
            add(server, "on", 2)
            assert [data["number"] for data in stream.until(2)] == [1, 2]
        node.kill()
        add(server, "on", 3)
        node.start()
        with node.stream("1"):
            wait_for(lambda: node.health()["source_events"] == 1, 10, "what came meanwhile is read")
        wait_for(lambda: pending(server, "on") == 0, 10, "all is acknowledged")


def test_check_tries_each_redis(server) -> None:
    with Node(STREAM.format(url=server.url, stream="checked")) as node:
        there = node.check()
        assert there.returncode == 0 and f"stream checked of {server.url}/0" in there.stdout and there.stderr == ""
    with Node(STREAM.format(url=f"redis://app:s3cret@127.0.0.1:{free_port()}", stream="away")) as node:
        away = node.check()
        assert away.returncode == 0 and "warning: the Redis of the source `stream away`" in away.stderr
        assert "s3cret" not in away.stderr + away.stdout + node.log


@pytest.mark.parametrize("kind", ["redis-pubsub", "redis-list", "redis-stream"])
def test_the_rights_that_the_document_names_are_enough(kind) -> None:
    text = (HERE.parent.parent / "docs/sources.md").read_text()
    [rights] = re.findall(rf"^    {kind}  +(.*)$", text, re.MULTILINE)
    [beside] = re.findall(r"^beside `(.*?)`", text, re.MULTILINE)
    source = {"redis-pubsub": CHANNEL, "redis-list": LISTS, "redis-stream": STREAM}[kind]
    with RedisServer("--notify-keyspace-events", "Kl") as server:
        server.client.execute_command("ACL", "SETUSER", "sidestream", "on", ">s3cret", *beside.split(), *rights.split())
        url = server.url.replace("//", "//sidestream:s3cret@")
        names = {"channel": "notifications", "stream": "notifications", "more": ""}
        with Node(source.format(url=url, **names)) as node, node.stream("1") as stream:
            if kind == "redis-pubsub":
                holder(node)
                server.client.publish("notifications", notification(1))
            elif kind == "redis-list":
                node.says("is_told=true")
                Inbox(server.client).add_notification("1", "hi")
            else:
                add(server, "notifications", 1)
            assert len(stream.until(1)) == 1
            if kind == "redis-list":
                wait_for(lambda: Inbox(server.client).next_unread("1", mark=False) is None, 10, "it is read")
            if kind == "redis-stream":
                server.client.xadd("notifications", {"data": "wrong"})
                wait_for(lambda: server.client.xlen("notifications:rejected") == 1, 10, "it is put aside")
                wait_for(lambda: pending(server, "notifications") == 0, 10, "all is acknowledged")
            assert node.check().stderr == ""
            assert [line for line in server.client.acl_log() if line["reason"] != "auth"] == []
            assert "is away" not in node.log and "s3cret" not in node.log
