"""No way round a verdict in stream: resumed sessions, retries, reloads, aborts, renegotiation.

Every test has its control: the lax server shows that the way exists.
"""
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import net
from tests.lab.fronts import OTHER_POLICIES, POOLS, pool_of
from tests.lab.renegotiation import RenegotiatingServer
from tests.lab.responder import BEHAVIOURS
from tests.lab.scenarios import NAME
from tests.lab.stream_fronts import server
from tests.lab.verdicts import resumed

VERSIONS = {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}

ACCEPT = (200, "accept", "none")


def seen(answer):
    return answer.status, answer.verdict, answer.reason


def rejected(reason):
    return None, "reject", reason


# ---- resumed sessions -------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", POOLS)
def test_resumption_within_a_policy(kind, version, stage):
    """Resumption keeps working where nothing speaks against it."""
    peer = stage.peer("good")
    stage.open()
    extra, target = pool_of(kind, peer)
    front = stage.stream({"strict": server(peer, strict=True, target=target,
                                           protocols=VERSIONS[version])}, extra=extra)
    answers = [front.get("strict") for _ in range(4)]
    assert [seen(answer) for answer in answers] == [ACCEPT] * 4
    assert [resumed(answer) for answer in answers] == [False, True, True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_session_reuse_off(version, stage):
    peer = stage.peer("good")
    stage.open()
    front = stage.stream({"strict": server(peer, strict=True, protocols=VERSIONS[version],
                                           extra="    proxy_ssl_session_reuse off;\n")})
    answers = [front.get("strict") for _ in range(3)]
    assert [seen(answer) for answer in answers] == [ACCEPT] * 3
    assert not any(map(resumed, answers))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", POOLS)
def test_no_resumption_from_lax_to_strict(kind, version, stage):
    """A session that an unchecked connection left gives a strict server nothing."""
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    extra, target = pool_of(kind, peer)
    front = stage.stream({id: server(peer, strict=strict, target=target,
                                     protocols=VERSIONS[version])
                          for id, strict in (("lax", "off"), ("strict", True))}, extra=extra)
    assert not resumed(front.get("lax"))
    assert resumed(front.get("lax"))  # the control
    for _ in range(2):
        assert seen(front.get("strict")) == rejected("chain.incomplete")
    assert seen(front.get("lax")) == (200, "", "")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("other, reason", OTHER_POLICIES.values(), ids=OTHER_POLICIES)
def test_no_resumption_across_policies(other, reason, version, stage):
    """Nor across SNI names and revocation settings: all share one peer."""
    peer = stage.peer("silent", ocsp="silent")
    stage.open()
    front = stage.stream({
        "soft": server(peer, strict=True, protocols=VERSIONS[version],
                       policy={"revocation": "soft", "fetch_timeout_ms": "300"}),
        "other": server(peer, strict=True, protocols=VERSIONS[version],
                        **{**other, "policy": {**other["policy"], "fetch_timeout_ms": "300"}})})
    assert seen(front.get("soft")) == ACCEPT
    assert resumed(front.get("soft"))
    assert seen(front.get("other")) == rejected(reason)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_resumption_across_trust(version, stage):
    """The same policy words with other anchors are another policy."""
    peer = stage.peer("good")
    stage.open()
    good = server(peer, strict=True, protocols=VERSIONS[version])
    front = stage.stream({
        "good": good,
        "stranger": good.replace(str(peer.trust), str(stage.lab.pki["stranger"].cert_path))})
    assert seen(front.get("good")) == ACCEPT
    assert resumed(front.get("good"))
    assert seen(front.get("stranger")) == rejected("chain.untrusted")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rejected_handshake_leaves_no_session(version, stage):
    """TLS 1.3 tickets arrive with or after the verdict; none of them may be kept."""
    peer = stage.peer("revoked", ocsp="revoked")
    stage.open()
    front = stage.stream({id: server(peer, strict=strict, protocols=VERSIONS[version])
                          for id, strict in (("lax", "off"), ("strict", True))})
    for _ in range(3):
        assert seen(front.get("strict")) == rejected("ocsp.revoked")
    assert not resumed(front.get("lax"))


@pytest.mark.parametrize("version", VERSIONS)
def test_report_mode_leaves_no_session_for_strict(version, stage):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    front = stage.stream({id: server(peer, strict=strict, protocols=VERSIONS[version])
                          for id, strict in (("report", "report"), ("strict", True))})
    for _ in range(2):
        assert seen(front.get("report")) == (200, "would_reject", "chain.incomplete")
    assert seen(front.get("strict")) == rejected("chain.incomplete")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_ends_with_its_verdict(version, stage):
    """Past verdict_max_age_s a full handshake is made, and the peer judged again."""
    peer = stage.peer("good")
    stage.open()
    front = stage.stream({"strict": server(peer, strict=True, protocols=VERSIONS[version],
                                           policy={"verdict_max_age_s": "2"})})
    first = front.get("strict")
    time.sleep(2.1)
    second = front.get("strict")
    assert [seen(answer) for answer in (first, second)] == [ACCEPT] * 2
    assert not resumed(second)


@pytest.mark.parametrize("version", VERSIONS)
def test_revocation_learned_elsewhere_ends_a_session(version, stage):
    """Another server asks anew and learns it; the session that rests on the old answer is gone."""
    peer = stage.peer("victim", ocsp="good")
    stage.open()
    front = stage.stream({
        "strict": server(peer, strict=True, protocols=VERSIONS[version]),
        "asking": server(peer, strict=True, protocols=VERSIONS[version],
                         policy={"ocsp_nonce": "on", "revocation_scope": "leaf"})})
    assert seen(front.get("strict")) == ACCEPT
    assert resumed(front.get("strict"))
    stage.responder.place(peer.place, "revoked")
    assert seen(front.get("asking")) == rejected("ocsp.revoked")
    assert seen(front.get("strict")) == rejected("ocsp.revoked")


# ---- configuration -----------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_settings_of_the_stream_block(version, stage):
    """Inherited by servers, which may differ."""
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    front = stage.stream({
        "strict": f"proxy_pass {peer.backend.address};\n",
        "lax": f"proxy_pass {peer.backend.address};\nstrict_tls off;\n",
        "report": f"proxy_pass {peer.backend.address};\nstrict_tls report;\n",
        "plain": f"proxy_pass {peer.backend.address};\nproxy_ssl off;\n",
    }, extra=f"proxy_ssl on;\nproxy_ssl_name {NAME};\nproxy_ssl_protocols {VERSIONS[version]};\n"
             f"strict_tls on;\nstrict_tls_fetch_deny none;\n"
             f"proxy_ssl_trusted_certificate {peer.trust};\n")
    for _ in range(3):
        assert seen(front.get("strict")) == rejected("chain.incomplete")
        assert seen(front.get("report")) == (200, "would_reject", "chain.incomplete")
        assert seen(front.get("lax")) == (200, "", "")
    assert seen(front.get("plain")) == (400, "", "")  # the backend's: it wants TLS


@pytest.mark.parametrize("version", VERSIONS)
def test_proxy_pass_with_a_variable(version, stage):
    """The address is chosen per session; so is its session, and nobody else's is offered."""
    good, bad = stage.peer("good"), stage.peer("bad", serve="leaf")
    stage.open()
    front = stage.stream({
        "good": server(good, strict=True, target="$to_good", protocols=VERSIONS[version]),
        "bad": server(bad, strict=True, target="$to_bad", protocols=VERSIONS[version]),
        "lax": server(bad, strict="off", target="$to_bad", protocols=VERSIONS[version])},
        extra="".join(f"map $protocol $to_{name} {{ default {peer.backend.address}; }}\n"
                      for name, peer in (("good", good), ("bad", bad))))
    for _ in range(2):
        assert seen(front.get("lax")) == (200, "", "")
        assert seen(front.get("bad")) == rejected("chain.incomplete")
        assert seen(front.get("good")) == ACCEPT


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificate_with_a_variable(version, stage):
    """A session belongs to the identity under which it was made."""
    peer = stage.peer("mutual", options={"wants_client": True})
    stage.open()
    other = stage.lab.issue("other_client", usages=("client",), cn="other.lab.test")
    own = {"10.0.0.1": ("client", stage.lab.client), "10.0.0.2": ("other_client", other)}

    def choose(variable, of):
        return f"map $proxy_protocol_addr ${variable} {{\n" + "".join(
            f"    {address} {of(*whose)};\n" for address, whose in own.items()) + "}\n"

    front = stage.stream(
        {"strict": server(peer, strict=True, protocols=VERSIONS[version],
                          extra="    proxy_ssl_certificate $chain;\n"
                                "    proxy_ssl_certificate_key $key;\n")},
        extra=choose("chain", lambda label, _: stage.lab.bundle(
            "client", [label, "issuing", "intermediate"])) + choose(
                "key", lambda _, entity: entity.key_path), listen="proxy_protocol")

    def get(address):
        return front.get("strict", first=f"PROXY TCP4 {address} 10.0.0.9 1 2\r\n".encode())

    answers = [get(address) for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2")]
    assert [seen(answer) for answer in answers] == [ACCEPT] * 4
    assert [resumed(answer) for answer in answers] == [False, True, False, True]
    assert [answer.headers["x-client"].split(",")[0] for answer in answers] == [
        "CN=client.lab.test"] * 2 + ["CN=other.lab.test"] * 2


def test_udp_is_refused(stage, tmp_path):
    """proxy_ssl does nothing for UDP: what cannot be judged does not pass."""
    peer = stage.peer("good")
    stage.open()
    port, lax_port = net.free_port(), net.free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind((net.HOST, 0))
        echo.settimeout(10)
        target = "{}:{}".format(*echo.getsockname())
        servers = "".join(
            f"server {{ listen {net.HOST}:{number} udp; {text} }}\n"
            for number, text in ((port, server(peer, strict=True, target=target)),
                                 (lax_port, server(peer, strict="off", target=target))))
        front = stage.stream({"tcp": server(peer, strict=True)}, extra=servers)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"strict", (net.HOST, port))
            net.wait_until(lambda: "UDP session is not TLS" in front.new_errors(), "the log line")
            client.sendto(b"lax", (net.HOST, lax_port))
            assert echo.recv(100) == b"lax"


# ---- the next upstream, and what is told --------------------------------------


def test_next_upstream(stage):
    """A rejected peer is a failed one: the next is tried, and tells the verdict."""
    bad, good = stage.peer("bad", serve="leaf"), stage.peer("good")
    stage.open()
    pool = "upstream pool {{ {} }}\n".format("".join(
        f"server {peer.backend.address} max_fails=0;" for peer in (bad, good)))
    front = stage.stream({
        "strict": server(good, strict=True, target="pool"),
        "once": server(good, strict=True, target="pool",
                       extra="    proxy_next_upstream off;\n")}, extra=pool)
    for _ in range(4):
        answer = front.get("strict")
        assert seen(answer) == ACCEPT
        assert answer.text == "backend good\n"
    assert {line.reason for line in front.verdicts()} == {"chain.incomplete"}
    assert {line.fields["addr"] for line in front.verdicts()} == {bad.backend.address}
    assert {seen(front.get("once")) for _ in range(2)} == {ACCEPT, rejected("chain.incomplete")}


def test_hint_at_the_name_of_the_group(stage):
    peer = stage.peer("good")
    stage.open()
    pool = f"upstream pool {{ server {peer.backend.address}; }}\n"
    front = stage.stream({
        "group": server(peer, strict=True, target="pool").replace(
            f"    proxy_ssl_name {NAME};\n", "")}, extra=pool)
    assert seen(front.get("group")) == rejected("name.mismatch")
    line, = front.verdicts()
    assert "set proxy_ssl_name to the name of the host" in line.fields["hint"]


def test_sni_is_sent(stage):
    """Without proxy_ssl_server_name, which defaults to off."""
    peer = stage.peer("good")
    stage.open()
    assert stage.stream({"strict": server(peer, strict=True)}).get("strict") \
        .headers["x-sni"] == NAME


def test_stock_verification_stays_in_force(stage):
    """proxy_ssl_verify beside strict_tls: its CRLs count, and so does its depth in report mode."""
    peer = stage.peer("good")
    stage.open()
    verify = ("    proxy_ssl_verify on;\n    proxy_ssl_verify_depth {depth};\n"
              f"    proxy_ssl_trusted_certificate {peer.trust};\n")
    front = stage.stream({
        "deep": server(peer, strict=True, extra=verify.format(depth=9)),
        "shallow": server(peer, strict="report", extra=verify.format(depth=0))})
    assert seen(front.get("deep")) == ACCEPT
    answer = front.get("shallow")
    assert answer.status is None
    assert "certificate verify error" in front.new_errors()


# ---- while a fetch is under way --------------------------------------------------


class Pending:
    """A session in the background whose handshake waits for a responder that holds back."""

    def __init__(self, stage, peer, front, id="strict"):
        self._responder, self._peer = stage.responder, peer
        self._pool = ThreadPoolExecutor(1)
        self._answer = self._pool.submit(front.get, id)
        net.wait_until(lambda: self._responder.count(peer.place), "the responder to be asked")

    def finish(self):
        self._responder.release(self._peer.place)
        answer = self._answer.result(net.PATIENCE_S)
        self._pool.shutdown()
        return answer


def test_reload_during_a_fetch(stage):
    """The old workers finish what they began; the new ones ask for themselves."""
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front = stage.stream({"strict": server(peer, strict=True, policy={
        "fetch_timeout_ms": "15000", "fetch_total_ms": "15000"})})
    pending = Pending(stage, peer, front)
    front.reload()
    assert seen(pending.finish()) == ACCEPT
    assert seen(front.get("strict")) == ACCEPT


def test_reload_to_another_policy(stage):
    """Sessions and verdicts of the old configuration count no more."""
    peer = stage.peer("good")
    stage.open()
    front = stage.stream({"strict": server(peer, strict=True)})
    assert seen(front.get("strict")) == ACCEPT
    front.rewrite({"strict": server(peer, strict=True, policy={"chain_root": "require"})})
    front.reload()
    assert [seen(front.get("strict")) for _ in range(2)] == [rejected("chain.root_missing")] * 2


@pytest.mark.parametrize("stop", [signal.SIGQUIT, signal.SIGTERM])
def test_stop_during_a_fetch(stop, stage):
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front = stage.stream({"strict": server(peer, strict=True, policy={
        "fetch_timeout_ms": "1500", "fetch_total_ms": "1500"})})
    with front.connect("strict"):
        net.wait_until(lambda: stage.responder.count(peer.place), "the responder to be asked")
        assert front.stop(stop) == 0
    assert "exited on signal" not in front.errors()


def test_client_abort_during_a_fetch(stage):
    """Nobody waits any more: no crash, and the answer is kept."""
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front = stage.stream({"strict": server(peer, strict=True, policy={
        "fetch_timeout_ms": "8000"})})
    workers = front.worker_pids()
    for _ in range(5):
        with front.connect("strict"):
            time.sleep(0.1)
    net.wait_until(lambda: stage.responder.count(peer.place), "the responder to be asked")
    time.sleep(0.2)
    stage.responder.release(peer.place)
    net.wait_until(lambda: seen(front.get("strict")) == ACCEPT, "the answer")
    assert stage.responder.count(peer.place) == 1
    assert front.worker_pids() == workers


@pytest.mark.parametrize("kind", POOLS)
def test_peer_closes_during_a_fetch(kind, stage):
    """The backend goes away while its chain is being judged: a fresh connection is made."""
    peer = stage.peer("held", ocsp="hold", options={"extra": "client_header_timeout 1s;"})
    stage.open()
    extra, target = pool_of(kind, peer)
    front = stage.stream({"strict": server(peer, strict=True, target=target, policy={
        "fetch_timeout_ms": "8000"})}, extra=extra)
    pending = Pending(stage, peer, front)
    time.sleep(1.5)
    assert seen(pending.finish()) == ACCEPT
    assert "trying again" in front.new_errors()
    assert stage.responder.count(peer.place) == 1
    assert seen(front.get("strict")) == ACCEPT  # nothing is left counted as in use or failed


def test_a_peer_that_always_closes_is_given_up(stage):
    """Trying again after a wait for revocation has an end."""
    peer = stage.peer("hasty", ocsp="good", options={"extra": "client_header_timeout 100ms;"})
    stage.responder.place(peer.place, BEHAVIOURS["good"].but(delay_s=0.4))
    stage.open()
    front = stage.stream({"strict": server(peer, strict=True, policy={
        "ocsp_nonce": "on", "revocation_scope": "leaf"})})
    assert front.get("strict").status is None
    assert stage.responder.count(peer.place) <= 3


def test_hanging_responder_is_bounded_by_the_total(stage):
    peer = stage.peer("silent", ocsp="silent silent", issuer="silent_issuing",
                      serve="leaf silent_issuing intermediate")
    stage.open()
    front = stage.stream({"strict": server(peer, strict=True, policy={
        "fetch_timeout_ms": "60000", "fetch_total_ms": "700"})})
    answer = front.get("strict")
    assert seen(answer) == rejected("fetch.timeout")
    assert answer.seconds < 10


def test_connect_timeout_does_not_cut_a_fetch_short(stage):
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front = stage.stream({"strict": server(
        peer, strict=True, extra="    proxy_connect_timeout 500ms;\n",
        policy={"fetch_timeout_ms": "8000"})})
    pending = Pending(stage, peer, front)
    time.sleep(1.2)
    assert seen(pending.finish()) == ACCEPT


# ---- after the verdict -------------------------------------------------------------


@pytest.mark.parametrize("strict", ["off", "report", True], ids=["lax", "report", "strict"])
def test_renegotiation(strict, stage, tmp_path):
    """Stock nginx lets a TLS 1.2 peer renegotiate with whatever certificate; only strict does not."""
    peer = stage.peer("good")
    stage.open()
    with RenegotiatingServer(tmp_path, peer.backend.chain, peer.backend.key) as backend:
        front = stage.stream({"strict": server(peer, strict=strict, target=backend.address,
                                               protocols="TLSv1.2",
                                               policy={"revocation": "off"})})
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(front.get, "strict")
            backend.wait_for_request()
            backend.renegotiate()
            backend.answer()
            answer = pending.result(net.PATIENCE_S)
    assert backend.renegotiated() == (strict is not True)
    assert answer.status == (200 if strict is not True else None)
