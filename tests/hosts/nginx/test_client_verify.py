"""$ssl_client_verify says SUCCESS only of a client whose accepting verdict stands, whoever reads it."""
import contextlib
import re
import socket
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.lab import crl, inbound_fronts, net, stream_fronts
from tests.lab.tls_client import VERSIONS, Client, get_http2

NAME = "mtls.inbound.lab.test"
PATIENT = {"fetch_timeout_ms": "4000"}

REVOKED = "FAILED:certificate revoked"
BEFORE = "FAILED:not judged yet"

# What nginx answers with 400 before any phase runs.
MALFORMED = b"GET / HTTP/1.1\r\n\r\n"


class Application:
    """Behind fastcgi_pass: keeps the parameters that it is sent, answers 200."""

    def __init__(self):
        self.seen = []
        self._socket = socket.create_server((net.HOST, 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                with peer:
                    # "X-VERIFY" and its value, each preceded by its length
                    found = re.search(rb"X-VERIFY(.*?)X-END", peer.recv(65536), re.S)
                    self.seen.append(found[1].decode())
                    peer.sendall(b"\x01\x06\x00\x01\x00\x14\x00\x00Status: 200 OK\r\n\r\nhi"
                                 b"\x01\x03\x00\x01\x00\x08\x00\x00" + bytes(8))

    def close(self):
        self._socket.close()


@pytest.fixture
def application():
    made = Application()
    yield made
    made.close()


class Front:
    """A strict server whose every use of the variable can be seen."""

    def __init__(self, stage, application, *, strict=True, policy=None, verify="on"):
        self.folder = stage._folder
        echo = net.free_port()
        self.trust = stage.lab.pki["root"].cert_path
        tell = ('add_header X-Map $mapped always;\nadd_header X-Verify $ssl_client_verify always;\n'
                f'proxy_set_header X-Verify $ssl_client_verify;\nproxy_pass http://{net.HOST}:{echo};\n')
        body = (f"access_log {self.folder}/access.log verify;\n"
                "error_page 400 495 496 = /page;\n"
                f"location /page {{ {tell} }}\nlocation / {{ {tell} }}\n"
                "location /app { fastcgi_param X-VERIFY $ssl_client_verify; fastcgi_param X-END x;"
                " fastcgi_pass %s; }\n" % application.address)
        http = (f"map $ssl_client_verify $mapped {{ SUCCESS in; default out; }}\n"
                f"log_format verify '$uri $status $ssl_client_verify';\n"
                f"server {{ listen {net.HOST}:{echo};\naccess_log off;\n"
                f"add_header X-Proxied $http_x_verify always; return 200 ok; }}\n")
        self.nginx, self.port = stage.inbound(
            lambda port: [inbound_fronts.server(
                stage.lab, port, NAME, self.trust, strict=strict, verify=verify,
                policy={**PATIENT, **(policy or {})}, body=body)], http=http)

    def told(self, answer):
        """(by add_header, by proxy_set_header, by map) of an answer."""
        headers = answer.headers
        return (headers["x-verify"], headers["x-proxied"], headers["x-map"])

    def logged(self, number):
        """The last word of so many lines of the access log, as soon as they are there."""
        path = self.folder / "access.log"
        lines = net.wait_until(lambda: path.exists() and len(found := path.read_text().splitlines()) >= number
                               and found, f"{number} lines of the access log", 20)
        return [line.split(" ", 2)[2] for line in lines]


def malformed(connection):
    """The answer to such a request on an open connection."""
    connection.tls.sendall(MALFORMED)
    content = b""
    while data := connection.tls.recv(65536):
        content += data
    head = content.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return type("Answer", (), {"headers": {
        name.lower(): value for name, value in (line.split(": ", 1) for line in head)}})


def same(value):
    return (value, value, "in" if value == "SUCCESS" else "out")


@pytest.mark.parametrize("strict", [True, "report", False])
@pytest.mark.parametrize("version", VERSIONS)
def test_each_use(version, strict, stage, application):
    """Good, revoked and no client; in time, malformed, and on error pages."""
    good = stage.lab.visitor("good", "root", "leaf")
    revoked = stage.lab.visitor("revoked", "root", "leaf", ocsp="revoked")
    stage.open()
    front = Front(stage, application, strict=strict)
    wanted = []
    for scene, normal, early in [
            (good, "SUCCESS", BEFORE if strict is True else "SUCCESS"),
            (revoked, REVOKED if strict is True else "SUCCESS",
             BEFORE if strict is True else "SUCCESS"),
            (None, "NONE", "NONE")]:
        client = Client(scene and scene.chain, scene and scene.key, version=version)
        # never judged
        with client.connect(front.port, NAME) as connection:
            assert front.told(malformed(connection)) == same(early)
        # judged: by the answer, or by the page of 495 or 496
        with client.connect(front.port, NAME) as connection:
            assert front.told(connection.get()) == same(normal)
            wanted += [early, normal]
        assert front.logged(len(wanted)) == wanted
        if scene:
            # judged, and then malformed, where the connection is still there
            with client.connect(front.port, NAME) as connection:
                first = connection.get()
                wanted.append(normal)
                if first.headers["connection"] == "keep-alive":
                    assert front.told(malformed(connection)) == same(normal)
                    wanted.append(normal)
    assert front.logged(len(wanted)) == wanted


def test_an_application(stage, application):
    good = stage.lab.visitor("good", "root", "leaf")
    stage.open()
    front = Front(stage, application)
    assert Client(good.chain, good.key).get(front.port, NAME, "/app").status == 200
    assert "SUCCESS" in application.seen[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_http2(version, stage, application):
    """A stream with a Host that nginx refuses comes to the page of 400, judged or not."""
    good = stage.lab.visitor("good", "root", "leaf")
    revoked = stage.lab.visitor("revoked", "root", "leaf", ocsp="revoked")
    stage.open()
    front = Front(stage, application)
    for scene, hosts, wanted in [(good, ("bad host", None, "bad host"),
                                  (BEFORE, "SUCCESS", "SUCCESS")),
                                 (revoked, ("bad host", None, "bad host"),
                                  (BEFORE, REVOKED, REVOKED))]:
        answers = get_http2(front.port, NAME, scene.chain, scene.key, version=version,
                            hosts=hosts)
        assert [front.told(answer) for answer in answers] == list(map(same, wanted))


@pytest.mark.parametrize("version", VERSIONS)
def test_while_it_is_judged(version, stage, application):
    """Who goes away before the verdict is there was no success."""
    slow = stage.lab.visitor("slow", "root", "leaf", ocsp="silent")
    stage.open()
    front = Front(stage, application)
    with Client(slow.chain, slow.key, version=version).connect(front.port, NAME) as connection:
        connection.tls.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        net.wait_until(lambda: stage.responder.count(slow.place), "the question", 20)
    assert front.logged(1) == [BEFORE]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_verdict_that_has_ended(version, stage, application):
    """A kept-alive connection whose verdict is over is none of a success until it is judged again."""
    good = stage.lab.visitor("good", "root", "leaf")
    stage.open()
    front = Front(stage, application, policy={"verdict_max_age_s": "1"})
    with Client(good.chain, good.key, version=version).connect(front.port, NAME) as connection:
        assert front.told(connection.get()) == same("SUCCESS")
        time.sleep(2.1)  # the policy's second, and nginx's clock
        assert front.told(malformed(connection)) == same("FAILED:the verdict has ended")
    # another one of the same client, judged again
    with Client(good.chain, good.key, version=version).connect(front.port, NAME) as connection:
        assert front.told(connection.get()) == same("SUCCESS")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_verdict_that_is_not_remembered(version, stage, application):
    """It holds for the request that has waited for it."""
    good = stage.lab.visitor("good", "root", "leaf")
    stage.open()
    front = Front(stage, application, policy={"ocsp_nonce": "on"})
    with Client(good.chain, good.key, version=version).connect(front.port, NAME) as connection:
        assert front.told(connection.get()) == same("SUCCESS")


def test_crls_of_nginx(stage, application):
    """What nginx itself refuses it says in its own words."""
    good = stage.lab.visitor("good", "root", "leaf")
    stage.open()
    listed = crl.build(stage.lab.pki["root"], [good.leaf.serial])
    path = stage._folder / "listed.pem"
    path.write_bytes(x509.load_der_x509_crl(listed).public_bytes(Encoding.PEM))
    port_body = "error_page 400 495 496 = /page;\nlocation / { return 200 ok; }\n"
    _, port = stage.inbound(lambda port: [inbound_fronts.server(
        stage.lab, port, NAME, stage.lab.pki["root"].cert_path, strict=True, policy=PATIENT,
        extra=f"ssl_crl {path};", body=port_body)])
    answer = Client(good.chain, good.key).get(port, NAME)
    assert answer.headers["x-verify"] == REVOKED


@pytest.mark.parametrize("strict", [True, "report"])
@pytest.mark.parametrize("version", VERSIONS)
def test_stream(version, strict, stage):
    """In a session, and in the log line of one that was refused."""
    scenes = {"good": stage.lab.visitor("good", "root", "leaf"),
              "revoked": stage.lab.visitor("revoked", "root", "leaf", ocsp="revoked"),
              "gap": stage.lab.visitor("gap", serve="leaf")}
    stage.open()
    log = stage._folder / "verify.log"
    front = stage.stream(
        {"s": stream_fronts.inbound_server(
            stage.lab, stage.lab.pki["root"].cert_path, strict=strict, policy=PATIENT,
            extra=f"access_log {log} verify;\naccess_log {stage._folder}/front0/s.log client;\n")},
        extra=stream_fronts.INBOUND + "log_format verify '$status $ssl_client_verify';\n",
        listen="ssl", log="client")
    wanted = {True: {"good": "200 SUCCESS", "revoked": f"500 {REVOKED}"},
              "report": {"good": "200 SUCCESS", "revoked": "200 SUCCESS"}}[strict]
    lines = []
    for id, scene in scenes.items():
        visit = front.visit("s", Client(scene.chain, scene.key, version=version))
        lines = net.wait_until(
            lambda: len(found := log.read_text().splitlines()) > len(lines) and found, "its line")
        if id in wanted:
            assert lines[-1] == wanted[id]
        else:
            assert "SUCCESS" not in lines[-1]
        if id == "good":
            assert "SUCCESS" in visit.text
