"""`[[source]] kind = "redis-stream"` with a real Redis: a queue that all nodes share."""

from collections.abc import Iterator

import pytest
from deployment import wait_for
from sources import STREAM, Node, RedisServer, add, pending


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


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
