"""What /metrics says is read by Prometheus' own library, in both forms, and is the same in both."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from deployment import BINARY, Process, free_port, wait_for
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

SECRET = "a secret of the tests, thirty-two bytes and more"
ODD = "/a-route,with=odd~things/"  # what a label has to bear


class App(http.server.BaseHTTPRequestHandler):
    """Answers every GET."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_args) -> None:
        pass


@pytest.fixture(scope="module")
def addresses(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """The address for clients and the one for the operator of a Sidestream before an app."""
    folder = tmp_path_factory.mktemp("metrics")
    app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
    thread = threading.Thread(target=app.serve_forever)
    thread.start()
    site, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
    config = folder / "sidestream.toml"
    config.write_text(configuration(site, admin, app.server_address[1]))
    server = Process([str(BINARY), "run", "--config", str(config)], folder / "log", cwd=folder)
    try:
        server.wait_until(lambda: is_ready(admin), "readiness")
        yield site, admin
    finally:
        server.kill()
        app.shutdown()
        thread.join()
        app.server_close()


def configuration(site: str, admin: str, app: int) -> str:
    """Two routes to an app, and one for streams."""
    proxies = "".join(f'[[route]]\npath = "{path}"\n[route.proxy]\nupstream = "app"\n' for path in ["/", ODD])
    return f"""
[log]
access = "off"
[admin]
address = "{admin}"
[[listen]]
address = "{site}"
[upstreams.app]
servers = ["http://127.0.0.1:{app}"]
kind = "asgi"
[auth.jwt]
kind = "jwt"
secret = "{SECRET}"
{proxies}
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
"""


def is_ready(admin: str) -> bool:
    """Whether it says that it is to be sent clients."""
    try:
        return requests.get(f"http://{admin}/readyz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def scrape(admin: str, accept: str) -> requests.Response:
    """Asks for the metrics."""
    answer = requests.get(f"http://{admin}/metrics", headers={"Accept": accept}, timeout=5)
    assert answer.status_code == 200
    return answer


def rows(families) -> dict[tuple[str, frozenset], float]:
    """What was read, without what differs from one scrape to the next."""
    found: dict[tuple[str, frozenset], float] = {}
    for family in families:
        for sample in family.samples:
            row = (sample.name, frozenset(sample.labels.items()))
            assert row not in found, row
            found[row] = 0 if sample.name.startswith("process_") else sample.value
    return found


def is_at_rest(admin: str) -> bool:
    """Whether all that was asked is counted: a client has its answer a moment before its request and connection are over."""
    samples = [
        sample for family in prometheus(scrape(admin, "text/plain; version=0.0.4").text) for sample in family.samples
    ]
    sums = {name: sum(sample.value for sample in samples if sample.name == name) for name in {s.name for s in samples}}
    made, idle = (sums[f"sidestream_upstream_{name}"] for name in ["connect_seconds_count", "idle_connections"])
    return sums["sidestream_connections"] == sums["sidestream_requests_active"] == 0 and made == idle


def test_both_forms_are_read_and_say_the_same(addresses: tuple[str, str]) -> None:
    site, admin = addresses
    for path in ["/", "/missing", ODD, "/events"]:
        requests.get(f"http://{site}{path}", timeout=5)
    wait_for(lambda: is_at_rest(admin), 5, "rest")
    new = scrape(admin, "application/openmetrics-text; version=1.0.0")
    old = scrape(admin, "text/plain; version=0.0.4")
    assert new.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert old.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    read, read_old = list(openmetrics.text_string_to_metric_families(new.text)), list(prometheus(old.text))
    assert len(read) == len(read_old) >= 60
    assert all(family.type in {"counter", "gauge", "histogram"} and family.documentation for family in read)
    assert [family.type for family in read] == [family.type for family in read_old]
    assert all(family.name.endswith(f"_{family.unit}") for family in read if family.unit)
    assert rows(read) == rows(read_old)
    requests_seen = {
        (labels["route"], labels["status"]): value
        for (name, pairs), value in rows(read).items()
        if name == "sidestream_requests_total" and value and (labels := dict(pairs))
    }
    assert requests_seen == {("/", "2xx"): 1, ("/", "4xx"): 1, (ODD, "2xx"): 1, ("/events", "4xx"): 1}


def test_the_dashboard_is_json_that_grafana_takes() -> None:
    dashboard = json.loads((Path(__file__).parent.parent.parent / "docs/grafana.json").read_text())
    assert dashboard["title"] == "Sidestream" and dashboard["schemaVersion"] >= 36
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource", "job", "instance"}
