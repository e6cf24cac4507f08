"""The servers that are compared, each with settings that its own documentation would call sane.

All have a worker or thread for each core, no access log, keep-alive to the same upstream, the same certificate, and as
much history as the others. Each measurement gets a fresh server in a folder of its own.
"""

import http.client
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from .machine import SIDESTREAM, Failure, Process, free_port, open_files

SECRET = "a secret for measurements, of thirty-two bytes and more"
SMALL = "x" * 60
LARGE = 64 * 1024
# Files that the servers have themselves, by name.
FILES = {"small": 1024, "large": 10 * 1024 * 1024}


class Place:
    """What all servers of a run share: the upstream, the certificate, and the folder that holds them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.cert = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.both = folder / "both.pem"
        self.upstream = free_port()
        self.count = 0
        self.files = folder / "files"
        self.files.mkdir()
        for name, size in FILES.items():
            (self.files / name).write_bytes(os.urandom(size))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-keyout", self.key, "-out", self.cert, "-days", "30", "-subj", "/CN=localhost"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        self.both.write_bytes(self.cert.read_bytes() + self.key.read_bytes())

    def new_folder(self, name: str) -> Path:
        self.count += 1
        folder = self.folder / f"{self.count}-{name}"
        folder.mkdir()
        return folder

    @contextmanager
    def app(self):
        """The upstream: 60 bytes at /small, 64 KiB at /large, and at /grip what makes Pushpin hold a stream."""
        folder = self.new_folder("upstream")
        (folder / "www").mkdir()
        (folder / "www/large").write_bytes(b"x" * LARGE)
        config = nginx_config(folder, 1, "", f"""
  server {{
    listen 127.0.0.1:{self.upstream} backlog=4096;
    root {folder}/www;
    open_file_cache max=16;
    location = /small {{ default_type text/plain; return 200 "{SMALL}"; }}
    location = /grip {{
      default_type text/event-stream;
      add_header Grip-Hold stream;
      add_header Grip-Channel $arg_id;
      return 200 ": open\\n\\n";
    }}
  }}""")
        with nginx(folder, config, [self.upstream]):
            yield


class Server:
    """A running server as the load tool needs it."""

    def __init__(self, process, plain, tls=None, stream=(), publish=(), helpers=()):
        self.processes = [process, *helpers]
        self.plain = plain
        self.tls = tls
        # What opening a stream and publishing need, as options of the load tool.
        self.stream = list(stream)
        self.publish = list(publish)

    def connect(self, protocol: str) -> list[str]:
        port = self.plain if protocol == "h1" else self.tls
        pids = [text for process in self.processes for text in ("--pid", str(process.pid))]
        return ["--connect", f"127.0.0.1:{port}", "--protocol", protocol, *pids]


@contextmanager
def sidestream(place: Place, publish="http", heartbeat='{ every = "30s", comment = "" }', backlog="64KiB", binary=SIDESTREAM):
    """Sidestream, published to over its Unix socket: by HTTP, or by lines of JSON."""
    folder = place.new_folder("sidestream")
    plain, tls = free_port(), free_port()
    (folder / "sidestream.toml").write_text(f"""
[log]
access = "off"
level = "warn"
[store]
max_channels = 200000
[publish]
socket = "publish.sock"
[limits]
streams_per_user = 1000000
[[listen]]
address = "127.0.0.1:{plain}"
[[listen]]
address = "127.0.0.1:{tls}"
tls = [{{ cert = "{place.cert}", key = "{place.key}" }}]
[upstreams.app]
servers = ["http://127.0.0.1:{place.upstream}"]
kind = "asgi"
[auth.jwt]
kind = "jwt"
secret = "{SECRET}"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
heartbeat = {heartbeat}
backlog = "{backlog}"
[[route]]
path = "/files/"
[route.files]
root = "{place.files}"
""")
    socket = folder / "publish.sock"
    command = [str(binary), "run", "--config", "sidestream.toml"]
    with Process(command, folder, [plain, tls, socket]) as process:
        stream = ["--path", "/events?token={token}", "--secret", SECRET]
        yield Server(process, plain, tls, stream, ["--publish-connect", f"unix:{socket}", "--publish", publish])


@contextmanager
def nchan(place: Place):
    """nginx with nchan, and as a proxy."""
    folder = place.new_folder("nginx")
    plain, tls = free_port(), free_port()
    config = nginx_config(folder, "auto", "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;", f"""
  nchan_max_reserved_memory 512M;
  upstream app {{ server 127.0.0.1:{place.upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{plain} backlog=4096;
    listen 127.0.0.1:{tls} ssl http2 backlog=4096;
    ssl_certificate {place.cert};
    ssl_certificate_key {place.key};
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /files/ {{ alias {place.files}/; }}
    location = /sub {{
      nchan_subscriber eventsource;
      nchan_channel_id $arg_id;
      nchan_subscriber_first_message newest;
      nchan_eventsource_ping_interval 30;
    }}
    location = /pub {{
      nchan_publisher;
      nchan_channel_id $arg_id;
      nchan_message_buffer_length 1000;
      nchan_message_timeout 24h;
    }}
  }}""")
    with nginx(folder, config, [plain, tls]) as process:
        stream = ["--path", "/sub?id={channel}"]
        publish = ["--publish-connect", f"127.0.0.1:{plain}", "--publish-path", "/pub?id={channel}", "--body", "{data}"]
        yield Server(process, plain, tls, stream, publish)


@contextmanager
def haproxy(place: Place):
    """HAProxy, which only proxies."""
    folder = place.new_folder("haproxy")
    plain, tls = free_port(), free_port()
    (folder / "haproxy.cfg").write_text(f"""
global
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
frontend in
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {place.both} alpn h2,http/1.1
  default_backend app
backend app
  http-reuse always
  server app 127.0.0.1:{place.upstream}
""")
    with Process(["/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg"], folder, [plain, tls]) as process:
        yield Server(process, plain, tls)


@contextmanager
def pushpin(place: Place):
    """Pushpin with a zurl of its own, by which it asks the upstream. The upstream answers each stream with instructions to
    hold it. No TLS, since Pushpin leaves that to others."""
    folder = place.new_folder("pushpin")
    plain, control = free_port(), free_port()
    specs = [free_port() for _ in range(3)]
    for name in ("run", "log"):
        (folder / name).mkdir()
    (folder / "zurl.conf").write_text(f"""
[General]
in_spec=ipc://{folder}/run/zurl-in
in_stream_spec=ipc://{folder}/run/zurl-in-stream
out_spec=ipc://{folder}/run/zurl-out
defpolicy=allow
max_open_requests=2000
buffer_size=200000
timeout=600
in_hwm=10000
out_hwm=10000
""")
    # Debian's Pushpin looks for the zurl of the system, which refuses loopback addresses.
    internal = Path("/usr/lib/pushpin/internal.conf").read_text()
    (folder / "internal.conf").write_text(internal.replace("ipc:///var/run/zurl/", f"ipc://{folder}/run/"))
    (folder / "routes").write_text(f"* 127.0.0.1:{place.upstream}\n")
    (folder / "pushpin.conf").write_text(f"""
[global]
include={folder}/internal.conf
rundir={folder}/run
ipc_prefix=compare-
port_offset=0
[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:{plain}
logdir={folder}/log
log_level=1
client_buffer_size=8192
client_maxconn={open_files() - 1000}
[proxy]
routesfile=routes
[handler]
push_in_spec=tcp://127.0.0.1:{specs[0]}
push_in_sub_specs=tcp://127.0.0.1:{specs[1]}
push_in_http_addr=127.0.0.1
push_in_http_port={control}
command_spec=tcp://127.0.0.1:{specs[2]}
message_rate=1000000
message_hwm=1000000
""")
    body = r'{"items":[{"channel":"{channel}","formats":{"http-stream":{"content":"data: {data}\n\n"}}}]}'
    command = ["/usr/bin/pushpin", "--config", "pushpin.conf"]
    with (
        Process(["/usr/bin/zurl", f"--config={folder}/zurl.conf", "--loglevel=1"], folder, [folder / "run/zurl-in"]) as zurl,
        Process(command, folder, [plain, control]) as process,
    ):
        stream = ["--path", "/grip?id={channel}"]
        publish = ["--publish-connect", f"127.0.0.1:{control}", "--publish-path", "/publish/", "--body", body]
        wait_until_it_answers(plain)
        yield Server(process, plain, None, stream, publish, [zurl])


def wait_until_it_answers(port: int) -> None:
    """Pushpin's parts listen before they have found each other, and lose what comes meanwhile."""
    until, good = time.monotonic() + 30, 0
    while good < 20:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/grip?id=nobody")
            good = good + 1 if connection.getresponse().status == 200 else 0
        except OSError:
            good = 0
        finally:
            connection.close()
        if time.monotonic() > until:
            raise Failure("Pushpin does not answer")


def nginx_config(folder: Path, workers, module: str, inside: str) -> str:
    """nginx's settings around those that matter here."""
    return f"""
{module}
daemon off;
worker_processes {workers};
worker_rlimit_nofile {open_files()};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections {open_files() - 500}; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{inside}
}}
"""


def nginx(folder: Path, config: str, ports: list[int]) -> Process:
    (folder / "nginx.conf").write_text(config)
    command = ["/usr/sbin/nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    return Process(command, folder, ports)


SERVERS = {"sidestream": sidestream, "nchan": nchan, "haproxy": haproxy, "pushpin": pushpin}

# Those of them that are Sidestream, and take the options of its rows.
OURS = ["sidestream"]
