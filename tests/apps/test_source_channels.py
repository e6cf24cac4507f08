"""`[[source]] kind = "redis-pubsub"` with a real Redis: what apps publish to a channel, as the fourth document does it."""

import time
from collections.abc import Iterator

import pytest
from deployment import wait_for
from sources import CHANNEL, Node, RedisServer, holder, notification


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


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
