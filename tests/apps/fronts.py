"""The proxies that a corpus goes through: Sidestream, and nginx and HAProxy as the control, each in front of every app server.

The controls have the settings that their users copy: the client's Host passed on, connections to the app kept. Only their
timeouts are short, so that a request for which they wait in vain holds nobody up.
"""

import subprocess
from pathlib import Path

from deployment import BINARY, Process, accepts, free_port
from upstreams import Upstream

SIDESTREAM = """
[server]
workers = 1
[log]
access = "off"
level = "error"
[publish]
socket = ""
[[listen]]
address = "127.0.0.1:{plain}"
max_headers = "32KiB"
[[listen]]
address = "127.0.0.1:{tls}"
tls = [{{ cert = "cert.pem", key = "key.pem" }}]
max_headers = "32KiB"
[upstreams.app]
servers = ["http://127.0.0.1:{app}"]
kind = "{kind}"
max_body = "64KiB"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
[[route]]
path = "/inner/events"
[route.stream]
auth = []
channels = ["all"]
"""

NGINX = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  large_client_header_buffers 4 8k;
  client_max_body_size 64k;
  client_body_timeout 1s;
  client_header_timeout 1s;
  proxy_read_timeout 2s;
{servers}}}
"""

NGINX_SERVER = """
  upstream app-{app} {{ server 127.0.0.1:{app}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl http2;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    location / {{
      proxy_pass http://app-{app};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
"""

HAPROXY = """
global
  maxconn 500
defaults
  mode http
  timeout connect 5s
  timeout client 1s
  timeout server 2s
  option abortonclose
  option http-buffer-request
  option forwardfor
"""

HAPROXY_SERVER = """
frontend in-{app}
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {folder}/both.pem alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
  default_backend app-{app}
backend app-{app}
  server app 127.0.0.1:{app}
"""


class Front:
    """A proxy; `plain` and `tls` are its ports for the app server of each name."""

    def __init__(self, name: str, folder: Path, upstreams: list[Upstream]) -> None:
        self.name = name
        self.folder = folder / name.lower()
        self.folder.mkdir()
        for file in ("cert.pem", "key.pem"):
            (self.folder / file).write_text((folder / file).read_text())
        (self.folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
        self.plain = {upstream.name: free_port() for upstream in upstreams}
        self.tls = {upstream.name: free_port() for upstream in upstreams}
        self.processes: list[Process] = []
        getattr(self, f"_start_{name.lower()}")(upstreams)

    def wait(self) -> None:
        """Waits until all of it accepts."""
        for port in [*self.plain.values(), *self.tls.values()]:
            for process in self.processes:
                assert process.child.poll() is None, process.log.read_text()
            self.processes[0].wait_until(lambda port=port: accepts(("127.0.0.1", port)), f"{self.name} accepts")

    def _start_sidestream(self, upstreams: list[Upstream]) -> None:
        for upstream in upstreams:
            config = self.folder / f"{upstream.port}.toml"
            config.write_text(SIDESTREAM.format(**self._ports(upstream), kind=upstream.kind))
            self._start([str(BINARY), "run", "--config", str(config)])

    def _start_nginx(self, upstreams: list[Upstream]) -> None:
        servers = "".join(NGINX_SERVER.format(**self._ports(upstream)) for upstream in upstreams)
        (self.folder / "nginx.conf").write_text(NGINX.format(servers=servers))
        self._start(["/usr/sbin/nginx", "-p", str(self.folder), "-e", "stderr", "-c", str(self.folder / "nginx.conf")])

    def _start_haproxy(self, upstreams: list[Upstream]) -> None:
        servers = "".join(HAPROXY_SERVER.format(**self._ports(upstream), folder=self.folder) for upstream in upstreams)
        (self.folder / "haproxy.cfg").write_text(HAPROXY + servers)
        self._start(["/usr/sbin/haproxy", "-db", "-f", str(self.folder / "haproxy.cfg")])

    def _start(self, command: list[str]) -> None:
        self.processes.append(Process(command, self.folder / f"{len(self.processes)}.log", cwd=self.folder))

    def _ports(self, upstream: Upstream) -> dict[str, int]:
        return {"app": upstream.port, "plain": self.plain[upstream.name], "tls": self.tls[upstream.name]}


def versions() -> dict[str, str]:
    """What was compared."""

    def said(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return (done.stdout + done.stderr).split("\n")[0]

    return {
        "Sidestream": "this revision",
        "nginx": said("/usr/sbin/nginx", "-v").split("/")[-1],
        "HAProxy": said("/usr/sbin/haproxy", "-v").split()[2],
    }
