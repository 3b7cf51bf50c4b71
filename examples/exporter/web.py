"""Metrics over HTTP: IPv6 and IPv4, TLS and passwords by Prometheus' web.config.file."""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import os
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from socketserver import TCPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client.exposition import ThreadingWSGIServer

App = Callable[..., Iterable[bytes]]
AT_ONCE = 32  # clients; Prometheus is one, or two
HASH = re.compile(rb"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class Config(NamedTuple):
    """What is asked of clients: how they speak, and who they are."""

    tls: ssl.SSLContext | None = None
    users: dict[str, bytes] | None = None  # each with the bcrypt hash of the password
    files: tuple[str, ...] = ()  # that this was read from


class ConfigError(ValueError):
    """What is wrong in the file, and where."""


def read_config(path: str) -> Config:
    """The parts of a web.config.file that are known here; any other is refused."""
    try:
        import bcrypt  # noqa: F401 (said now rather than at the first request)
        import yaml
    except ImportError:
        raise ConfigError("a web.config.file needs these: pip install PyYAML bcrypt") from None
    try:
        with open(path, encoding="utf-8") as file:
            told = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from None
    told = part(told, "the file", "tls_server_config", "basic_auth_users")
    users = part(told.get("basic_auth_users"), "basic_auth_users")
    hashes = {str(user): str(hash).encode() for user, hash in users.items()}
    for user, hash in hashes.items():
        if not HASH.fullmatch(hash):
            raise ConfigError(f"basic_auth_users: {user}: not a bcrypt hash (htpasswd -nB)")
    names = "cert_file", "key_file", "client_ca_file", "client_auth_type"
    tls = part(told.get("tls_server_config"), "tls_server_config", *names)
    directory = os.path.dirname(path)
    context = tls_context(tls, directory) if "tls_server_config" in told else None
    files = [os.path.join(directory, str(tls[name])) for name in names[:3] if tls.get(name)]
    return Config(context, hashes, (path, *files))


class Live:
    """The file's configuration, read again when it or a certificate was written since."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.config = read_config(path) if path else Config()
        self.seen = self.look()

    def look(self) -> list[tuple[int, ...]]:
        seen: list[tuple[int, ...]] = []
        for path in self.config.files:
            with contextlib.suppress(OSError):  # between two: so it is another when it is there
                status = os.stat(path)
                seen.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
        return seen

    def now(self) -> Config:
        seen = self.look()
        if self.path and seen != self.seen:
            self.seen = seen
            try:
                self.config = read_config(self.path)
            except ConfigError as error:  # half written, say
                print(f"exporter.py: stays as it was: {error}", file=sys.stderr, flush=True)
        return self.config


def part(told: Any, where: str, *known: str) -> dict[str, Any]:
    if told is None:
        return {}
    if not isinstance(told, dict):
        raise ConfigError(f"{where}: a mapping is expected")
    for name in told:
        if known and name not in known:
            raise ConfigError(f"{where}: {name} is not known here, only {', '.join(known)}")
    return told


def tls_context(told: dict[str, Any], directory: str) -> ssl.SSLContext:
    def path(name: str) -> str | None:
        return os.path.join(directory, str(told[name])) if told.get(name) else None

    certificate = path("cert_file")
    if certificate is None:
        raise ConfigError("tls_server_config: cert_file is missing")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, path("key_file"))
        if "client_ca_file" in told:
            context.load_verify_locations(path("client_ca_file"))
        asked = told.get("client_auth_type", "NoClientCert")
        context.verify_mode = CLIENTS[asked]
        if context.verify_mode != ssl.CERT_NONE and "client_ca_file" not in told:
            raise ConfigError(f"client_auth_type: {asked} needs a client_ca_file")
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"tls_server_config: {error}") from None
    except KeyError:
        raise ConfigError(f"client_auth_type: one of {', '.join(CLIENTS)}") from None
    return context


@functools.lru_cache(maxsize=16)
def is_right(password: bytes, hash: bytes) -> bool:
    """Remembered, for what was right once remains it: a hash takes a scrape's time by design."""
    import bcrypt

    return bcrypt.checkpw(password[:72], hash)  # it reads no more


def may_ask(users: dict[str, bytes], authorization: str) -> bool:
    scheme, _, encoded = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        name = user.decode()
    except ValueError:  # neither base64 nor UTF-8
        return False
    # Unknown users take as long as a known one.
    right = is_right(password, users.get(name, next(iter(users.values()))))
    return right and scheme.lower() == "basic" and name in users


def application(page: Callable[[Collection[str]], bytes], live: Live) -> App:
    """Answers with the metrics, or with those of the names that are asked for."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        users = live.now().users
        if users and not may_ask(users, environ.get("HTTP_AUTHORIZATION", "")):
            start("401 Unauthorized", [("WWW-Authenticate", "Basic"), ("Content-Length", "0")])
            return [b""]
        text = page(set(parse_qs(environ.get("QUERY_STRING", "")).get("name[]", ())))
        headers = [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            text = gzip.compress(text, 1)  # a tenth already; the best takes a scrape's time
            headers.append(("Content-Encoding", "gzip"))
        start("200 OK", [*headers, ("Content-Length", str(len(text)))])
        return [text]

    return answer


class Handler(WSGIRequestHandler):
    timeout = 30  # seconds: whoever says nothing does not keep a thread for ever

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of each scrape."""


class Server(ThreadingWSGIServer):
    request_queue_size = AT_ONCE

    def __init__(self, address: tuple[str, int], family: int, live: Live) -> None:
        self.address_family = family
        self.live = live
        self.free = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:  # "::" is IPv4's, too
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: that asks the resolver for this host's name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[Any, Any]:
        try:
            asking, address = super().get_request()
        except OSError:
            time.sleep(0.1)  # no descriptor is left: whoever asks is still there, and waits
            raise
        tls = self.live.now().tls
        if tls is not None:
            # The handshake is the handler's, on its thread: nobody keeps others waiting.
            asking = tls.wrap_socket(asking, server_side=True, do_handshake_on_connect=False)
        return asking, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """On a thread of its own, if there are not too many."""
        if not self.free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, or one that does not speak TLS: its own affair."""


def serve(address: str, port: int, page: Callable[[Collection[str]], bytes], live: Live) -> str:
    """Serve on threads from now on. Returns the address of the metrics.

    Raises OSError where it can't listen there.
    """
    family = socket.getaddrinfo(address, port, flags=socket.AI_PASSIVE)[0][0]
    server = Server((address, port), family, live)
    server.set_app(application(page, live))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"[{address}]" if family == socket.AF_INET6 else address
    return f"http{'s' if live.now().tls else ''}://{host}:{server.server_port}/metrics"
