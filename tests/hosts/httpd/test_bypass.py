"""No way round a verdict: pooled connections, restarts, balancers, other schemes, every MPM.

Every test has its control: the lax location shows that the way exists.
"""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import httpd_fronts, net
from tests.lab.httpd import MPMS
from tests.lab.renegotiation import RenegotiatingServer
from tests.lab.responder import said
from tests.lab.scenarios import NAME
from tests.lab.verdicts import ACCEPT, BRIEF, assert_last_second_is_in, verdict

VERSIONS = {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}


def connection(answer):
    return answer.headers["x-connection"]


# ---- pooled connections ------------------------------------------------------


@pytest.mark.parametrize("mpm", MPMS)
@pytest.mark.parametrize("version", VERSIONS)
def test_no_reuse_from_lax_to_strict(version, mpm, stage):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    _, port = stage.front([where(peer, "/lax", strict="off"), where(peer, "/strict")],
                          protocols=VERSIONS[version], mpm=mpm, threads=1)
    first, second = net.get(port, "/lax"), net.get(port, "/lax")
    assert connection(first) == connection(second)  # the control
    for _ in range(2):
        answer = net.get(port, "/strict")
        assert (answer.status, *verdict(answer)) == (502, "reject", "chain.incomplete")
    assert net.get(port, "/lax").status == 200


@pytest.mark.parametrize("mpm", MPMS)
def test_reuse_within_a_policy(mpm, stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([where(peer, "/a"), where(peer, "/b"),
                           where(peer, "/lax", strict="off")], mpm=mpm, threads=1)
    answers = [net.get(port, path) for path in ("/a", "/a", "/b", "/lax", "/a")]
    assert {answer.status for answer in answers} == {200}
    assert len({connection(answer) for answer in answers}) == 1
    assert [verdict(answer) for answer in answers if answer is not answers[3]] == [ACCEPT] * 4
    assert stage.responder.count(peer.place) == 1


@pytest.mark.parametrize("other, reason", [
    ({"policy": {"revocation": "hard"}}, "fetch.timeout"),
    ({"policy": {"revocation": "soft", "chain_root": "require"}}, "chain.root_missing"),
], ids=["revocation", "chain_root"])
def test_no_reuse_across_policies(other, reason, stage):
    peer = stage.peer("silent", ocsp="silent")
    stage.open()
    _, port = stage.front([
        where(peer, "/soft", policy={"revocation": "soft", "fetch_timeout_ms": "300"}),
        where(peer, "/other", policy={**other["policy"], "fetch_timeout_ms": "300"})], threads=1)
    first, second = net.get(port, "/soft"), net.get(port, "/soft")
    assert connection(first) == connection(second)
    answer = net.get(port, "/other")
    assert (answer.status, *verdict(answer)) == (502, "reject", reason)


def test_no_reuse_across_trust(stage):
    """The same policy words with other anchors are another policy."""
    peer = stage.peer("good")
    stage.open()
    stranger = where(peer, "/stranger").replace(
        str(peer.trust), str(stage.lab.pki["stranger"].cert_path))
    _, port = stage.front([where(peer, "/good"), stranger], threads=1)
    assert net.get(port, "/good").status == 200
    assert verdict(net.get(port, "/stranger")) == ("reject", "chain.untrusted")
    assert net.get(port, "/good").status == 200


def test_no_reuse_from_report_to_strict(stage):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    _, port = stage.front([where(peer, "/report", strict="report"), where(peer, "/strict")],
                          threads=1)
    answer = net.get(port, "/report")
    assert (answer.status, *verdict(answer)) == (200, "would_reject", "chain.incomplete")
    answer = net.get(port, "/report")
    assert (answer.status, *verdict(answer)) == (200, "would_reject", "chain.incomplete")
    answer = net.get(port, "/strict")
    assert (answer.status, *verdict(answer)) == (502, "reject", "chain.incomplete")


def test_a_verdict_stands_in_its_last_second(stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([where(peer, policy=BRIEF)], threads=1)
    assert_last_second_is_in(lambda: net.get(port))


def test_verdict_ends_on_a_pooled_connection(stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([where(peer, policy={"verdict_max_age_s": "2"})], threads=1)
    first, second = net.get(port), net.get(port)
    assert connection(first) == connection(second)
    time.sleep(3.2)
    third = net.get(port)
    assert third.status == 200
    assert connection(third) != connection(first)


def test_revoked_behind_a_pooled_connection(stage):
    peer = stage.peer("brief")
    stage.responder.place(peer.place, said(this_update_s=-5, next_update_s=3))
    stage.open()
    _, port = stage.front([where(peer, policy={"clock_skew_s": "0"})], threads=1)
    assert net.get(port).status == 200
    stage.responder.place(peer.place, "revoked")
    net.wait_until(lambda: net.get(port).status == 502, "the revocation to be noticed")
    assert verdict(net.get(port)) == ("reject", "ocsp.revoked")


def test_many_threads_and_policies(stage):
    """Two policies fight for one pool: nobody gets the other's verdict, nobody fails."""
    peer = stage.peer("silent", ocsp="silent")
    stage.open()
    _, port = stage.front([
        where(peer, "/soft", policy={"revocation": "soft", "fetch_timeout_ms": "200"}),
        where(peer, "/off", policy={"revocation": "off"}),
        where(peer, "/hard", policy={"fetch_timeout_ms": "200"})], threads=16)
    wanted = {"/soft": (200, *ACCEPT), "/off": (200, *ACCEPT),
              "/hard": (502, "reject", "fetch.timeout")}
    with ThreadPoolExecutor(12) as pool:
        paths = list(wanted) * 60
        answers = list(pool.map(lambda path: net.get(port, path), paths))
    assert {(path, answer.status, *verdict(answer)) for path, answer in zip(paths, answers)} == {
        (path, *value) for path, value in wanted.items()}


# ---- configuration ------------------------------------------------------------


def test_graceful_restart(stage):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    front, port = stage.front([where(peer, strict="off")], threads=2)
    assert net.get(port).status == 200
    front.rewrite([where(peer)])
    front.graceful()
    net.wait_until(lambda: net.get(port).status == 502, "the new configuration")
    answers = [net.get(port) for _ in range(4)]
    assert [verdict(answer) for answer in answers] == [("reject", "chain.incomplete")] * 4
    front.rewrite([where(peer, policy={"chain_root": "require"})])
    front.graceful()
    assert front.alive()
    assert net.get(port).status == 502
    assert "exit signal" not in front.errors()


def test_graceful_restart_during_a_fetch(stage):
    """Who waits for a verdict gets it from the old child."""
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front, port = stage.front([where(peer, policy={"fetch_timeout_ms": "8000"})], threads=4)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(net.get, port)
        net.wait_until(lambda: stage.responder.count(peer.place), "the question")
        front.graceful()
        stage.responder.release(peer.place)
        answer = pending.result(net.PATIENCE_S)
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    assert net.get(port).status == 200
    assert "exit signal" not in front.errors()


@pytest.mark.parametrize("mpm", MPMS)
def test_every_mpm(mpm, stage):
    peers = {
        "chain.incomplete": stage.peer("gap", serve="leaf"),
        "name.mismatch": stage.peer("name", sans=("other.lab.test",)),
        "ocsp.revoked": stage.peer("revoked", ocsp="revoked"),
        "fetch.timeout": stage.peer("silent", ocsp="silent"),
        "none": stage.peer("good"),
    }
    stage.open()
    _, port = stage.front([where(peer, f"/{reason}", policy={"fetch_timeout_ms": "400"})
                           for reason, peer in peers.items()], mpm=mpm, threads=8)
    with ThreadPoolExecutor(8) as pool:
        paths = list(peers) * 8
        answers = list(pool.map(lambda path: net.get(port, f"/{path}"), paths))
    assert [answer.headers["x-strict-tls-reason"] for answer in answers] == paths
    assert {answer.status for answer, path in zip(answers, paths) if path != "none"} == {502}


@pytest.mark.parametrize("lines", [
    "SSLProxyVerify none\n", "SSLProxyVerify none\nSSLProxyCheckPeerName off\n"
    "SSLProxyCheckPeerExpire off\n", "SSLProxyVerifyDepth 0\n",
], ids=["verify none", "no checks", "depth 0"])
@pytest.mark.parametrize("version", VERSIONS)
def test_mod_ssl_settings_do_not_weaken(lines, version, stage):
    bad = stage.peer("bad", serve="leaf")
    revoked = stage.peer("revoked", ocsp="revoked")
    good = stage.peer("good")
    stage.open()
    _, port = stage.front([where(bad, "/bad"), where(revoked, "/revoked"), where(good, "/good")],
                          extra=lines, protocols=VERSIONS[version])
    assert verdict(net.get(port, "/bad")) == ("reject", "chain.incomplete")
    assert verdict(net.get(port, "/revoked")) == ("reject", "ocsp.revoked")
    assert net.get(port, "/good").status == 200


def test_mod_ssl_verification_stays(stage):
    """SSLProxyVerify require narrows further: what it refuses is refused."""
    peer = stage.peer("good")
    stage.open()
    stranger = stage.lab.pki["stranger"].cert_path
    _, port = stage.front([where(peer)], extra=f"SSLProxyVerify require\nSSLProxyVerifyDepth 9\n"
                          f"SSLProxyCACertificateFile {stranger}\n")
    assert net.get(port).status >= 500


def test_preserved_host_is_not_the_name(stage):
    """The client's Host header must not choose what the certificate is compared with."""
    peer = stage.peer("other", sans=("other.lab.test",))
    good = stage.peer("good")
    stage.open()
    _, port = stage.front([where(peer, "/other"), where(good, "/good")],
                          extra="ProxyPreserveHost on\n")
    answer = net.get(port, "/other", headers={"Host": "other.lab.test"})
    assert (answer.status, *verdict(answer)) == (502, "reject", "name.mismatch")
    assert net.get(port, "/good", headers={"Host": "anything.lab.test"}).status == 200


@pytest.mark.parametrize("level", ["server", "proxy", "location"])
def test_levels(level, stage):
    """StrictTLS may stand in the virtual host, in <Proxy> and in <Location>."""
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    lines = (f"StrictTLS on\nStrictTLSTrustedCertificate {peer.trust}\n"
             "StrictTLSFetchDeny none\n")
    url = httpd_fronts.url_of(peer, NAME)
    passing = f"ProxyPass / {url}/\n"
    body = {"server": f"{lines}{passing}",
            "proxy": f'<Proxy "{url}">\n{lines}</Proxy>\n{passing}',
            "location": f"{passing}<Location />\n{lines}</Location>\n"}[level]
    _, port = stage.front([body])
    for _ in range(2):
        assert verdict(net.get(port)) == ("reject", "chain.incomplete")


# ---- other ways to a backend -----------------------------------------------------


def lines_of(peer, policy="on"):
    return (f"<Location />\nStrictTLS {policy}\nStrictTLSTrustedCertificate {peer.trust}\n"
            "StrictTLSFetchDeny none\n</Location>\n")


WAYS = {
    "ProxyPassMatch": ("ProxyPassMatch ^/(.*)$ {url}/$1\n", ()),
    "RewriteRule": ("RewriteEngine on\nRewriteRule ^/(.*)$ {url}/$1 [P]\n", ("rewrite",)),
    "balancer": ("<Proxy balancer://pool>\nBalancerMember {url}\n</Proxy>\n"
                 "ProxyPass / balancer://pool/\n", ("proxy_balancer", "lbmethod_byrequests")),
    "http2": ("ProxyPass / h2://{host}/\n", ("http2", "proxy_http2")),
    "websocket": ("ProxyPass / wss://{host}/\n", ("proxy_wstunnel",)),
    "upgrade": ("ProxyPass / {url}/ upgrade=websocket\n", ()),
    "disablereuse": ("ProxyPass / {url}/ disablereuse=on\n", ()),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways(way, stage):
    bad = stage.peer("bad", serve="leaf")
    good = stage.peer("good")
    stage.open()
    text, modules = WAYS[way]
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"} \
        if way in ("websocket", "upgrade") else {}

    def answer(peer, policy):
        body = text.format(url=httpd_fronts.url_of(peer, NAME),
                           host=f"{NAME}:{peer.backend.port}")
        _, port = stage.front([body, lines_of(peer, policy)], modules=modules)
        answers = [net.get(port, "/x", headers=headers) for _ in range(2)]
        assert answers[0].status == answers[1].status or way == "balancer"
        return answers[0]

    assert answer(bad, "off").status == 200  # the control
    assert answer(good, "on").status == 200
    found = answer(bad, "on")
    assert (found.status, *verdict(found)) == (502, "reject", "chain.incomplete")


@pytest.mark.parametrize("reason, fields", [
    ("chain.incomplete", {"serve": "leaf"}), ("ocsp.revoked", {"ocsp": "revoked"})],
    ids=["in the handshake", "after the handshake"])
def test_balancer_fails_over(reason, fields, stage):
    bad = stage.peer("bad", **fields)
    good = stage.peer("good")
    stage.open()
    members = "".join(f"BalancerMember {httpd_fronts.url_of(peer, NAME)} retry=0\n"
                      for peer in (bad, good))
    front, port = stage.front([
        f"<Proxy balancer://pool>\n{members}</Proxy>\nProxyPass / balancer://pool/\n",
        lines_of(good)], modules=("proxy_balancer", "lbmethod_byrequests"), threads=2)
    answers = [net.get(port) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 6
    assert {answer.text for answer in answers} == {"backend good\n"}
    assert {verdict(answer) for answer in answers} == {ACCEPT}
    assert {line.reason for line in front.verdicts()} == {reason}


def test_balancer_without_a_good_member(stage):
    bad = stage.peer("bad", serve="leaf")
    worse = stage.peer("worse", serve="leaf")
    stage.open()
    members = "".join(f"BalancerMember {httpd_fronts.url_of(peer, NAME)}\n"
                      for peer in (bad, worse))
    _, port = stage.front([
        f"<Proxy balancer://pool>\n{members}</Proxy>\nProxyPass / balancer://pool/\n",
        lines_of(bad)], modules=("proxy_balancer", "lbmethod_byrequests"))
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (502, "reject", "chain.incomplete")


# ---- after the verdict ----------------------------------------------------------


@pytest.mark.parametrize("strict", ["off", True], ids=["lax", "strict"])
def test_renegotiation(strict, stage, tmp_path):
    """A TLS 1.2 peer that renegotiates after ACCEPT gets nowhere."""
    peer = stage.peer("good")
    stage.open()
    with RenegotiatingServer(tmp_path, peer.backend.chain, peer.backend.key) as server:
        target = f"https://{NAME}:{server.address.rsplit(':')[1]}"
        _, port = stage.front([where(peer, strict=strict, target=target)], protocols="TLSv1.2")
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(net.get, port)
            server.wait_for_request()
            server.renegotiate()
            server.answer()
            answer = pending.result(net.PATIENCE_S)
    if strict == "off":
        assert server.renegotiated()
    else:
        assert not server.renegotiated()
        assert answer.status in (200, 502)


# ---- what others see ---------------------------------------------------------------


def test_error_document_and_log(stage, tmp_path):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    log = tmp_path / "access.log"
    _, port = stage.front([where(peer)], extra=(
        'ErrorDocument 502 "refused: %{reqenv:STRICT_TLS_REASON}"\n'
        'LogFormat "%{STRICT_TLS_VERDICT}e %{STRICT_TLS_REASON}e" strict\n'
        f"CustomLog {log} strict\n"))
    assert net.get(port).text.strip() == "refused: chain.incomplete"
    net.wait_until(lambda: net.whole_lines(log), "the access log")
    assert log.read_text() == "reject chain.incomplete\n"


def test_backend_is_not_kept_in_error(stage):
    """After a rejection the next request asks again at once, as after stock handshake failures."""
    peer = stage.peer("late", ocsp="unauthorized")
    stage.open()
    _, port = stage.front([where(peer, policy={"negative_ttl_s": "1"})])
    assert verdict(net.get(port)) == ("reject", "ocsp.error_status")
    stage.responder.place(peer.place, "good")
    time.sleep(2.1)
    assert net.get(port).status == 200
