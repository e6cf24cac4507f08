"""Certificates by ACME from Pebble: got in both ways, renewed, refused, and kept."""

import datetime
import shutil
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from authority import Authority
from cryptography import x509
from deployment import BINARY, Process, accepts, free_port, wait_for, write_certificate

ISSUE = 60.0  # seconds that an order may take on a busy machine
AGAIN = 100.0  # the first wait after a failure is up to 60 s


class Site:
    """A Sidestream with a page on a plain listener and on one with a certificate by ACME."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="acme-"))
        self.http, self.tls = free_port(), free_port()
        self.process: Process | None = None
        (self.folder / "www").mkdir()
        (self.folder / "www/page.txt").write_text("a page")

    def configure(self, authority: Authority, domains: list[str], more: str = "", listen: str = "") -> None:
        """Writes the configuration; `more` are keys of `acme`, and `listen` lines of its listener."""
        (self.folder / "sidestream.toml").write_text(f"""
[publish]
socket = ""
[log]
access = "off"
[[listen]]
address = "127.0.0.1:{self.http}"
redirect_https = {self.tls}
[[listen]]
address = "127.0.0.1:{self.tls}"
acme = {{ domains = {domains!r}, dir = "state", directory = "{authority.directory}", ca = "{authority.ca}"{more} }}
{listen}
[[route]]
path = "/"
[route.files]
root = "www"
""")

    def start(self) -> None:
        """Starts it, and waits until it serves: with a certificate or without one."""
        command = [str(BINARY), "run", "--config", "sidestream.toml"]
        self.process = Process(command, self.folder / "log", cwd=self.folder)
        self.process.wait_until(lambda: accepts(("127.0.0.1", self.http)), "the plain listener accepts")
        self.process.wait_until(lambda: accepts(("127.0.0.1", self.tls)), "the listener with TLS accepts")

    @property
    def log(self) -> str:
        """What it has said, of all its starts."""
        return (self.folder / "log").read_text()

    @property
    def kept(self) -> Path:
        """The folder of the authority."""
        (found,) = (self.folder / "state").iterdir()
        return found

    def shown(self, host: str) -> x509.Certificate | None:
        """The certificate that a client is shown who asks for a host; None is a refusal."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", self.tls), 10) as plain:
                with context.wrap_socket(plain, server_hostname=host) as session:
                    return x509.load_der_x509_certificate(session.getpeercert(True))
        except ssl.SSLError:
            return None

    def wait_for_certificate(self, host: str, seconds: float = ISSUE) -> x509.Certificate:
        """Waits until handshakes for a host succeed."""
        wait_for(lambda: self.shown(host), seconds, f"a certificate for {host}; {self.folder / 'log'} says\n{self.log}")
        return self.shown(host)

    def get(self, authority: Authority, host: str) -> str:
        """The page, by a client that trusts the authority."""
        with socket.create_connection(("127.0.0.1", self.tls), 10) as plain:
            with authority.trust().wrap_socket(plain, server_hostname=host) as session:
                session.sendall(f"GET /page.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: session.recv(65536), b""))
        head, body = answer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200"), head
        return body.decode()

    def plain(self, path: str, host: str) -> requests.Response:
        """An answer of the plain listener."""
        return requests.get(
            f"http://127.0.0.1:{self.http}{path}", headers={"Host": host}, allow_redirects=False, timeout=10
        )


@pytest.fixture
def site() -> Iterator[Site]:
    """A site that is not running yet."""
    with a_site() as made:
        yield made


@contextmanager
def a_site() -> Iterator[Site]:
    """A site that leaves nothing behind."""
    assert shutil.which("pebble"), "pebble is missing: apt-get install pebble"
    made = Site()
    try:
        yield made
    finally:
        if made.process is not None:
            made.process.kill()
            print(made.log)  # pytest shows this below a test that failed
        shutil.rmtree(made.folder)


def names(certificate: x509.Certificate) -> list[str]:
    """The hosts of a certificate."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(found.get_values_for_type(x509.DNSName))


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_certificate_for_several_hosts_is_got_kept_and_used_again(site: Site, challenge: str) -> None:
    hosts = ["shop.test", "www.shop.test"]
    with Authority(site.http, site.tls) as authority:
        authority.start()
        site.configure(authority, hosts, f', challenge = "{challenge}", email = "ops@shop.test"')
        site.start()
        first = site.wait_for_certificate("shop.test")
        assert names(first) == hosts
        assert [site.get(authority, host) for host in hosts] == ["a page"] * 2
        # Nothing is left of what the authority asked for, and the path is the routes' again.
        for path in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/x"]:
            assert site.plain(path, "shop.test").status_code == 308

        files = {path.name: path.stat().st_mode & 0o7777 for path in site.kept.iterdir()}
        assert files == {"account.json": 0o600, "lock": 0o600, "shop.test.pem": 0o600}
        assert [path.stat().st_mode & 0o7777 for path in (site.folder / "state", site.kept)] == [0o700] * 2
        account = (site.kept / "account.json").read_text()
        assert site.process.stop() == 0

        # A certificate that is there is served from the first handshake on, without a word to the authority.
        authority.stop()
        site.start()
        assert site.shown("shop.test") == first
        assert site.process.stop() == 0

        assert site.log.count("an account was made") == 1
        key = account.split('"key_pkcs8":"')[1].split('"')[0]
        assert key not in site.log and "PRIVATE" not in site.log


def test_other_hosts_are_another_order_of_the_same_account(site: Site) -> None:
    with Authority(site.http, site.tls) as authority:
        authority.start()
        site.configure(authority, ["shop.test"])
        site.start()
        first = site.wait_for_certificate("shop.test")
        account = (site.kept / "account.json").read_bytes()
        assert site.process.stop() == 0
        site.configure(authority, ["shop.test", "new.test"])
        site.start()
        assert site.shown("shop.test") == first
        wait_for(lambda: names(site.shown("shop.test")) == ["new.test", "shop.test"], ISSUE, "the new host")
        assert (site.kept / "account.json").read_bytes() == account


def test_a_certificate_is_renewed_and_connections_notice_nothing(site: Site) -> None:
    lifetime = 45
    with Authority(site.http, site.tls, seconds=lifetime) as authority:
        authority.start()
        site.configure(authority, ["shop.test"])
        site.start()
        first = site.wait_for_certificate("shop.test")
        account = (site.kept / "account.json").read_bytes()
        trust = authority.trust()
        with socket.create_connection(("127.0.0.1", site.tls), 10) as plain:
            with trust.wrap_socket(plain, server_hostname="shop.test") as old:
                get = b"GET /page.txt HTTP/1.1\r\nHost: shop.test\r\n\r\n"
                old.sendall(get)
                assert old.recv(65536).startswith(b"HTTP/1.1 200")
                while (now := site.shown("shop.test")) == first:
                    assert site.get(authority, "shop.test") == "a page"
                    assert datetime.datetime.now(datetime.UTC) < first.not_valid_after_utc, site.log
                    time.sleep(0.5)
                # A third of its life was left, or a little more, and less by what an order takes.
                left = first.not_valid_after_utc - now.not_valid_before_utc
                assert 0 < left.total_seconds() < lifetime / 3 + lifetime / 30 + 2, left
                old.sendall(get)
                assert old.recv(65536).startswith(b"HTTP/1.1 200"), "the old connection goes on"
        assert site.get(authority, "shop.test") == "a page"
        assert (site.kept / "account.json").read_bytes() == account


def test_a_host_that_is_not_ours_is_refused_and_the_others_are_served(site: Site) -> None:
    with Authority(site.http, site.tls) as authority:
        authority.start()
        authority.lose("lost.test")
        write_certificate(site.folder)
        site.configure(authority, ["shop.test", "lost.test"], listen='tls = [{ cert = "cert.pem", key = "key.pem" }]')
        site.start()
        wait_for(lambda: "no good certificate" in site.log, ISSUE, f"word of the refusal\n{site.log}")
        line = next(line for line in site.log.splitlines() if "no good certificate" in line)
        assert "lost.test could not be shown to be ours by tls-alpn-01" in line and "again=" in line, line
        assert "lost.test could not be shown to be ours by http-01" in site.log, "both ways are tried"
        assert site.log.count("no good certificate") == 1, "not again at once"
        # What `tls` has is served as ever, also to those who ask for other hosts.
        assert names(site.shown("localhost")) == ["localhost"] == names(site.shown("shop.test"))
        assert site.plain("/page.txt", "localhost").status_code == 308
        # When the host is ours, the next attempt does it.
        authority.find("lost.test")
        wait_for(lambda: names(site.shown("shop.test")) == ["lost.test", "shop.test"], AGAIN, "the next attempt")
        assert names(site.shown("localhost")) == ["localhost"], "a certificate of `tls` comes first"


def test_without_its_authority_it_serves_and_tries_again(site: Site) -> None:
    with Authority(site.http, site.tls) as authority:
        authority.directory = f"https://localhost:{authority.port}/dir"
        site.configure(authority, ["shop.test"])
        site.start()
        wait_for(lambda: "no good certificate" in site.log, ISSUE, f"word of the failure\n{site.log}")
        assert site.shown("shop.test") is None, "a stand-in is shown"
        # There is nothing to send anybody to yet.
        assert site.plain("/page.txt", "shop.test").status_code == 404
        authority.start()
        site.wait_for_certificate("shop.test", AGAIN)
        assert site.plain("/page.txt", "shop.test").status_code == 308


def test_an_order_that_was_killed_is_made_again(site: Site) -> None:
    with Authority(site.http, site.tls, slowness=4) as authority:
        authority.start()
        site.configure(authority, ["shop.test"])
        site.start()
        wait_for(lambda: list(site.folder.glob("state/*/account.json")), ISSUE, "the account")
        account = (site.kept / "account.json").read_bytes()
        site.process.child.send_signal(signal.SIGKILL)
        assert site.process.child.wait(10) == -signal.SIGKILL
        assert not list(site.kept.glob("*.pem")), "the test was too late"
        (site.kept / "shop.test.pem.new").write_text("what was being written")
        site.start()
        site.wait_for_certificate("shop.test")
        assert {path.name for path in site.kept.iterdir()} == {"account.json", "lock", "shop.test.pem"}
        assert (site.kept / "account.json").read_bytes() == account


def test_an_authority_that_forgot_the_account_gets_a_new_one(site: Site) -> None:
    with Authority(site.http, site.tls) as authority:
        authority.start()
        site.configure(authority, ["shop.test"])
        site.start()
        first = site.wait_for_certificate("shop.test")
        assert site.process.stop() == 0
        authority.stop()
        authority.start()
        site.configure(authority, ["shop.test", "www.shop.test"])
        site.start()
        wait_for(lambda: site.shown("shop.test") != first, AGAIN, f"the certificate of another account\n{site.log}")
        assert site.log.count("an account was made") == 2


def test_the_authority_says_when_to_renew_and_when_to_come_back(site: Site) -> None:
    with Authority(site.http, site.tls) as authority:
        authority.start()
        site.configure(authority, ["shop.test"])
        site.start()
        first = site.wait_for_certificate("shop.test")
        assert site.process.stop() == 0

        authority.limit = "7200"
        authority.advice = {"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}}
        site.start()
        wait_for(lambda: "the old one goes on" in site.log, ISSUE, f"word of the limit\n{site.log}")
        line = next(line for line in site.log.splitlines() if "the old one goes on" in line)
        assert "too many certificates (rateLimited)" in line and "expires=" in line, line
        seconds = int(line.split('again="')[1].split("s")[0])
        assert 7190 <= seconds <= 7260, line
        assert authority.orders == 1 and site.shown("shop.test") == first
        assert site.process.stop() == 0

        # A start is no reason to come back sooner; whoever knows better takes the note away.
        authority.limit = None
        site.start()
        wait_for(lambda: "has to wait" in site.log, ISSUE, f"word of what is left to wait\n{site.log}")
        assert site.shown("shop.test") == first and site.process.stop() == 0
        (site.kept / "shop.test.wait").unlink()
        site.start()
        wait_for(lambda: site.shown("shop.test") != first, ISSUE, f"what the authority advised\n{site.log}")
