"""A node whose store is in Redis, stopped, and Redis ended just after a publication."""

import signal
from collections.abc import Iterator

import pytest
from sources import Node, RedisServer


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis that writes nothing down by itself."""
    with RedisServer("--appendonly", "no") as running:
        yield running


def node_of(redis: RedisServer) -> Node:
    """A node of the deployment in it."""
    return Node("", f'kind = "redis"\nurl = "{redis.url}"')


def publish(node: Node, user: str) -> dict:
    """One publication, and the answer to it."""
    return node.ask("POST", "/publish", {"user": user, "data": {"n": 1}})


def ready(node: Node) -> None:
    """Waits for its store."""
    node.process.wait_until(lambda: node.health()["status"] == "ok", "the store is there")


def test_a_node_that_has_just_published_stops_at_once(redis):
    with node_of(redis) as node:
        ready(node)
        with node.stream("1") as stream:
            assert publish(node, "1")["delivered"] == 1
            stream.until(1)
        assert node.process.stop(20) == 0


def test_a_node_stops_also_when_redis_hangs(redis):
    with node_of(redis) as node:
        ready(node)
        redis.process.child.send_signal(signal.SIGSTOP)
        assert node.process.stop(20) == 0
        redis.process.child.send_signal(signal.SIGCONT)


def test_what_was_acknowledged_and_is_gone_ends_the_epoch_though_nobody_heard_of_it(redis):
    with node_of(redis) as node:
        ready(node)
        first = publish(node, "1")["id"]
        redis.client.save()
        assert publish(node, "1")["id"].split("-")[0] == first.split("-")[0]
        redis.stop()
        redis.start()
        ready(node)
        assert publish(node, "1")["id"].split("-")[0] != first.split("-")[0]
