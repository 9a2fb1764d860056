"""strict_tls report beside strict_tls off: the same on both sides, but for what report must see.

That is a stapled answer, which it asks for, and what the peer presents for its name, so that SNI is
sent where proxy_ssl_server_name is not set.
"""
import contextlib
import itertools
import socket
import threading

import pytest

from tests.lab import fronts, net, stream_fronts
from tests.lab.fronts import ALIVE
from tests.lab.nginx import VERSION
from tests.lab.scenarios import NAME

VERSIONS = {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}
MODES = ("off", "report")

SERVER_NAME, STATUS_REQUEST = 0, 5


class Listener:
    """Keeps the ClientHello of everybody who connects, and hangs up."""

    def __init__(self):
        self.hellos = []
        self._socket = socket.create_server((net.HOST, 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                with peer:
                    head = peer.recv(5, socket.MSG_WAITALL)
                    self.hellos.append(peer.recv(int.from_bytes(head[3:5]), socket.MSG_WAITALL))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._socket.close()


def parts_of(hello):
    """(version, cipher suites, {extension: content}) of a ClientHello: RFC 8446, section 4.1.2."""
    version, rest = hello[4:6], hello[38:]
    rest = rest[1 + rest[0]:]
    length = int.from_bytes(rest[:2])
    ciphers, rest = rest[2:2 + length], rest[2 + length:]
    rest = rest[1 + rest[0] + 2:]
    extensions = {}
    while rest:
        kind, length = int.from_bytes(rest[:2]), int.from_bytes(rest[2:4])
        extensions[kind], rest = rest[4:4 + length], rest[4 + length:]
    return version, ciphers, extensions


def without_keys(extensions):
    """A key_share (51) is random; padding (21) makes up for the length of the others."""
    return {kind: content for kind, content in extensions.items() if kind not in (21, 51)}


@pytest.mark.parametrize("server_name", ["", "off", "on"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["proxy", "grpc", "uwsgi", "stream"])
def test_client_hello(kind, version, server_name, stage):
    peer = stage.peer("good")
    stage.open()
    prefix = "proxy" if kind == "stream" else kind
    extra = f"{prefix}_ssl_server_name {server_name};\n" if server_name else ""
    hellos = {}
    for mode in MODES:
        with Listener() as listener:
            if kind == "stream":
                text = stream_fronts.server(peer, strict=mode, target=listener.address,
                                            protocols=VERSIONS[version])
                text = text.replace("proxy_ssl_server_name on;", "") + extra
                stage.stream({"s": text}).get("s")
            else:
                text = fronts.location("/", peer, strict=mode, kind=kind,
                                       target=listener.address, protocols=VERSIONS[version])
                text = text.replace(f"{kind}_ssl_server_name on;", extra, 1)
                if mode == "report":
                    text = text.replace("strict_tls report;", f"strict_tls report;\n{extra}")
                _, port = stage.front([text])
                assert net.get(port).status == 502
            hellos[mode] = parts_of(net.wait_until(lambda: listener.hellos, "a ClientHello")[0])
    assert hellos["off"][:2] == hellos["report"][:2]
    off, report = (without_keys(hellos[mode][2]) for mode in MODES)
    assert STATUS_REQUEST not in off and report.pop(STATUS_REQUEST)
    assert (SERVER_NAME in off) == (server_name == "on")
    assert (SERVER_NAME in report) == (server_name != "off")
    if not server_name:
        assert NAME.encode() in report.pop(SERVER_NAME)
    assert report == off


def seen_by_peer(answer):
    """What the peer has told about the connection."""
    return {name: answer.headers.get(name)
            for name in ("x-session-reused", "x-sni", "x-protocol", "x-connection-requests",
                         "x-client")}


PEERS = {
    "good": {},
    "gap": {"serve": "leaf"},
    "stranger": {"issuer": "stranger_issuing", "serve": "leaf stranger_issuing"},
    "revoked": {"ocsp": "revoked"},
    "unknown": {"ocsp": "unknown"},
    "other_name": {"sans": ("other.lab.test",)},
    "expired": {"starts": -60.0, "days": 30.0},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("alive", [False, True], ids=["closed", "kept_alive"])
def test_peers(alive, version, stage):
    """Whatever a peer presents, its connections, sessions and answers are what they are with off."""
    peers = {id: stage.peer(id, **fields) for id, fields in PEERS.items()}
    stage.open()
    http = "".join(fronts.keepalive_pool(peer, f"pool_{id}") if alive else
                   f"upstream pool_{id} {{ server {peer.backend.address}; "
                   f"{'keepalive 0;' if VERSION >= (1, 29, 7) else ''} }}\n"
                   for id, peer in peers.items())
    seen = {mode: {} for mode in MODES}
    for mode in MODES:
        front, port = stage.front(
            [fronts.location(f"/{id}", peer, strict=mode, target=f"pool_{id}",
                             protocols=VERSIONS[version], extra=ALIVE if alive else "")
             for id, peer in peers.items()], http=http)
        for id in PEERS:
            answers = [net.get(port, f"/{id}") for _ in range(3)]
            # Stock nginx resumes TLS 1.3 only where no ticket comes in between.
            told = [seen_by_peer(answer) for answer in answers]
            if version == "tls13" and not alive:
                told = told[:2]
            seen[mode][id] = [(answer.status, answer.body) for answer in answers], told
        if mode == "report":
            words = {line.reason for line in front.verdicts()}
            assert {"chain.incomplete", "chain.untrusted", "ocsp.revoked", "ocsp.unknown",
                    "name.mismatch", "chain.expired"} <= words
    assert seen["report"] == seen["off"]
    sessions = [told["x-session-reused"] for told in seen["off"]["good"][1]]
    requests = [told["x-connection-requests"] for told in seen["off"]["good"][1]]
    # the control: sessions are resumed, and connections kept alive, at all
    assert (requests == ["1", "2", "3"]) if alive else ("r" in sessions)


@pytest.mark.parametrize("order", list(itertools.permutations(("off", "report", "on"))),
                         ids="-".join)
def test_a_connection_of_another_location(order, stage):
    """A connection kept alive serves report as it serves off; only `on` looks at who made it."""
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front(
        [fronts.location(f"/{mode}", peer, strict={"on": True}.get(mode, mode), target="pool",
                         extra=ALIVE) for mode in order],
        http=fronts.keepalive_pool(peer))
    numbers = {mode: net.get(port, f"/{mode}").headers["x-connection"] for mode in order}
    for mode in ("off", "report"):
        before = order.index(mode) - 1
        if before >= 0:
            assert numbers[mode] == numbers[order[before]]
    if order[0] != "on":
        assert numbers["on"] != numbers[order[order.index("on") - 1]]
