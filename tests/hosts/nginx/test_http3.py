"""Clients' certificates over QUIC are judged as over TCP.

Where nginx has HTTP/3, with a curl that has it, as from Debian 13 on; conftest.py leaves this out
elsewhere.
STRICT_TLS_HTTP3_CURL=FILE names another curl.
"""
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import inbound_fronts, net
from tests.lab.verdicts import ACCEPT

CURL = os.environ.get("STRICT_TLS_HTTP3_CURL", "curl")
HOLD = {"fetch_timeout_ms": "20000", "fetch_total_ms": "20000", "revocation_scope": "leaf"}


class Answer:
    def __init__(self, text):
        head, _, self.text = text.replace("\r\n", "\n").partition("\n\n")
        status, *fields = head.split("\n")
        self.protocol, code = status.split()[:2]
        self.status = int(code)
        self.headers = {name.lower(): value.strip() for name, _, value in
                        (field.partition(":") for field in fields)}

    @property
    def verdict(self):
        return (self.headers.get("x-strict-tls-verdict"),
                self.headers.get("x-strict-tls-reason"))


def curl(port, client, *urls, name="a.inbound.lab.test", more=()):
    """Answers to these URLs on one connection, all over HTTP/3."""
    words = [CURL, "-s", "-k", "-i", "--http3-only", "--max-time", "60",
             "--connect-to", f"::{net.HOST}:{port}"]
    if client:
        words += ["--cert", str(client.chain), "--key", str(client.key)]
    done = subprocess.run([*words, *more, *(urls or [f"https://{name}:{port}/"])],
                          capture_output=True, text=True, timeout=net.PATIENCE_S)
    answers = [Answer("HTTP/3" + part) for part in done.stdout.split("HTTP/3")[1:]]
    assert answers, (done.returncode, done.stderr, done.stdout)
    return answers


def start(stage, policy=None, names=("a", "b"), **fields):
    trust = stage.lab.pki["root"].cert_path

    def servers(port):
        return [inbound_fronts.server(
            stage.lab, port, f"{name}.inbound.lab.test", trust, strict=True,
            policy={**(policy or {}), **(fields.get(name) or {})}, verify="optional",
            extra=f"listen {net.HOST}:{port} quic {'reuseport' if name == 'a' else ''};\n"
                  "http3 on;\n") for name in names]

    return stage.inbound(servers)


CLIENTS = {
    "good": ({"ocsp": "good"}, ACCEPT),
    "late": ({"ocsp": "late"}, ACCEPT),
    "incomplete": ({"serve": "leaf"}, ("reject", "chain.incomplete")),
    "revoked": ({"ocsp": "revoked"}, ("reject", "ocsp.revoked")),
    "silent": ({"ocsp": "http_500"}, ("reject", "fetch.http")),
}


@pytest.mark.parametrize("id", CLIENTS)
def test_as_over_tcp(id, stage):
    fields, expected = CLIENTS[id]
    visitor = stage.lab.visitor(id, **fields)
    stage.open()
    front, port = start(stage)
    answer, = curl(port, visitor)
    assert answer.protocol == "HTTP/3"
    if expected == ACCEPT:
        assert (answer.status, answer.verdict) == (200, ACCEPT)
    else:
        assert answer.status != 200
        assert [line.reason for line in front.verdicts()] == [expected[1]]


def test_none(stage):
    stage.open()
    _, port = start(stage)
    answer, = curl(port, None)
    assert answer.headers["x-verify"] == "NONE"


def test_pending(stage):
    """While the responder is asked no request is answered, and then all are."""
    visitor = stage.lab.visitor("held", ocsp="hold")
    stage.open()
    _, port = start(stage, HOLD)
    with ThreadPoolExecutor(2) as pool:
        pending = [pool.submit(curl, port, visitor) for _ in range(2)]
        net.wait_until(lambda: stage.responder.count(visitor.place), "the question")
        assert not any(one.done() for one in pending)
        stage.responder.release(visitor.place)
        for one in pending:
            answer, = one.result(net.PATIENCE_S)
            assert (answer.status, answer.verdict) == (200, ACCEPT)
    assert stage.responder.count(visitor.place) == 1


def test_goes_away_while_pending(stage):
    visitor = stage.lab.visitor("held", ocsp="hold")
    good = stage.lab.visitor("good")
    stage.open()
    front, port = start(stage, HOLD)
    workers = front.worker_pids()
    with pytest.raises(AssertionError):
        curl(port, visitor, more=["--max-time", "2"])
    stage.responder.release(visitor.place)
    answer, = curl(port, good)
    assert (answer.status, answer.verdict) == (200, ACCEPT)
    assert front.worker_pids() == workers


def test_another_virtual_host_on_the_same_connection(stage):
    """nginx itself refuses it, as over TCP: no request gets by another server's policy."""
    visitor = stage.lab.visitor("rootless")
    stage.open()
    _, port = start(stage, b={"chain_root": "require"})
    url = f"https://a.inbound.lab.test:{port}/"
    first, second = curl(port, visitor, url, "--next", "-s", "-k", "-i", "--http3-only", "--cert",
                         str(visitor.chain), "--key", str(visitor.key), "--connect-to",
                         f"::{net.HOST}:{port}", "-H", "Host: b.inbound.lab.test", url)
    assert (first.status, first.verdict) == (200, ACCEPT)
    assert second.status == 421
