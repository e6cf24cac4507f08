"""Three nodes over one Redis are one deployment: what one is told, all do."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jwt
import pytest
from deployment import HERE, Process, free_port, wait_for
from redis_nodes import ROUTES, Tab, deployment, is_well, publish, resets, store, unread
from sources import SECRET, Node, RedisServer
from test_source_access import write_certificates


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def nodes(server) -> Iterator[list[Node]]:
    with deployment(store(server)) as nodes:
        yield nodes


def test_ids_are_one_order_and_a_tab_comes_back_to_another_node(nodes) -> None:
    with Tab(nodes[0], "c1,c2") as tab, Tab(nodes[2], "c2") as other:
        ids = [publish(nodes[n % 3], channel=f"c{1 + n % 2}", data=str(n))["id"] for n in range(9)]
        assert tab.data(9) == [str(n) for n in range(9)]
        assert [event.id for event in tab.events] == ids
        assert other.data(4) == ["1", "3", "5", "7"]
        epochs, numbers = zip(*(id.split("-") for id in ids))
        assert len(set(epochs)) == 1 and sorted(map(int, numbers)) == list(map(int, numbers))
    for node in nodes:
        with Tab(node, "c1,c2", last_id=ids[4]) as tab:
            assert tab.data(4) == ["5", "6", "7", "8"]
        with Tab(node, "c1", last_id=f"{epochs[0]}-999999") as tab:
            assert resets(tab.until(1)) == ["unknown-id"]
        with Tab(node, "c1", last_id="zzzzzz-1") as tab:
            assert resets(tab.until(1)) == ["new-epoch"]


def test_delivered_counts_the_streams_of_all_nodes(nodes) -> None:
    tabs = [Tab(nodes[n % 3], "cd,ce") for n in range(5)]
    assert publish(nodes[1], channel="cd", data="x")["delivered"] == 5
    assert publish(nodes[2], channels=["cd", "ce"], data="y")["delivered"] == 5
    for tab in tabs:
        assert tab.data(2) == ["x", "y"]
        tab.raw.close()
    last = publish(nodes[0], channel="cd", data="z")
    for node in nodes:
        # It may hear of the last by a wait of its own.
        wait_for(lambda node=node: node.ask("GET", "/channels/cd")["last_id"] == last["id"], 5, "the last id")
        assert node.ask("GET", "/channels/cd")["events"] == 3


def test_what_is_not_read_and_what_is(nodes) -> None:
    with nodes[0].stream("7") as open_here:
        ids = [publish(nodes[n], user="7", data={"n": n})["id"] for n in range(3)]
        assert [data["n"] for data in open_here.until(3)] == [0, 1, 2]
    # What was written to a stream is marked a moment later; so for the app's own marks, a user without one.
    for n in range(3):
        publish(nodes[n], user="8", data={"n": n})
    listed = nodes[1].ask("GET", "/inbox/8")
    assert [event["data"]["n"] for event in listed["events"]] == [0, 1, 2] and listed["unread"] == 3
    second = listed["events"][1]["id"]
    assert nodes[2].ask("POST", "/inbox/8/read", {"read": [second]})["unread"] == 2
    for node in nodes:
        wait_for(lambda node=node: [data["n"] for data in unread(node, "8")] == [0, 2], 5, "the mark of another node")
    with nodes[0].stream("8") as tab:
        assert [data["n"] for data in tab.until(2)] == [0, 2]
    assert ids == sorted(ids, key=lambda id: int(id.split("-")[1]))
    for node in nodes:
        wait_for(lambda node=node: unread(node, "8") == [], 5, "what was delivered is read on all nodes")


def test_a_key_is_used_once_though_two_nodes_get_it_at_once(nodes) -> None:
    with Tab(nodes[2], "ck") as tab, ThreadPoolExecutor(16) as pool:
        for n in range(10):
            barrier = threading.Barrier(8)

            def one(place: int, n: int = n, barrier: threading.Barrier = barrier) -> str:
                barrier.wait(20)
                return publish(nodes[place % 3], channel="ck", data=str(n), key=f"key-{n}")["id"]

            assert len(set(pool.map(one, range(8)))) == 1
        publish(nodes[0], channel="ck", data="end")
        assert tab.data(11) == [*map(str, range(10)), "end"]
    reused = publish(nodes[1], channel="ck", data="another", key="key-0")
    assert reused["error"] == "key_reused"


def test_what_collapses_and_what_is_over(nodes) -> None:
    first = publish(nodes[0], channel="cc", data="begin")["id"]
    for n in range(4):
        publish(nodes[n % 3], channel="cc", data=f"state {n}", collapse="state")
    publish(nodes[1], channel="cc", data="passing", ttl="1s")
    for node in nodes:
        with Tab(node, "cc", last_id=first) as tab:
            assert tab.data(1)[0] == "state 3"

    def left(node: Node) -> list[str]:
        last = publish(nodes[0], channel="cc", data="now", collapse="now")
        with Tab(node, "cc", last_id=first) as tab:
            tab.raw.read_until(lambda: tab.last_id == last["id"], 20, "the last")
            return [event.data for event in tab.events]

    for node in nodes:
        wait_for(lambda node=node: left(node) == ["state 3", "now"], 10, "what is over is gone")


def test_a_user_is_ended_and_kept_out_on_all_nodes(nodes) -> None:
    tabs = [node.stream("9") for node in nodes for _ in range(2)]
    farewell = {"event": "bye", "data": "go", "block": "10m"}
    assert nodes[1].ask("POST", "/disconnect", {"user": "9", **farewell}) == {"disconnected": 6}
    for tab in tabs:
        tab.raw.read_until(lambda tab=tab: b"event: bye" in tab.raw.body, 10, "the farewell")
        tab.raw.close()

    assert [_status(node, "9") for node in nodes] == [401] * 3
    # The last word counts, on all nodes.
    assert nodes[2].ask("POST", "/disconnect", {"user": "9", "block": "1s"}) == {"disconnected": 0}
    for node in nodes:
        wait_for(lambda node=node: _status(node, "9") == 200, 10, "the end of the block")


def _status(node: Node, user: str) -> int:
    """What a user is told who opens a stream."""
    token = jwt.encode({"sub": user, "exp": int(time.time()) + 3600}, SECRET, "HS256")
    connection = HTTPConnection("127.0.0.1", node.port, timeout=10)
    connection.request("GET", "/events", headers={"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_over_tls_with_the_rights_that_are_documented_and_over_a_unix_socket(tmp_path) -> None:
    write_certificates(tmp_path)
    port, unix = free_port(), Path(tempfile.mkdtemp(prefix="redis-")) / "redis.sock"
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--unixsocket", str(unix)]
    for option, name in (("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")):
        options += [f"--tls-{option}-file", str(tmp_path / name)]
    page = (HERE.parent.parent / "docs/redis.md").read_text()
    [rule] = [line.strip() for line in page.splitlines() if line.strip().startswith("ACL SETUSER sidestream")]
    with RedisServer(*options) as server:
        server.client.execute_command(*rule.replace("PASSWORD", "s3cret").split())
        common = 'kind = "redis"\nusername = "sidestream"\npassword = "s3cret"\n'
        tls = f'{common}url = "rediss://localhost:{port}"\nca = "{tmp_path}/ca.pem"\n'
        with deployment(tls, 1) as [one], deployment(f'{common}url = "unix:{unix}"\n', 1) as [two]:
            with Tab(one, "c1") as tab, two.stream("7") as stream:
                assert publish(two, channel="c1", data="over TLS", key="k")["delivered"] == 1
                assert tab.data(1) == ["over TLS"]
                assert publish(one, user="7", data={"over": "unix"}, collapse="c", ttl="1h")["delivered"] == 1
                assert stream.until(1) == [{"over": "unix"}]
                assert one.ask("POST", "/disconnect", {"user": "7", "block": "1s"}) == {"disconnected": 1}
            for node in (one, two):
                assert "s3cret" not in node.log and "ERROR" not in node.log.upper().replace("ERROR:", "")
        assert server.client.acl_log() == []
    shutil.rmtree(unix.parent)


def test_sentinels_lead_to_the_next_primary(tmp_path) -> None:
    port = free_port()
    with RedisServer() as first, RedisServer("--replicaof", f"127.0.0.1 {first.port}") as second:
        wait_for(lambda: second.client.info("replication")["master_link_status"] == "up", 20, "the replica")
        (tmp_path / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor mymaster 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        )
        sentinel = Process(["redis-sentinel", f"{tmp_path}/sentinel.conf"], tmp_path / "sentinel.log")
        try:
            sentinel.wait_until(lambda: f"+slave slave 127.0.0.1:{second.port}" in sentinel.log.read_text(), "it knows both")
            with deployment(f'kind = "redis"\nsentinels = ["127.0.0.1:{port}"]\nmaster = "mymaster"', 2) as [one, two]:
                with Tab(one, "c1") as here, Tab(two, "c1") as there:
                    first_id = publish(one, channel="c1", data="before")["id"]
                    wait_for(lambda: second.client.info("replication")["slave_repl_offset"] > 0, 5, "the copy")
                    wait_for(lambda: _is_level(first, second), 10, "a replica that has all")
                    first.stop()
                    is_well(one, False), is_well(two, False)
                    assert publish(one, channel="c1", data="nobody")["error"] == "unavailable"
                    is_well(one, seconds=20), is_well(two, seconds=20)
                    assert publish(two, channel="c1", data="after")["delivered"] == 2
                    assert here.data(2) == there.data(2) == ["before", "after"]
                    assert here.events[0].id == first_id and resets(here.events) == []
        finally:
            sentinel.kill()


def _is_level(primary: RedisServer, replica: RedisServer) -> bool:
    offset = primary.client.info("replication")["master_repl_offset"]
    return replica.client.info("replication")["slave_repl_offset"] >= offset


class _App(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802 - the library's name
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"app")

    def log_message(self, *_: object) -> None:
        pass


def test_a_node_starts_without_redis_and_begins_when_it_is_there() -> None:
    app = HTTPServer(("127.0.0.1", 0), _App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    with RedisServer() as server:
        server.stop()
        with Node(ROUTES.format(app=app.server_port), store(server)) as node:
            assert node.health()["status"] == "degraded"
            connection = HTTPConnection("127.0.0.1", node.port, timeout=10)
            connection.request("GET", "/page")
            assert connection.getresponse().read() == b"app"
            assert publish(node, channel="c1", data="x")["error"] == "unavailable"
            with Tab(node, "c1") as tab:
                assert b'"code":500' in tab.until_end()
            node.says("there is no Redis")
            server.start()
            is_well(node)
            with Tab(node, "c1") as tab:
                assert publish(node, channel="c1", data="y")["delivered"] == 1
                assert tab.data(1) == ["y"]
    app.shutdown()
    app.server_close()
