"""`sidestream check` with a store in Redis: it asks there, and says what is wrong."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import BINARY, Process, free_port, wait_for
from redis_server import RedisServer

CONFIG = """
[[listen]]
address = "127.0.0.1:8080"
[upstreams.app]
servers = ["http://127.0.0.1:8000"]
[[route]]
path = "/"
[route.proxy]
upstream = "app"
[store]
kind = "redis"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RedisServer]:
    """One Redis for the file."""
    with RedisServer(tmp_path_factory.mktemp("redis"), "--maxmemory-policy", "allkeys-lru") as running:
        yield running


def check(folder: Path, store: str) -> tuple[int, str]:
    """Exit code and output of a check."""
    config = folder / "sidestream.toml"
    config.write_text(CONFIG + store)
    done = subprocess.run([BINARY, "check", "--config", config], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def test_a_redis_that_will_do(server, tmp_path):
    code, said = check(tmp_path, f'url = "redis://127.0.0.1:{server.port}/3"')
    assert code == 0 and f"store    127.0.0.1:{server.port}, database 3 (Redis " in said
    assert "maxmemory-policy is allkeys-lru" in said
    assert server.client.dbsize() == 0, "a check leaves nothing behind"


def test_one_that_is_not_there(tmp_path):
    code, said = check(tmp_path, f'url = "redis://127.0.0.1:{free_port()}"')
    assert code == 1 and "cannot be reached" in said and "help:" in said


def test_users_and_passwords(server, tmp_path):
    server.client.execute_command(*"ACL SETUSER anna on >hunter2 ~* &* +@all".split())
    server.client.execute_command(*"ACL SETUSER poor on >hunter2 ~* &* -@all +info".split())
    url = f'url = "redis://127.0.0.1:{server.port}"\n'
    for user, password, good in [("anna", "hunter2", True), ("anna", "hunter3", False), ("poor", "hunter2", False)]:
        code, said = check(tmp_path, f'{url}username = "{user}"\npassword = "{password}"')
        assert (code == 0) == good, said
        assert "hunter" not in said
    code, said = check(tmp_path, f'url = "redis://anna:hunter2@127.0.0.1:{server.port}"')
    assert code == 0 and "hunter" not in said, said


@pytest.mark.parametrize(
    ("options", "why"),
    [(["--cluster-enabled", "yes"], "one of a cluster"), (["--replicaof", "127.0.0.1 1"], "is a replica")],
)
def test_those_that_will_not_do(tmp_path, options, why):
    with RedisServer(tmp_path, *options) as server:
        code, said = check(tmp_path, f'url = "redis://127.0.0.1:{server.port}"')
    assert code == 1 and why in said


def test_a_unix_socket(tmp_path):
    with RedisServer(tmp_path, "--unixsocket", f"{tmp_path}/redis.sock"):
        code, said = check(tmp_path, f'url = "unix:{tmp_path}/redis.sock"')
    assert code == 0, said


def test_tls_with_an_authority_of_its_own(tmp_path):
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    leaf = "-CA ca.pem -CAkey ca.key -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    leaf += " -addext basicConstraints=CA:FALSE -keyout key.pem -out cert.pem"
    for made in ["-subj /CN=authority -keyout ca.key -out ca.pem", leaf]:
        subprocess.run(["openssl", *f"{new} {made}".split()], cwd=tmp_path, check=True, capture_output=True)
    port = free_port()
    tls = f"--tls-port {port} --tls-cert-file {tmp_path}/cert.pem --tls-key-file {tmp_path}/key.pem"
    with RedisServer(tmp_path, *f"{tls} --tls-ca-cert-file {tmp_path}/ca.pem --tls-auth-clients no".split()):
        code, said = check(tmp_path, f'url = "rediss://localhost:{port}"\nca = "ca.pem"')
        assert code == 0, said
        code, said = check(tmp_path, f'url = "rediss://localhost:{port}"')
        assert code == 1 and "certificate" in said.lower(), said


def test_sentinels_know_where_it_is(server, tmp_path):
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor mymaster 127.0.0.1 {server.port} 1\n"
    )
    sentinel = Process(["redis-sentinel", f"{tmp_path}/sentinel.conf"], tmp_path / "sentinel.log")
    try:
        store = f'sentinels = ["127.0.0.1:{port}"]\nmaster = "%s"'
        wait_for(lambda: check(tmp_path, store % "mymaster")[0] == 0, 10, "the Sentinel")
        code, said = check(tmp_path, store % "other")
        assert code == 1 and "other of the Sentinels" in said
    finally:
        sentinel.child.kill()
        sentinel.child.wait()
