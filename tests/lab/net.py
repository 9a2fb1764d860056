"""Loopback ports, waiting for them, and an HTTP client that hides nothing."""
import errno
import http.client
import itertools
import socket
import time
from dataclasses import dataclass

HOST = "127.0.0.1"

# Below Linux's range for outgoing connections: a port probed here is not taken
# by someone's client socket before the server gets to it.
_FIRST, _BLOCK, _NUM_BLOCKS = 10000, 1500, 14
_claim = None
_ports = None


def _claim_block():
    """Ports that no other lab on this machine hands out while this process lives."""
    global _claim
    for number in range(_NUM_BLOCKS):
        _claim = socket.socket(socket.AF_UNIX)
        try:
            _claim.bind(f"\0strict-tls-lab-ports-{number}")
        except OSError:
            _claim.close()
            continue
        return range(_FIRST + number * _BLOCK, _FIRST + (number + 1) * _BLOCK)
    raise RuntimeError(f"{_NUM_BLOCKS} labs are running already")


def free_port():
    """A loopback port that nobody uses and that was not handed out lately."""
    global _ports
    if _ports is None:
        _ports = itertools.cycle(_claim_block())
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
                return port
            except OSError as failure:
                if failure.errno != errno.EADDRINUSE:
                    raise


class RefusingPort:
    """A port that is bound and never listened on: connections to it are refused for sure."""

    def __init__(self):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = free_port()
        self._socket.bind((HOST, self.port))

    def close(self):
        self._socket.close()


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


# Of everything that the lab waits for: a wait ends when it has happened, so that only a test that
# fails takes as long, and a busy machine needs longer than one would think.
PATIENCE_S = 120.0


def whole_lines(path, start=0):
    """What a log holds from byte `start` on; a line that is still being written does not count."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(start)
        written = log.read()
    return written[:written.rfind(b"\n") + 1].decode(errors="replace")


def wait_until(condition, what, timeout_s=PATIENCE_S, step_s=0.02):
    """The first true value of condition(); TimeoutError naming `what` otherwise."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(step_s)


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict  # names in lower case
    body: bytes
    seconds: float

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


def get(port, path="/", *, headers=None, timeout_s=PATIENCE_S, method="GET", body=None):
    """One request on one connection; nothing is retried or followed."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        content = answer.read()
        return Response(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            content,
            time.monotonic() - started,
        )
    finally:
        connection.close()
