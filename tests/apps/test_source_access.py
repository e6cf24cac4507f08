"""How sources come to their Redis: TLS, Unix sockets, rights, and what `check` says of it."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import HERE, Process, free_port, wait_for
from redis_inbox import Inbox
from sources import CHANNEL, LISTS, STREAM, Node, RedisServer, add, holder, notification, pending


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_redis_is_spoken_to_over_tls_and_over_a_unix_socket(tmp_path) -> None:
    write_certificates(tmp_path)
    port, unix = free_port(), Path(tempfile.mkdtemp(prefix="redis-")) / "redis.sock"
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--unixsocket", str(unix)]
    for option, name in (("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")):
        options += [f"--tls-{option}-file", str(tmp_path / name)]
    with RedisServer(*options) as server:
        tls = STREAM.format(url=f"rediss://localhost:{port}", stream="secure") + f'ca = "{tmp_path}/ca.pem"\n'
        for source in (tls, STREAM.format(url=f"unix:{unix}", stream="secure")):
            with Node(source) as node:
                add(server, "secure", 1)
                wait_for(lambda node=node: node.health()["source_events"] == 1, 10, "it is read")
                assert node.check().stderr == ""
        # Another authority than the one that the certificate is from.
        stranger = tls.replace("ca.pem", "server.pem")
        with Node(stranger) as node:
            node.says("is away")
            assert "certificate" in node.log
    shutil.rmtree(unix.parent)


def write_certificates(folder: Path) -> None:
    """An authority, and a certificate of it for localhost."""
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    commands = [f"req -x509 {key} -days 2 -subj /CN=authority -out ca.pem -keyout ca.key"]
    commands += [f"req {key} -subj /CN=localhost -out server.csr -keyout server.key"]
    commands += ["x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem"]
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def test_sentinels_lead_a_source_to_the_next_primary(tmp_path) -> None:
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
            source = STREAM.format(url="", stream="led").replace(
                'url = ""', f'sentinels = ["127.0.0.1:{port}"]\nmaster = "mymaster"'
            )
            with Node(source) as node:
                add(first, "led", 1)
                wait_for(lambda: node.health()["source_events"] == 1, 10, "it is read")
                first.stop()
                wait_for(lambda: second.client.info("replication")["role"] == "master", 20, "the next primary")
                add(second, "led", 2)
                wait_for(lambda: node.health()["source_events"] == 2, 20, "it is read there")
                assert f"mymaster of the Sentinels at 127.0.0.1:{port}" in node.log
        finally:
            sentinel.kill()


def test_check_tries_each_redis(server) -> None:
    with Node(STREAM.format(url=server.url, stream="checked")) as node:
        there = node.check()
        assert there.returncode == 0 and f"stream checked of 127.0.0.1:{server.port}\n" in there.stdout and there.stderr == ""
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
