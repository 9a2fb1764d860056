"""Client certificates: the inbound scenario table, and how a verdict gets to the client."""
import json
import re
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.hosts.nginx.test_directives import DIRECTIVE_KEYS, good_value
from tests.lab import crl, inbound_fronts, net
from tests.lab.inbound import INBOUND_BY_ID, server_name
from tests.lab.nginx import ROOT
from tests.lab.tls_client import VERSIONS, Client, get_http2, get_parallel

# A loaded machine must not turn a good responder into a silent one.
PATIENT = {"fetch_timeout_ms": "2000"}


@pytest.fixture(scope="module")
def inbound(inbound_lab):
    front = inbound_fronts.inbound_front(inbound_lab, inbound_lab.folder / "inbound",
                                         policy=PATIENT)
    yield front
    front[0].stop()


def check(scenario, lab, nginx, ask):
    """One client; everything that can be seen of its verdict agrees with the table."""
    nginx.mark()
    answer = ask(lab.client_scenes[scenario.id])
    logged = nginx.verdicts()
    if scenario.reason:
        assert [(line.word, line.level, line.reason) for line in logged] == [
            ("reject", "error", scenario.reason)], nginx.new_errors()
        assert logged[0].fields["addr"].startswith("127.0.0.1")
        assert logged[0].fields["remedy"]
    else:
        assert logged == []
    report = json.loads(answer.headers["x-strict-tls-report"])
    assert answer.headers["x-strict-tls-reason"] == (scenario.reason or "none"), report
    if scenario.reason:
        assert answer.status == 400
        assert answer.headers["x-strict-tls-verdict"] == "reject"
        # A certificate beyond the bounds is not looked at, not even for its subject.
        subject = "-" if scenario.id == "too_big" else f"CN=client_{scenario.id},"
        assert subject in logged[0].fields["peer"]
    else:
        assert answer.status == 200, nginx.new_errors()
        assert answer.headers["x-strict-tls-verdict"] == "accept"
        assert answer.headers["x-verify"] == "SUCCESS"
    assert answer.headers["x-host"] == server_name(scenario.id)
    assert report["role"] == "client"
    if scenario.finding:
        assert scenario.finding in [finding["reason"] for finding in report["findings"]]
    return answer


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", INBOUND_BY_ID)
def test_http1(id, version, inbound_lab, inbound):
    nginx, port = inbound
    scenario = INBOUND_BY_ID[id]
    answer = check(scenario, inbound_lab, nginx, lambda scene: Client(
        scene.chain, scene.key, version=version).get(port, server_name(id)))
    if answer and scenario.reason:
        assert b"The SSL certificate error" in answer.body
    if scenario.asked is not None:
        assert bool(inbound_lab.responder.count(
            inbound_lab.client_scenes[id].place)) == scenario.asked


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", INBOUND_BY_ID)
def test_http2(id, version, inbound_lab, inbound):
    nginx, port = inbound
    check(INBOUND_BY_ID[id], inbound_lab, nginx, lambda scene: get_http2(
        port, server_name(id), scene.chain, scene.key, version=version)[0])


# ---- modes of asking ---------------------------------------------------------------

NAME = "mtls.inbound.lab.test"


def one(stage, *, strict=True, policy=None, **fields):
    """The virtual hosts of a front with one strict server."""
    return lambda port: [inbound_fronts.server(
        stage.lab, port, NAME, stage.lab.pki["root"].cert_path, strict=strict,
        policy={**PATIENT, **(policy or {})}, **fields)]


def told(answer):
    """What the variables say."""
    return tuple(answer.headers.get(f"x-strict-tls-{word}") for word in ("verdict", "reason"))


def test_report(stage):
    """Nobody is refused by report mode; what nginx itself refuses, it still does."""
    revoked = stage.lab.visitor("revoked", "root", "leaf", ocsp="revoked")
    gap = stage.lab.visitor("gap", serve="leaf intermediate")
    good = stage.lab.visitor("good", "root", "leaf")
    stage.open()
    front, port = stage.inbound(one(stage, strict="report"))
    for scene, status, verdict, reason in [(revoked, 200, "would_reject", "ocsp.revoked"),
                                           (gap, 400, "would_reject", "chain.incomplete"),
                                           (good, 200, "accept", "none")]:
        front.mark()
        answer = Client(scene.chain, scene.key).get(port, NAME)
        assert (answer.status, *told(answer)) == (status, verdict, reason)
        assert [(line.word, line.level, line.reason) for line in front.verdicts()] == [
            ("would_reject", "warn", reason)] * (reason != "none")


@pytest.mark.parametrize("verify", ["optional", "optional_no_ca"])
def test_optional(verify, stage):
    """Who presents nothing is not judged, who presents something is, and nothing is forgiven."""
    good = stage.lab.visitor("good")
    gap = stage.lab.visitor("gap", serve="leaf")
    stranger = stage.lab.visitor("stranger", "stranger_issuing", "leaf stranger_issuing")
    revoked = stage.lab.visitor("revoked", ocsp="revoked")
    stage.open()
    front, port = stage.inbound(one(stage, verify=verify))
    nobody = Client().get(port, NAME)
    assert (nobody.status, *told(nobody)) == (200, None, None)
    assert front.verdicts() == []
    for scene, reason in [(good, None), (gap, "chain.incomplete"),
                          (stranger, "chain.untrusted"), (revoked, "ocsp.revoked")]:
        answer = Client(scene.chain, scene.key).get(port, NAME)
        assert (answer.status, told(answer)[1]) == ((400, reason) if reason else (200, "none"))


def test_nobody(stage):
    """nginx's own answer to clients without a certificate stays."""
    stage.open()
    front, port = stage.inbound(one(stage))
    answer = Client().get(port, NAME)
    assert answer.status == 400 and b"No required SSL certificate was sent" in answer.body
    assert told(answer) == (None, None)


def test_own_page(stage):
    """An error_page of nginx's code 495 knows why."""
    revoked = stage.lab.visitor("revoked", ocsp="revoked")
    gap = stage.lab.visitor("gap", serve="leaf")
    stage.open()
    front, port = stage.inbound(one(
        stage, extra="error_page 495 =403 /refused;",
        body='location = /refused { return 403 "$strict_tls_client_reason"; }'))
    for scene, reason in [(revoked, b"ocsp.revoked"), (gap, b"chain.incomplete")]:
        answer = Client(scene.chain, scene.key).get(port, NAME)
        assert (answer.status, answer.body) == (403, reason)


def test_crls_of_nginx_stay_in_force(stage):
    """ssl_crl is looked at beside all of the rest."""
    good = stage.lab.visitor("good", "root", "leaf")
    stage.open()
    listed = crl.build(stage.lab.pki["root"], [good.leaf.serial])
    empty = crl.build(stage.lab.pki["root"], [])
    file = stage.lab.folder / "root.crl"
    for der, status in [(empty, 200), (listed, 400)]:
        file.write_bytes(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM))
        front, port = stage.inbound(one(stage, extra=f"ssl_crl {file};"))
        assert Client(good.chain, good.key).get(port, NAME).status == status


# ---- waiting -------------------------------------------------------------------------

def in_thread(action):
    """Starts it; result() waits for what it returns."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(action)
    pool.shutdown(wait=False)
    return future


def test_others_do_not_wait(stage):
    """One worker, a responder that does not answer: all other clients are served meanwhile."""
    held = stage.lab.visitor("held", ocsp="hold")
    good = stage.lab.visitor("good")
    stage.open()
    front, port = stage.inbound(one(stage, policy={"fetch_timeout_ms": "60000",
                                                   "fetch_total_ms": "60000"}))
    waiting = in_thread(lambda: Client(held.chain, held.key).get(port, NAME))
    net.wait_until(lambda: stage.responder.count(held.place), "the question")
    for _ in range(3):
        assert Client(good.chain, good.key).get(port, NAME).status == 200
    assert not waiting.done()
    stage.responder.release(held.place)
    assert waiting.result(net.PATIENCE_S).status == 200


def test_one_question_for_all(stage):
    """Connections and HTTP/2 streams of one client wait for the same answer."""
    held = stage.lab.visitor("held", ocsp="hold")
    stage.open()
    front, port = stage.inbound(one(stage, policy={"fetch_timeout_ms": "60000",
                                                   "fetch_total_ms": "60000"}), level="debug")
    waiting = [in_thread(lambda: Client(held.chain, held.key).get(port, NAME)) for _ in range(2)]
    streams = in_thread(lambda: get_parallel(port, NAME, held.chain, held.key, 4))
    net.wait_until(lambda: front.new_errors().count("request waits for the client's verdict") == 6,
                   "the requests")
    stage.responder.release(held.place)
    assert [future.result(net.PATIENCE_S).status for future in waiting] == [200, 200]
    assert streams.result(net.PATIENCE_S) == [200] * 4
    assert stage.responder.count(held.place) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_gone_while_waiting(version, stage):
    """The client closes: nothing is left over, and its answer serves the next one."""
    held = stage.lab.visitor("held", ocsp="hold")
    stage.open()
    front, port = stage.inbound(one(stage, policy={"fetch_timeout_ms": "60000",
                                                   "fetch_total_ms": "60000"}), level="debug")
    connection = Client(held.chain, held.key, version=version).connect(port, NAME)
    connection.tls.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    net.wait_until(lambda: stage.responder.count(held.place), "the question")
    connection.close()
    net.wait_until(lambda: "client prematurely closed connection" in front.new_errors(),
                   "nginx to notice")
    stage.responder.release(held.place)
    assert Client(held.chain, held.key, version=version).get(port, NAME).status == 200
    assert stage.responder.count(held.place) == 1


def frame(kind, flags, stream, body):
    """Of HTTP/2: RFC 9113, section 4.1."""
    return struct.pack(">IBBI", len(body), kind, flags, stream)[1:] + body


def test_streams_gone_while_waiting(stage):
    """Some streams of an HTTP/2 connection are reset: the other one gets its answer."""
    headers, rst_stream, settings = 1, 3, 4
    held = stage.lab.visitor("held", ocsp="hold")
    stage.open()
    front, port = stage.inbound(one(stage, policy={"fetch_timeout_ms": "60000",
                                                   "fetch_total_ms": "60000"}), level="debug")
    # GET https://NAME/ by the static table of RFC 7541
    request = b"\x82\x87\x84\x01" + bytes([len(NAME)]) + NAME.encode()
    with Client(held.chain, held.key, alpn=["h2"]).connect(port, NAME) as connection:
        tls = connection.tls
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, b"")
                    + b"".join(frame(headers, 5, stream, request) for stream in (1, 3, 5)))
        net.wait_until(lambda: front.new_errors().count("waits for the client's verdict") == 3,
                       "the requests")
        tls.sendall(b"".join(frame(rst_stream, 0, stream, b"\0\0\0\x08") for stream in (1, 3)))
        net.wait_until(lambda: front.new_errors().count("http2 RST_STREAM frame") == 2,
                       "the resets")
        net.wait_until(lambda: stage.responder.count(held.place), "the question")
        assert stage.responder.count(held.place) == 1
        stage.responder.release(held.place)
        with tls.makefile("rb") as answers:
            kind = None
            while kind != headers:
                head = answers.read(9)
                body = answers.read(int.from_bytes(head[:3], "big"))
                kind, stream = head[3], int.from_bytes(head[5:], "big")
        assert (stream, body.lstrip(b"\x20")[:1]) == (5, b"\x88")  # :status 200
    assert Client(held.chain, held.key).get(port, NAME).status == 200


def test_reload_while_waiting(stage):
    """The old worker answers what it was asked; the new one asks for itself."""
    held = stage.lab.visitor("held", ocsp="hold")
    stage.open()
    front, port = stage.inbound(one(stage, policy={"fetch_timeout_ms": "60000",
                                                   "fetch_total_ms": "60000"}))
    waiting = in_thread(lambda: Client(held.chain, held.key).get(port, NAME))
    net.wait_until(lambda: stage.responder.count(held.place), "the question")
    front.reload()
    assert not waiting.done()
    stage.responder.release(held.place)
    assert waiting.result(net.PATIENCE_S).status == 200
    assert Client(held.chain, held.key).get(port, NAME).status == 200


def test_time_is_over(stage):
    """fetch_total_ms bounds the wait."""
    held = stage.lab.visitor("held", ocsp="hold")
    stage.open()
    front, port = stage.inbound(one(stage, policy={"fetch_timeout_ms": "300",
                                                   "fetch_total_ms": "300"}))
    answer = Client(held.chain, held.key).get(port, NAME)
    assert (answer.status, *told(answer)) == (400, "reject", "fetch.timeout")


@pytest.mark.parametrize("revocation, wanted", [
    ("hard", (400, "reject", "fetch.timeout")), ("soft", (200, "accept", "none"))])
def test_nothing_is_remembered(revocation, wanted, stage):
    """Who has waited is answered by what came of it, though that serves nobody else."""
    silent = stage.lab.visitor("silent", ocsp="silent")
    stage.open()
    front, port = stage.inbound(one(stage, policy={
        "revocation": revocation, "negative_ttl_s": "0", "ocsp_nonce": "on",
        "fetch_timeout_ms": "300", "fetch_total_ms": "300"}))
    for asked in (1, 2):
        answer = Client(silent.chain, silent.key).get(port, NAME)
        assert (answer.status, *told(answer)) == wanted
        assert stage.responder.count(silent.place) == asked


# ---- directives ------------------------------------------------------------------------

def test_keys_default_to_those_of_upstreams(stage):
    """The server's outbound policy is what a client's begins with."""
    revoked = stage.lab.visitor("revoked", ocsp="revoked")
    stage.open()
    outbound = "strict_tls_revocation off; strict_tls_fetch_deny none;"
    for http, extra, reason in [
            ("", outbound, "none"),
            (outbound, "", "none"),
            (outbound, "strict_tls_client_revocation hard;", "ocsp.revoked"),
            ("strict_tls_client_revocation hard;", outbound, "ocsp.revoked"),
            (outbound, "strict_tls_client_preset strict; strict_tls_client_fetch_deny none;",
             "ocsp.revoked")]:
        front, port = stage.inbound(one(stage, strict=False,
                                        extra="strict_tls_client on;" + extra), http=http)
        assert told(Client(revoked.chain, revoked.key).get(port, NAME))[1] == reason


@pytest.mark.parametrize("fields, words", [
    ({"verify": "off"}, '"strict_tls_client" has nobody to judge'),
    ({"strict": "maybe"}, 'it must be "on", "off" or "report"'),
    ({"extra": "strict_tls_client_revocation soft; strict_tls_client_revocation hard;"},
     '"strict_tls_client_revocation" directive is duplicate'),
    ({"extra": "strict_tls_client_revocation firm;"}, '"strict_tls_client_revocation" directive:'),
    ({"extra": "strict_tls_client_trusted_certificate /nowhere;"},
     'cannot open trusted certificates "/nowhere"'),
    ({"verify": "optional_no_ca", "ca": False}, "needs to know whom to trust"),
])
def test_wrong_configuration(fields, words, stage):
    fields = dict(fields)
    trust = stage.lab.pki["root"].cert_path if fields.pop("ca", True) else None
    front, _ = stage.inbound(lambda port: [inbound_fronts.server(
        stage.lab, port, NAME, trust, **{"strict": True, **fields})], start=False)
    status, said = front.test()
    assert status != 0 and words in said


@pytest.mark.parametrize("line, verify, is_told", [
    ("strict_tls_client on;", "off", True), ("strict_tls_client report;", "off", True),
    ("strict_tls_client off;", "off", False), ("", "off", False),
    ("strict_tls_client on;", "on", False)])
def test_nobody_asks(line, verify, is_told, stage):
    """In http{} it is for those servers that ask; where none does, nginx -t says so."""
    front, _ = stage.inbound(one(stage, strict=False, verify=verify), http=line, start=False)
    status, said = front.test()
    assert (status, "no server asks for certificates" in said) == (0, is_told), said


def test_both_files_are_trusted(stage):
    """nginx takes ssl_trusted_certificate for anchors beside ssl_client_certificate."""
    good = stage.lab.visitor("good")
    stranger = stage.lab.visitor("stranger", "stranger_issuing", "leaf stranger_issuing")
    stage.open()
    more = f"ssl_trusted_certificate {stage.lab.pki['stranger'].cert_path};"
    for extra, statuses in [
            (more, (200, 200)),
            (more + f"strict_tls_client_trusted_certificate {stage.lab.pki['root'].cert_path};",
             (200, 400))]:
        front, port = stage.inbound(one(stage, extra=extra))
        assert tuple(Client(scene.chain, scene.key).get(port, NAME).status
                     for scene in (good, stranger)) == statuses


def test_documented_example(stage):
    """What docs/directives.md shows, run: only names, ports and paths are this lab's."""
    good = stage.lab.visitor("good")
    gap = stage.lab.visitor("gap", serve="leaf")
    stage.open()
    section = (ROOT / "docs/directives.md").read_text().split("### Client certificates")[1]
    text = re.search(r"^```nginx\n(.*?)^```$", section, re.M | re.S)[1]
    log = stage.lab.folder / "clients.log"
    front, port = stage.inbound(lambda port: [
        text.replace("listen 8443", f"listen {net.HOST}:{port}")
        .replace("/etc/nginx/tls/api.example.com.pem", str(stage.lab.front_chain))
        .replace("/etc/nginx/tls/api.example.com.key", str(stage.lab.front.key_path))
        .replace("/etc/nginx/tls/clients-root.pem", str(stage.lab.pki["root"].cert_path))
        .replace("/var/log/nginx/clients.log", str(log))
        .replace("proxy_pass http://127.0.0.1:8080;", "return 204;")],
        http="strict_tls_client_fetch_deny none;")
    for scene, status in [(good, 204), (gap, 400)]:
        assert Client(scene.chain, scene.key).get(port, "api.example.com").status == status
    net.wait_until(lambda: log.read_text().count("\n") == 2, "the log")
    first, second = log.read_text().splitlines()
    assert "CN=client_good," in first and first.endswith("client=accept reason=none")
    assert second.endswith("client=reject reason=chain.incomplete")


def test_every_key_is_a_directive(stage):
    """In http and in server, as strict_tls_client_KEY."""
    keys = "".join(f"strict_tls_client_{key} {good_value(type, default, values)};\n"
                   for key, type, default, values in DIRECTIVE_KEYS)
    assert keys.count("\n") > 30
    for fields, http in [({"extra": keys}, ""), ({}, keys)]:
        front, _ = stage.inbound(lambda port: [inbound_fronts.server(
            stage.lab, port, NAME, stage.lab.pki["root"].cert_path, strict=False,
            **{"extra": "", **fields}).replace("location", "strict_tls_client on; location", 1)],
            http=http, start=False)
        status, said = front.test()
        assert status == 0, said
