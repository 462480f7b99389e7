"""The loaders' HTTPS session through a real proxy on the loopback, chosen by the usual variables."""

import datetime
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fipe_api.fipe_api_service import FipeApi
from fipe_api.source import factory
from fipe_api.source.http_source import HttpSource, SourceDownError
from fipe_api.source.pace import Unpaced

REFERENCES = b'[{"Codigo":334,"Mes":"junho/2026 "}]'


class Proxy(ThreadingHTTPServer):
    """Tunnels CONNECT requests, and remembers their targets."""

    daemon_threads = True

    def __init__(self) -> None:
        self.connected: list[str] = []
        super().__init__(("127.0.0.1", 0), _Tunnel)


class _Tunnel(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.server.connected.append(self.path)
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as target:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: target, target: self.connection}
            while True:
                ready, _, _ = select.select(list(ends), [], [], 10)
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)

    def log_message(self, *_: object) -> None:
        pass


class _References(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(200)
        self.send_header("Content-Length", str(len(REFERENCES)))
        self.end_headers()
        self.wfile.write(REFERENCES)

    def log_message(self, *_: object) -> None:
        pass


def serving(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def proxy() -> Iterator[ThreadingHTTPServer]:
    yield from serving(Proxy())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of localhost, signed by itself; key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    unencrypted = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def https_source(certificate: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _References)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for running in serving(server):
        yield f"https://localhost:{running.server_port}/api/veiculos"


@pytest.fixture(autouse=True)
def _no_other_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    factory._session.cache_clear()
    yield
    factory._session.cache_clear()


def references(url: str) -> list[int]:
    api = FipeApi(HttpSource("fipe", factory._session(url), Unpaced(), lambda: 300.0), url)
    return [reference.code for reference in api.references()]


def test_goes_through_the_proxy_that_https_proxy_names(
    proxy: Proxy, https_source: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{proxy.server_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert references(https_source) == [334]
    assert proxy.connected == [https_source.split("/")[2]]


def test_goes_past_the_proxy_where_no_proxy_says_so(
    proxy: Proxy, https_source: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{proxy.server_port}")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert references(https_source) == [334]
    assert proxy.connected == []


def test_trusts_no_unknown_certificate(https_source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fipe_api.source.http_source.FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with pytest.raises(SourceDownError, match="SSLError"):
        references(https_source)
