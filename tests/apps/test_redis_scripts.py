"""The scripts of the store in Redis, called as a node calls them: ids, history, keys, marks, epochs, and that all expires."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis_server import SCRIPTS, RedisServer, Scripts, entry


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RedisServer]:
    """One Redis for the file; each test begins with nothing in it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def node(server) -> Scripts:
    """A node of a new deployment."""
    server.client.flushall()
    scripts = Scripts(server.client)
    assert scripts.attach("aaaaaa") == ["aaaaaa", "0", ""]
    return scripts


def told(pubsub: redis.client.PubSub) -> list[str]:
    """What has been told so far: all of it was told before the last reply, so it is there."""
    found = []
    while message := pubsub.get_message(ignore_subscribe_messages=False, timeout=0.2):
        found.append(message)
    return [message["data"] for message in found if message["type"] == "message"]


def known_of(server: RedisServer, channel: str) -> dict[str, int]:
    """What Redis knows of a channel's log."""
    names = ("last", "lost", "bytes", "count", "kept")
    return dict(zip(names, map(int, server.client.hget(f"t:aaaaaa:meta:{channel}", "at").split()), strict=True))


def listening(server: RedisServer, *channels: str) -> redis.client.PubSub:
    """A subscription that has begun."""
    pubsub = server.client.pubsub()
    pubsub.subscribe(*channels)
    for _ in channels:
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
    return pubsub


def test_ids_are_one_order_and_each_channel_has_its_history(node):
    assert node.publish(entry("a", body="1"), entry("a", "b", body="2"), entry("b", body="3")) == [
        *("new", "1", 0, "new", "2", 0, "new", "3", 0)
    ]
    head, (a, b, c) = node.load("a", "b", "c")
    assert (head, a.events, b.events, c.events) == (3, {1: "1", 2: "2"}, {2: "2", 3: "3"}, {})
    assert (a.last, b.last, c.last, a.lost, c.lost) == (2, 3, 0, 0, 0)
    _, (a,) = node.load("a", since=1)
    assert a.events == {2: "2"}
    _, (a,) = node.load("a", since=2)
    assert a.events == {} and a.last == 2 and a.all


def test_followers_are_told_and_counted(server, node):
    with listening(server, "t:ch:a", "t:ch:b") as pubsub:
        reply = node.publish(entry("a", "b", "c", body="data: x\n\n", ttl=5000, collapse="k"), ticket=7)
        assert reply == ["new", "1", 2]
        node.publish(entry("a", body="y"))
        first, second, third = told(pubsub)
    head, rest = first.split("\n", 1)
    words = head.split(" ")
    assert words[:6] == ["e", "aaaaaa-1", "0", node.node, "7", "0"] and words[6] == "a,b,c"
    at, expires, length = map(int, words[7:])
    assert expires - at == 5000 and length == 1 and rest == "kdata: x\n\n"
    assert first == second and third.startswith("e aaaaaa-2 1 ")


def test_publications_of_several_orders_are_told_as_whose_they_are(server, node):
    with listening(server, "t:ch:a") as pubsub:
        reply = node.publish_together([(7, (entry("a"), entry("a"))), (9, (entry("a"),))])
        assert reply == ["new", "1", 1, "new", "2", 1, "new", "3", 1]
        assert [text.split(" ")[4:6] for text in told(pubsub)] == [["7", "0"], ["7", "1"], ["9", "0"]]


def test_too_many_events_and_bytes_make_room_and_say_so(server):
    server.client.flushall()
    node = Scripts(server.client, events=20, size=10_000)
    node.attach("aaaaaa")
    for _ in range(50):
        node.publish(entry("a"))
    _, (a,) = node.load("a")
    assert 20 <= len(a.events) <= 22 and max(a.events) == 50 and min(a.events) == a.lost + 1
    node.publish(entry("a", body="x" * 9000))
    _, (a,) = node.load("a")
    assert list(a.events)[-1] == 51 and min(a.events) == a.lost + 1 and len(a.events) < 10
    # Alone more than a channel may have.
    node.publish(entry("a", body="x" * 20_000))
    _, (a,) = node.load("a")
    assert (a.events, a.lost, a.last) == ({}, 52, 52)
    node.publish(entry("a", body="again"))
    _, (a,) = node.load("a")
    assert (a.events, a.lost) == ({53: "again"}, 52)
    known = known_of(server, "a")
    assert known["count"] == 1 and known["bytes"] < 200


def test_a_collapse_key_has_one_event_and_its_older_one_is_not_lost(server, node):
    node.publish(entry("a", "b", collapse="k", body="1"), entry("a", body="2"), entry("a", collapse="k", body="3"))
    _, (a, b) = node.load("a", "b")
    assert (a.events, a.lost, b.events) == ({2: "2", 3: "k3"}, 0, {1: "k1"})
    assert known_of(server, "a")["count"] == 2


def test_a_key_gives_the_same_event_again_and_refuses_another(node):
    assert node.publish(entry("a", key="k", digest=7)) == ["new", "1", 0]
    assert node.publish(entry("a", key="k", digest=7), entry("a")) == ["before", "1", "-1", "new", "2", 0]
    assert node.publish(entry("a"), entry("a", key="k", digest=8)) == ["reused", 1]
    assert node.load("a")[0] == 2, "a batch is published whole or not at all"
    # Twice in one batch.
    assert node.publish(entry("a", key="l"), entry("a", key="l")) == ["new", "3", 0, "before", "3", "-1"]
    assert node.publish(entry("a", key="m"), entry("a", key="m", digest=2)) == ["reused", 1]
    node.call("key", node.epoch, "k", 1, 12, "")
    assert node.publish(entry("a", key="k", digest=7)) == ["before", "1", "12"]
    # Of another epoch there is no id to give.
    node.client.delete("t:head")
    node.attach("bbbbbb")
    assert node.publish(entry("a", key="k", digest=7)) == ["before", "0", "12"]


def test_a_key_is_kept_longer_and_never_shorter(server, node):
    node.publish(entry("a", key="k"))
    now = int(time.time() * 1000)
    node.call("key", node.epoch, "k", "", "", now + 100_000)
    assert server.client.pttl("t:key:k") > 90_000
    node.call("key", node.epoch, "k", "", "", now + 1000)
    assert server.client.pttl("t:key:k") > 90_000
    node.call("key", node.epoch, "k", 1, 3, "")
    assert server.client.pttl("t:key:k") > 90_000


def test_loads_come_in_pieces(node):
    node.publish(*[entry("a", body="x" * 1000) for _ in range(200)])
    node.publish(entry("b"))
    _, (a,) = node.load("a", "b", events=100)
    assert not a.all and len(a.events) == 128
    _, (a, b) = node.load("a", "b", since=128, events=100)
    assert a.all and list(a.events) == list(range(129, 201)) and list(b.events) == [201]
    _, (a,) = node.load("a", "b", size=10_000)
    assert not a.all and len(a.events) == 64


def test_what_is_too_old_is_lost_also_when_its_log_is_gone(server):
    server.client.flushall()
    node = Scripts(server.client, grain=1)
    node.AGE = node.bounds[2] = 300
    node.attach("aaaaaa")
    node.publish(entry("a"), entry("b"))
    time.sleep(0.35)
    node.publish(entry("c"))
    _, (a, b, c, d) = node.load("a", "b", "c", "d")
    # A channel that nothing is known of may have had what is too old.
    assert (a.events, a.lost, b.lost, c.lost, d.lost) == ({}, 1, 2, 2, 2)
    # Nobody knows of it any more: what is old enough to have been in it may be lost.
    server.client.delete("t:aaaaaa:log:a", "t:aaaaaa:meta:a")
    _, (a, d) = node.load("a", "d")
    assert a.lost == d.lost == 2
    node.publish(entry("a"))
    _, (a,) = node.load("a")
    assert (a.lost, list(a.events)) == (2, [4])
    # A log that went before what is known of it.
    server.client.delete("t:aaaaaa:log:c")
    _, (c,) = node.load("c")
    assert c.lost == c.last == 3
    time.sleep(0.01)
    node.publish(entry("c"))
    _, (c,) = node.load("c")
    assert (c.lost, list(c.events)) == (3, [5])
    assert known_of(server, "c")["count"] == 1


def test_a_clock_that_goes_back_hides_nothing(server, node):
    node.publish(entry("a"))
    server.client.hset("t:head", "tick", int(time.time() * 1000) + 50_000)
    node.publish(entry("b"))
    assert server.client.zrange("t:aaaaaa:times", 0, -1) == ["1"]


def test_marks_are_kept_and_told(server, node):
    with listening(server, "t:ch:user:1") as pubsub:
        node.mark("user:1", 5, 7, 9, up_to=2)
        node.mark("user:1", 3, up_to=5)
        assert [text.split(" ", 4)[4] for text in told(pubsub)] == ["2 5,7,9", "5 3"]
    _, (own,) = node.load("user:1")
    assert own.marks == {"u": 5, "7": 7, "9": 9}
    node.mark("user:1", *range(10, 20), most=4)
    _, (own,) = node.load("user:1")
    assert own.marks == {"u": 5, "16": 16, "17": 17, "18": 18, "19": 19}
    node.mark("user:1", up_to=1)
    assert node.load("user:1")[1][0].marks["u"] == 5


def test_a_kick_is_told_to_all_and_blocks(server, node):
    with listening(server, "t:all") as pubsub:
        assert node.call("kick", node.node, 3, "42", 60_000, "- -\nbye") == 1
        assert node.call("kick", node.node, 4, "42", 1000, "") == 1
        assert node.call("kick", node.node, 5, "43", "", "") == 1
        first, second, third = told(pubsub)
    until = int(first.split(" ")[3])
    assert first == f"k {node.node} 3 {until} 42 - -\nbye"
    shorter = int(second.split(" ")[3])
    assert shorter < until - 50_000, "the last word counts"
    assert third == f"k {node.node} 5 0 43 "
    assert Scripts(server.client).attach("bbbbbb") == ["aaaaaa", "0", "", "42", str(shorter)]
    assert 0 < server.client.pttl("t:blocks") <= 1000


def test_another_server_goes_on_behind_a_hole(server, node):
    node.publish(entry("a"))
    other = Scripts(server.client)
    server.client.hset("t:head", "run", "other")
    _, head, holes = other.attach("bbbbbb")
    start, end = map(int, holes.split("-"))
    assert other.epoch == "aaaaaa" and start == 2 and end == int(head) + 1 and end > 1 << 20
    assert other.publish(entry("a")) == ["new", str(end), 0]
    # Who has seen no more than there is goes on with it,
    assert node.attach("cccccc", seen=1)[:2] == ["aaaaaa", str(end)]
    # and who knows of ids that are gone makes it plain for all of them.
    with listening(server, "t:all") as pubsub:
        assert node.attach("cccccc", seen=3, holes=holes) == ["cccccc", "0", ""]
        assert told(pubsub) == ["n cccccc"]
    for script in [lambda: other.publish(entry("a")), lambda: other.load("a"), lambda: other.mark("user:1", 1)]:
        with pytest.raises(redis.exceptions.ResponseError, match="ANEW"):
            script()


@pytest.mark.parametrize(("seen", "holes"), [(100, ""), (1, "900-1000")])
def test_a_node_that_knows_another_past_ends_the_epoch(server, node, seen, holes):
    node.publish(entry("a"))
    assert node.attach("bbbbbb", seen=seen, holes=holes) == ["bbbbbb", "0", ""]
    assert node.load("a")[1][0].events == {}


def test_no_id_is_given_twice_when_an_older_server_takes_over_twice(server, node):
    node.publish(*[entry("a") for _ in range(10)])
    server.client.hset("t:head", "run", "second")
    seen = int(Scripts(server.client).attach("bbbbbb")[1])
    # The third server has heard nothing of the second: no hole, and fewer ids.
    server.client.hset("t:head", mapping={"run": "third", "seq": 5, "holes": ""})
    last = Scripts(server.client)
    last.attach("bbbbbb")
    given = int(last.publish(entry("a"))[1])
    assert given > seen


def test_too_many_restarts_begin_a_new_epoch(server, node):
    for turn in range(65):
        server.client.hset("t:head", "run", f"run{turn}")
        node.epoch = ""
        reply = node.attach(f"bbbb{turn:02}")
    assert reply == ["bbbb64", "0", ""]


def test_what_was_flushed_begins_anew(server, node):
    node.publish(entry("a"))
    server.client.flushall()
    with pytest.raises(redis.exceptions.ResponseError, match="ANEW"):
        node.publish(entry("a"))
    with pytest.raises(redis.exceptions.ResponseError, match="ANEW"):
        node.call("pass", node.epoch, 1000)
    assert node.attach("bbbbbb", seen=1) == ["bbbbbb", "0", ""]


def test_everything_expires(server, node):
    node.publish(entry("a", "user:1", collapse="k", key="k"), entry("b", ttl=5))
    node.mark("user:1", 1)
    node.call("kick", node.node, 1, "42", 1000, "")
    node.call("pass", node.epoch, 5000)
    keys = server.client.keys("*")
    assert len(keys) == 11 and all(key.startswith("t:") for key in keys), keys
    for key in keys:
        assert 0 < server.client.pttl(key) <= node.AGE + 65_000, key


def test_the_rights_that_are_documented_are_enough(server):
    server.client.flushall()
    page = (Path(__file__).parent.parent.parent / "docs/redis.md").read_text()
    (rule,) = [line.strip() for line in page.splitlines() if line.strip().startswith("ACL SETUSER sidestream")]
    server.client.execute_command(*rule.replace("PASSWORD", "secret").replace("sidestream:*", "t:*").split())
    server.client.acl_log_reset()
    with server.connect(username="sidestream", password="secret") as client:
        for script in SCRIPTS.glob("*.lua"):
            client.script_load(script.read_text())
        node = Scripts(client, events=2, grain=1)
        node.attach("aaaaaa")
        for body in "12345":
            node.publish(entry("a", "user:1", body=body, collapse="k", key=f"k{body}"), entry("a"))
        server.client.hset("t:head", "tick", int(time.time() * 1000) + 50_000)
        node.publish(entry("a"))
        node.load("a", "user:1")
        node.mark("user:1", 1, 2, 3, up_to=1, most=1)
        node.call("kick", node.node, 1, "42", 1000, "")
        node.call("key", node.epoch, "k5", 9, 1, int(time.time() * 1000) + 100_000)
        node.call("pass", node.epoch, 1000)
        server.client.delete("t:head")
        node.attach("bbbbbb", seen=3)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("other")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.flushall()
    assert {one["object"] for one in server.client.acl_log()} == {"other", "flushall"}
