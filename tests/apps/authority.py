"""An authority that certifies hosts by ACME, offline: Debian's Pebble, with a DNS in which every host is this machine.

Before it stands a small server with the authority's directory, so that tests can make it say what Pebble cannot: that
there are too many orders, and when a certificate should be renewed.
"""

import datetime
import json
import os
import shutil
import ssl
import tempfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from deployment import Process, accepts, free_port

NOWHERE = "127.0.0.9"  # an address of this machine at which nobody listens


class Authority:
    """A running Pebble; a context manager that leaves nothing behind. It looks at port `http` and at port `tls`."""

    def __init__(self, http: int, tls: int, seconds: int = 90 * 24 * 3600, slowness: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="authority-"))
        self.port, self.manage, self.dns, self.dns_manage = (free_port() for _ in range(4))
        self.ports, self.seconds, self.slowness = (http, tls), seconds, slowness
        self.ca = self.folder / "ca.pem"
        self.processes: list[Process] = []
        self.advice: dict | None = None  # what is said of renewals
        self.limit: str | None = None  # what is said of coming back, with the refusal of every order
        self.orders = 0  # that came while there was a limit
        self._write_certificate()
        self._front = _Front(self)
        self.directory = f"https://localhost:{self._front.server_port}/dir"

    def __enter__(self) -> "Authority":
        threading.Thread(target=self._front.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._front.shutdown()
        self._front.server_close()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Starts the authority and its DNS. It knows nothing of an earlier one's accounts, and has another key."""
        arguments = ["-management", f"127.0.0.1:{self.dns_manage}", "-dns01", f"127.0.0.1:{self.dns}"]
        arguments += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
        dns = Process(["pebble-challtestsrv", *arguments], self.folder / "dns.log")
        self.processes.append(dns)
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.manage}",
            "certificate": str(self.folder / "cert.pem"),
            "privateKey": str(self.folder / "key.pem"),
            "httpPort": self.ports[0],
            "tlsPort": self.ports[1],
            "certificateValidityPeriod": self.seconds,
        }
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        environment = {**os.environ, "PEBBLE_AUTHZREUSE": "0"}
        environment |= {"PEBBLE_VA_SLEEPTIME": str(self.slowness)} if self.slowness else {"PEBBLE_VA_NOSLEEP": "1"}
        command = ["pebble", "-config", str(self.folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{self.dns}"]
        pebble = Process(command, self.folder / "pebble.log", env=environment)
        self.processes.append(pebble)
        dns.wait_until(lambda: accepts(("127.0.0.1", self.dns_manage)), "the DNS answers")
        pebble.wait_until(lambda: accepts(("127.0.0.1", self.port)), "the authority accepts")
        pebble.wait_until(lambda: accepts(("127.0.0.1", self.manage)), "the authority can be asked")

    def stop(self) -> None:
        """Ends it, if it runs."""
        for process in self.processes:
            process.kill()
        self.processes.clear()

    def lose(self, host: str) -> None:
        """Has a host be found where nobody is."""
        body = json.dumps({"host": host, "addresses": [NOWHERE]}).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{self.dns_manage}/add-a", body, timeout=10).close()

    def find(self, host: str) -> None:
        """Has it be found here again."""
        body = json.dumps({"host": host}).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{self.dns_manage}/clear-a", body, timeout=10).close()

    def trust(self) -> ssl.SSLContext:
        """A client's TLS that trusts whom the authority has certified."""
        root = self.ask(f"https://localhost:{self.manage}/roots/0").decode()
        return ssl.create_default_context(cadata=root)

    def ask(self, url: str) -> bytes:
        """What is at an address of the authority."""
        with urllib.request.urlopen(url, timeout=10, context=ssl.create_default_context(cafile=self.ca)) as answer:
            return answer.read()

    def _write_certificate(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test root")])

        def certify(name: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
            made = x509.CertificateBuilder().issuer_name(root).subject_name(name).public_key(public)
            made = made.serial_number(x509.random_serial_number()).add_extension(extension, critical=True)
            made = made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=2))
            made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            return made.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

        self.ca.write_bytes(certify(root, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None)))
        hosts = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        (self.folder / "cert.pem").write_bytes(certify(x509.Name([]), key.public_key(), hosts))
        plain = serialization.NoEncryption()
        text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        (self.folder / "key.pem").write_bytes(text)


class _Front(ThreadingHTTPServer):
    """The directory: Pebble's, with what a test wants to be said in its place."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(("127.0.0.1", free_port()), _Answers)
        self.authority = authority
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.folder / "cert.pem", authority.folder / "key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request, client_address) -> None:
        """Whoever goes away is no concern of the test's output."""


class _Answers(BaseHTTPRequestHandler):
    timeout = 10.0
    server: _Front

    def do_GET(self) -> None:
        authority, own = self.server.authority, f"https://localhost:{self.server.server_port}"
        if self.path.startswith("/advice/"):
            self._say(200, authority.advice, {"Retry-After": "21600"})
            return
        try:
            directory = json.loads(authority.ask(f"https://localhost:{authority.port}/dir"))
        except OSError:
            self._say(503, {}, {})
            return
        if authority.advice is not None:
            directory["renewalInfo"] = f"{own}/advice"
        if authority.limit is not None:
            directory["newOrder"] = f"{own}/order"
        self._say(200, directory, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.authority.orders += 1
        said = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates", "status": 429}
        self._say(429, said, {"Retry-After": self.server.authority.limit})

    def _say(self, status: int, body: dict, fields: dict[str, str]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing: the requests are Sidestream's to tell."""
