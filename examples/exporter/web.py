"""Metrics over HTTP: IPv6 and IPv4, TLS and passwords by Prometheus' web.config.file."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

App = Callable[..., Iterable[bytes]]
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
    context = tls_context(tls, os.path.dirname(path)) if "tls_server_config" in told else None
    return Config(context, hashes)


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


def asks_password(app: App, users: dict[str, bytes]) -> App:
    """The same application for those who say a user's name and password."""
    import bcrypt

    # A hash takes a scrape's time by design. Users are those of the start: what was
    # right once remains it.
    @functools.lru_cache(maxsize=16)
    def knows(user: str, password: bytes) -> bool:
        # Unknown users take as long as a known one. bcrypt reads 72 bytes at most.
        right = bcrypt.checkpw(password[:72], users.get(user, next(iter(users.values()))))
        return right and user in users

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        scheme, _, encoded = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        known = False
        with contextlib.suppress(ValueError):  # neither base64 nor UTF-8
            user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
            known = scheme.lower() == "basic" and knows(user.decode(), password)
        if known:
            return app(environ, start)
        start("401 Unauthorized", [("WWW-Authenticate", "Basic"), ("Content-Length", "0")])
        return [b""]

    return answer


class Handler(WSGIRequestHandler):
    timeout = 30  # seconds: whoever says nothing does not keep a thread for ever

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of each scrape."""


class Server(ThreadingWSGIServer):
    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:  # "::" is IPv4's, too
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: that asks the resolver for this host's name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, or one that does not speak TLS: its own affair."""


def serve(address: str, port: int, registry: CollectorRegistry, config: Config) -> str:
    """Serve on threads from now on. Returns the address of the metrics.

    Raises OSError where it can't listen there.
    """
    app: App = make_wsgi_app(registry)
    if config.users:
        app = asks_password(app, config.users)
    family = socket.getaddrinfo(address, port, flags=socket.AI_PASSIVE)[0][0]
    server_class = type("Server", (Server,), {"address_family": family})
    server = server_class((address, port), Handler)
    server.set_app(app)
    if config.tls is not None:
        # The handshake is the handler's, on its thread: nobody keeps others waiting.
        server.socket = config.tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"[{address}]" if family == socket.AF_INET6 else address
    return f"http{'s' if config.tls else ''}://{host}:{server.server_port}/metrics"
