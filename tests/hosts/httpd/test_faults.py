"""Bad input: every fault of a responder, aborted clients, AddressSanitizer."""
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import crl, net
from tests.lab.forward_proxy import ForwardProxy
from tests.lab.httpd import MODULE_ASAN, asan_options, asan_runtime
from tests.lab.verdicts import ACCEPT, verdict

# Behaviour of the responder -> the reason it leads to.
FAULTS = {
    "silent": "fetch.timeout", "close": "fetch.http", "reset": "fetch.network",
    "cut": "fetch.http", "oversize": "fetch.too_large", "endless": "fetch.too_large",
    "endless_header": "fetch.too_large", "drip": "fetch.timeout", "not_http": "fetch.http",
    "truncated": "fetch.http", "garbage": "fetch.http", "trailing": "fetch.http",
    "two_lengths": "fetch.http", "length_and_chunks": "fetch.http", "negative_chunk": "fetch.http",
    "malformed": "ocsp.malformed", "http_500": "fetch.http", "redirect": "fetch.http",
    "internal_error": "ocsp.error_status", "empty_list": "ocsp.wrong_certificate",
}


def assert_fault(answer, reason, total_s):
    assert answer.status == 502
    word, found = verdict(answer)
    assert word == "reject"
    assert found == reason if reason else found.startswith("fetch.")
    assert answer.seconds < total_s


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault, stage):
    """Rejected, with a reason, within the total time; the thread is free again."""
    peer = stage.peer("faulty", ocsp=fault)
    good = stage.peer("good")
    stage.open()
    front, port = stage.front([
        where(peer, "/bad", policy={
            "fetch_timeout_ms": "60000",
            "fetch_total_ms": "1000" if FAULTS[fault] == "fetch.timeout" else "20000"}),
        where(good, "/good")], threads=1)
    assert_fault(net.get(port, "/bad"), FAULTS[fault], 30)
    answer = net.get(port, "/good")
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    assert answer.seconds < 30
    assert front.alive()


def test_total_time_bounds_many_fetches(stage):
    peer = stage.peer("silent", ocsp="silent silent", issuer="silent_issuing",
                      serve="leaf silent_issuing intermediate")
    stage.open()
    _, port = stage.front([where(peer, policy={"fetch_timeout_ms": "60000",
                                               "fetch_total_ms": "700"})])
    assert_fault(net.get(port), "fetch.timeout", 30)


@pytest.mark.parametrize("total_ms, expected", [("9000", ACCEPT),
                                                ("800", ("reject", "fetch.denied"))])
def test_fetches_in_flight_are_bounded(total_ms, expected, stage):
    """Those beyond wait for a place until their own time is over, and no place is wasted."""
    peers = [stage.peer(f"held{n}", ocsp="hold") for n in range(6)]
    stage.open()
    policy = {"max_fetches_in_flight": "2", "fetch_timeout_ms": "9000", "fetch_total_ms": "9000"}
    late = {**policy, "fetch_total_ms": total_ms}

    def asked():
        return sum(stage.responder.count(peer.place) for peer in peers)

    _, port = stage.front([where(peer, f"/{n}", policy=late if n > 1 else policy)
                           for n, peer in enumerate(peers)], threads=8)
    with ThreadPoolExecutor(6) as pool:
        first = [pool.submit(net.get, port, f"/{n}") for n in range(2)]
        net.wait_until(lambda: asked() == 2, "the first two questions")
        others = [pool.submit(net.get, port, f"/{n}") for n in range(2, 6)]
        time.sleep(1.2)
        assert asked() == 2
        for peer in peers:
            stage.responder.release(peer.place)
        assert [verdict(one.result(net.PATIENCE_S)) for one in first] == 2 * [ACCEPT]
        assert [verdict(one.result(net.PATIENCE_S)) for one in others] == 4 * [expected]
    assert asked() == (6 if expected == ACCEPT else 2)
    # and nobody has anything against them
    assert {verdict(net.get(port, f"/{n}")) for n in range(6)} == {ACCEPT}


def test_one_responder_does_not_get_every_place(stage):
    """A silent one has as many questions as there are places, and another one is asked at once."""
    silent = [stage.peer(f"silent{n}", ocsp="silent") for n in range(4)]
    with crl.CrlServer() as other:
        good = stage.peer("good", ocsp="none", extra=[crl.point(other.url("a.crl"))])
        stage.open()
        other.files["a.crl"] = crl.build(stage.lab.pki["issuing"])
        policy = {"max_fetches_in_flight": "4", "fetch_timeout_ms": "6000",
                  "revocation_scope": "leaf", "short_lived_s": "0"}
        _, port = stage.front([where(good, "/good", policy=policy)]
                              + [where(peer, f"/{n}", policy=policy)
                                 for n, peer in enumerate(silent)], threads=8)
        with ThreadPoolExecutor(4) as pool:
            pending = [pool.submit(net.get, port, f"/{n}") for n in range(4)]
            net.wait_until(lambda: len(stage.responder.hits) >= 3, "the questions")
            answer = net.get(port, "/good")
            assert verdict(answer) == ACCEPT
            assert not any(one.done() for one in pending)
            for one in pending:
                assert verdict(one.result(net.PATIENCE_S)) in (("reject", "fetch.timeout"),
                                                   ("reject", "fetch.denied"))


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_stop_during_a_fetch(mpm, stage):
    """The process ends in time although an answer is still awaited."""
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front, port = stage.front([where(peer, policy={"fetch_timeout_ms": "30000",
                                                   "fetch_total_ms": "30000"})], mpm=mpm)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(net.get, port)
        net.wait_until(lambda: stage.responder.count(peer.place), "the question")
        started = time.monotonic()
        assert front.stop(grace_s=20) == 0
        assert time.monotonic() - started < 15
        assert pending.exception(20) or pending.result().status >= 500
    assert not re.search(r"exit signal (Seg|Abort|Bus)", front.errors())


def test_client_goes_away_during_a_fetch(stage):
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front, port = stage.front([where(peer, policy={"fetch_timeout_ms": "8000"})], threads=2)
    with socket.create_connection((net.HOST, port)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        net.wait_until(lambda: stage.responder.count(peer.place), "the question")
    stage.responder.release(peer.place)
    net.wait_until(lambda: net.get(port).status == 200, "the answer to be of use")
    assert front.alive()


def test_http_proxy(stage):
    """Fetches go through the proxy, which resolves names its own way."""
    peer = stage.peer("good")
    broken = stage.peer("broken")
    stage.open()
    with ForwardProxy({net.HOST: net.HOST}) as proxy:
        lines = f"StrictTLSHTTPProxy {net.HOST}:{proxy.port}\n"
        _, port = stage.front([
            where(peer, "/good", extra=lines, policy={"fetch_deny": "loopback"}),
            where(broken, "/direct", policy={"fetch_deny": "loopback"})])
        assert net.get(port, "/good").status == 200
        assert proxy.asked and all(target.startswith("http://") for target in proxy.asked)
        assert verdict(net.get(port, "/direct")) == ("reject", "fetch.denied")


def test_a_peer_that_is_no_tls_server(stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([where(peer, target=f"https://localhost:{stage.responder.port}")])
    answer = net.get(port)
    assert answer.status >= 500
    assert not answer.headers.get("x-strict-tls-verdict")


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_address_sanitizer(mpm, stage, tmp_path):
    """Scenarios, faults, pool conflicts, a graceful restart: nothing to report."""
    if not MODULE_ASAN.exists():
        pytest.fail(f"{MODULE_ASAN} is missing: make httpd-asan", pytrace=False)
    peers = {fault: stage.peer(f"faulty_{fault}", ocsp=fault) for fault in FAULTS}
    good, bad = stage.peer("good"), stage.peer("bad", serve="leaf")
    stage.open()
    short = {"fetch_timeout_ms": "60000", "fetch_total_ms": "600"}
    body = [where(peer, f"/{fault}", policy=short) for fault, peer in peers.items()] + [
        where(good, "/ok"), where(bad, "/bad"), where(bad, "/lax", strict="off"),
        where(bad, "/report", strict="report"),
        "<Location /server-status>\nSetHandler server-status\n</Location>\n",
        "<Location /strict-tls>\nSetHandler strict-tls-status\n</Location>\n"]
    # A chain of its own, judged with the configuration and by the watchdog.
    own = stage.lab.issue(f"own_{mpm}", ocsp="good")
    pem = stage.lab.bundle("own", [own.label, "root"])
    main = (f"Listen {net.HOST}:{(own_port := net.free_port())}\n"
            f"<VirtualHost {net.HOST}:{own_port}>\nServerName own.lab.test\nSSLEngine on\n"
            f"SSLCertificateFile {pem}\nSSLCertificateKeyFile {own.key_path}\n</VirtualHost>\n")
    # Children that have dropped root write here.
    folder = tmp_path / "reports"
    folder.mkdir()
    folder.chmod(0o777)
    front, port = stage.front(body, module=MODULE_ASAN, mpm=mpm, threads=8,
                              preload=[asan_runtime()], env=asan_options(folder))

    def round_trip():
        paths = [f"/{fault}" for fault in FAULTS] + ["/ok", "/bad", "/lax", "/bad", "/report"] * 4
        with ThreadPoolExecutor(6) as pool:
            answers = dict(zip(paths, pool.map(lambda path: net.get(port, path), paths)))
        assert answers["/ok"].status == answers["/lax"].status == 200
        assert answers["/bad"].status == 502
        assert "StrictTLSAccepted" in net.get(port, "/server-status?auto").text
        for suffix, words in ((".html", "chain.incomplete"), (".json", '"peers"'),
                              (".prom", "strict_tls_peer_accepted{")):
            assert words in net.get(port, f"/strict-tls/x{suffix}").text

    round_trip()
    front.graceful()
    round_trip()
    assert front.stop() == 0
    found = [path.read_text() for path in folder.iterdir()]
    assert not found, found[0][:4000]
    assert "exit signal" not in front.errors()
