"""Fetching OCSP answers: bounded, shared, cached, refreshed, and never in anybody's way."""
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab import crl, fronts, net
from tests.lab.dns import Dns
from tests.lab.forward_proxy import ForwardProxy
from tests.lab.fronts import ALIVE
from tests.lab.responder import BEHAVIOURS, Behaviour, said
from tests.lab.verdicts import ACCEPT, verdict

RESPONDER = "responder.lab.test"


def named_peer(stage, name="named", host=RESPONDER):
    """A peer whose leaf names its responder by a host name."""
    stage.responder.place(f"leaf_{name}", "good")
    return stage.peer(name, ocsp=f"http://{host}:{stage.responder.port}/leaf_{name}")


STATUS = "location /status { strict_tls_status; }\n"


def figure(port, name):
    return json.loads(net.get(port, "/status.json").text)["figures"][name]


# ---- where a responder is -----------------------------------------------------


@pytest.mark.parametrize("names, policy, expected", [
    ({RESPONDER: "127.0.0.1"}, {}, ACCEPT),
    ({}, {}, ("reject", "fetch.network")),
    ({RESPONDER: None}, {}, ("reject", "fetch.timeout")),
    ({RESPONDER: "127.0.0.1"}, {"fetch_deny": "loopback"}, ("reject", "fetch.denied")),
], ids=["found", "not found", "silent", "denied"])
def test_resolver(names, policy, expected, stage):
    peer = named_peer(stage)
    stage.open()
    with Dns(names) as dns:
        _, port = stage.front(
            [fronts.location("/", peer, strict=True, policy=policy)],
            server=f"resolver {net.HOST}:{dns.port} ipv6=off;\nresolver_timeout 400ms;\n")
        answer = net.get(port)
    assert verdict(answer) == expected
    assert RESPONDER in dns.asked
    assert stage.responder.count(peer.place) == (expected == ACCEPT)
    assert answer.seconds < 30


def test_an_address_needs_no_resolver(stage):
    peer = stage.peer("good")
    stage.open()
    with Dns({}) as dns:
        _, port = stage.front([fronts.location("/", peer, strict=True)],
                              server=f"resolver {net.HOST}:{dns.port};\n")
        assert verdict(net.get(port)) == ACCEPT
    assert dns.asked == []


@pytest.mark.parametrize("deny, expected", [
    ("none", ACCEPT),
    ("link-local,private", ACCEPT),
    ("loopback", ("reject", "fetch.denied")),
    ("loopback,link-local", ("reject", "fetch.denied")),
])
def test_fetch_deny(deny, expected, stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True,
                                           policy={"fetch_deny": deny,
                                                   "revocation_scope": "leaf"})])
    assert verdict(net.get(port)) == expected
    assert stage.responder.count(peer.place) == (expected == ACCEPT)


@pytest.mark.parametrize("url", [
    "http://0.0.0.0:{port}/leaf_{name}",
    "http://[::1]:{port}/leaf_{name}",
    "http://[::ffff:127.0.0.1]:{port}/leaf_{name}",
    "http://[64:ff9b::7f00:1]:{port}/leaf_{name}",
    "http://169.254.169.254/latest/meta-data",
    "http://224.0.0.1/x",
])
def test_fetch_deny_sees_through_disguises(url, stage):
    url = url.format(port=stage.responder.port, name="sly")
    peer = stage.peer("sly", ocsp=url)
    stage.open()
    _, port = stage.front([fronts.location(
        "/", peer, strict=True, policy={"fetch_deny": "loopback,link-local",
                                        "revocation_scope": "leaf"})])
    answer = net.get(port)
    assert verdict(answer) == ("reject", "fetch.denied")
    assert stage.responder.count("leaf_sly") == 0


@pytest.mark.parametrize("url", [
    "https://127.0.0.1/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "ldap://127.0.0.1/x",
    "http://", "http://127.0.0.1:99999/", "http://user:secret@127.0.0.1/x", "url:nonsense"])
def test_other_urls_are_not_fetched(url, stage):
    peer = stage.peer("odd", ocsp=url)
    stage.open()
    front, port = stage.front([fronts.location("/", peer, strict=True,
                                               policy={"revocation_scope": "leaf"})])
    answer = net.get(port)
    assert answer.status == 502
    assert verdict(answer)[1].split(".")[0] in ("fetch", "revocation")
    assert front.alive()


# ---- through a proxy ---------------------------------------------------------------


@pytest.mark.parametrize("policy, method", [({}, "GET"), ({"ocsp_nonce": "on"}, "POST")])
def test_http_proxy(policy, method, stage):
    """The proxy resolves the name, this host need not."""
    peer = named_peer(stage)
    stage.open()
    with ForwardProxy({RESPONDER: net.HOST, net.HOST: net.HOST}) as proxy:
        _, port = stage.front([fronts.location(
            "/", peer, strict=True, policy={**policy, "revocation_scope": "leaf"},
            extra=f"    strict_tls_http_proxy {net.HOST}:{proxy.port};\n")])
        assert verdict(net.get(port)) == ACCEPT
    assert [target.startswith(f"http://{RESPONDER}:{stage.responder.port}/")
            for target in proxy.asked] == [True]
    assert stage.responder.count(peer.place, method) == 1


def test_http_proxy_refuses(stage):
    peer = named_peer(stage)
    stage.open()
    _, port = stage.front([fronts.location(
        "/", peer, strict=True,
        extra=f"    strict_tls_http_proxy {net.HOST}:{stage.lab.refusing.port};\n")])
    assert verdict(net.get(port)) == ("reject", "fetch.network")


def test_http_proxy_fails(stage):
    peer = named_peer(stage)
    stage.open()
    with ForwardProxy({}) as proxy:
        _, port = stage.front([fronts.location(
            "/", peer, strict=True,
            extra=f"    strict_tls_http_proxy {net.HOST}:{proxy.port};\n")])
        assert verdict(net.get(port)) == ("reject", "fetch.http")


@pytest.mark.parametrize("alive", [False, True], ids=["resumed", "kept_alive"])
@pytest.mark.parametrize("way", ["resolver", "http_proxy"])
def test_another_way_is_another_verdict(way, alive, stage):
    """Connections that soft revocation let pass on a broken way are none for others."""
    peer = named_peer(stage)
    stage.responder.place(peer.place, "revoked")
    stage.open()
    with Dns({}) as lost, Dns({RESPONDER: net.HOST}) as dns:
        resolver = f"    resolver {net.HOST}:{{}} ipv6=off;\n"
        broken = {"resolver": resolver.format(lost.port),
                  "http_proxy": f"    strict_tls_http_proxy {net.HOST}:"
                                f"{stage.lab.refusing.port};\n"}[way]
        _, port = stage.front(
            [fronts.location(path, peer, strict=True, target="pool",
                             policy={"revocation": "soft", "revocation_scope": "leaf"},
                             extra=extra + (ALIVE if alive else ""))
             for path, extra in (("/broken", broken), ("/direct", ""))],
            server=resolver.format(dns.port), http=fronts.keepalive_pool(peer))
        assert [verdict(net.get(port, "/broken")) for _ in range(2)] == [ACCEPT] * 2
        assert verdict(net.get(port, "/direct")) == ("reject", "ocsp.revoked")


# ---- how often -------------------------------------------------------------------


def test_single_flight_across_workers(stage):
    """Four workers, many handshakes, one question each: each is asked once."""
    stage.responder.place("leaf_held_ca", "good")
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front, port = stage.front(
        [fronts.location("/", peer, strict=True,
                         extra="    add_header X-Worker $pid always;\n" + fronts.STRICT_HEADERS,
                         policy={"fetch_timeout_ms": "10000"})],
        workers=4, listen="reuseport")
    with ThreadPoolExecutor(48) as pool:
        pending = [pool.submit(net.get, port) for _ in range(48)]
        net.wait_until(lambda: stage.responder.count(peer.place), "the responder to be asked")
        # Every request has reached its backend connection and waits.
        net.wait_until(lambda: waiting_handshakes(peer) >= 48, "all handshakes to wait")
        stage.responder.release(peer.place)
        answers = [answer.result(net.PATIENCE_S) for answer in pending]
    assert [(answer.status, *verdict(answer)) for answer in answers] == [(200, *ACCEPT)] * 48
    assert len({answer.headers["x-worker"] for answer in answers}) == 4
    assert stage.responder.count(peer.place) == 1


def waiting_handshakes(peer):
    """Established connections to the peer's port, from the kernel's table."""
    port = f":{peer.backend.port:04X}"
    lines = open("/proc/net/tcp").read().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(remote.endswith(port) and state == "01" for _, _, remote, state, *_ in fields)


def test_an_answer_is_shared_by_workers_and_policies(stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front(
        [fronts.location(f"/{word}", peer, strict=True, policy={"chain_root": word})
         for word in ("allow", "forbid")], workers=4, listen="reuseport")
    for word in ("allow", "forbid") * 12:
        assert verdict(net.get(port, f"/{word}")) == ACCEPT
    assert stage.responder.count(peer.place) == 1


def asking_worker(front, responder):
    """The worker that has a connection to the responder, by the kernel's tables."""
    port = f":{responder.port:04X}"
    fields = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    inodes = {f"socket:[{line[9]}]" for line in fields
              if line[2].endswith(port) and line[3] == "01"}
    for pid in front.worker_pids():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(fd) in inodes:
                return pid
    return None


def test_a_lease_ends_with_its_holder(stage):
    """A worker that dies while it asks does not hold the question: another one asks at once."""
    peer = stage.peer("held")
    stage.responder.place(peer.place, BEHAVIOURS["hold"].but(after=1, then=BEHAVIOURS["good"]))
    stage.open()
    front, port = stage.front(
        [fronts.location("/", peer, strict=True, policy={
            "revocation_scope": "leaf", "fetch_timeout_ms": "60000", "fetch_total_ms": "60000"})],
        workers=2, listen="reuseport")

    def asked():
        try:
            return verdict(net.get(port))
        except OSError:  # of the worker that was killed
            return None

    with ThreadPoolExecutor(16) as pool:
        pending = [pool.submit(asked) for _ in range(16)]
        net.wait_until(lambda: waiting_handshakes(peer) >= 16, "all to wait", 20)
        net.wait_until(lambda: stage.responder.count(peer.place), "the question")
        os.kill(net.wait_until(lambda: asking_worker(front, stage.responder), "who asks"),
                signal.SIGKILL)
        stage.responder.release(peer.place)
        # Sooner than the lease of a minute, and than what a client here waits.
        answers = [one.result(net.PATIENCE_S) for one in pending]
        net.wait_until(lambda: verdict(net.get(port)) == ACCEPT, "an answer", 20)
    assert ACCEPT in answers
    assert stage.responder.count(peer.place) == 2


def test_each_peer_is_one_of_max_verdicts(stage):
    peers = [stage.peer(f"good{number}") for number in range(8)]
    stage.open()
    _, port = stage.front(
        [STATUS] + [fronts.location(f"/{number}", peer, strict=True,
                                    extra="    proxy_ssl_session_reuse off;\n",
                                    policy={"revocation_scope": "leaf"})
                    for number, peer in enumerate(peers)],
        http="strict_tls_max_verdicts 8;\n")
    for number in range(8):
        assert verdict(net.get(port, f"/{number}")) == ACCEPT
    assert figure(port, "verdict_cache_hits_total") == 0
    for number in range(8):
        assert verdict(net.get(port, f"/{number}")) == ACCEPT
    assert figure(port, "verdict_cache_hits_total") == 8
    assert figure(port, "verdict_cache_entries") == 8


def test_a_full_zone_is_told(stage):
    """Answers that had to go before their time are counted, and the log says so once."""
    peers = [stage.peer(f"good{number}", ocsp="delegated") for number in range(90)]
    stage.open()
    front, port = stage.front(
        [STATUS] + [fronts.location(f"/{number}", peer, strict=True,
                                    policy={"revocation_scope": "leaf"})
                    for number, peer in enumerate(peers)],
        http="strict_tls_cache_zone small 128k;\n")
    assert verdict(net.get(port, "/0")) == ACCEPT
    assert figure(port, "answers_evicted_total") == 0
    assert "strict_tls_cache_zone is full" not in front.errors()
    for number in range(90):
        assert verdict(net.get(port, f"/{number}")) == ACCEPT
    assert figure(port, "answers_evicted_total") > 1
    assert front.errors().count("strict_tls_cache_zone is full") == 1


def test_failures_are_cached_briefly(stage):
    peer = stage.peer("failing", ocsp="http_500")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True,
                                           policy={"negative_ttl_s": "2"})])
    for _ in range(4):
        assert verdict(net.get(port)) == ("reject", "fetch.http")
    assert stage.responder.count(peer.place) == 1
    stage.responder.place(peer.place, "good")
    time.sleep(3.1)  # the clock of verdicts counts whole seconds
    assert verdict(net.get(port)) == ACCEPT


def test_no_negative_cache(stage):
    peer = stage.peer("failing", ocsp="http_500")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True,
                                           policy={"negative_ttl_s": "0"})])
    assert verdict(net.get(port)) == ("reject", "fetch.http")
    stage.responder.place(peer.place, "good")
    time.sleep(1.1)
    assert verdict(net.get(port)) == ACCEPT


def test_a_nonce_goes_round_the_caches(stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([
        fronts.location("/plain", peer, strict=True),
        fronts.location("/nonce", peer, strict=True,
                        policy={"ocsp_nonce": "on", "revocation_scope": "leaf"})])
    assert verdict(net.get(port, "/plain")) == ACCEPT
    for number in range(1, 4):
        assert verdict(net.get(port, "/nonce")) == ACCEPT
    assert stage.responder.count(peer.place, "GET") == 1
    # At least one: a resumed session rests on the verdict of the connection it came from.
    assert stage.responder.count(peer.place, "POST") >= 1


def test_nothing_is_fetched_for_a_chain_that_is_not_trusted(stage):
    """Otherwise whoever presents a certificate chooses where this host connects."""
    peer = stage.peer("stranger", issuer="stranger_issuing", serve="leaf stranger_issuing stranger",
                      ocsp=" ".join(["good"] * 3))
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True),
                           fronts.location("/report", peer, strict="report")])
    assert verdict(net.get(port)) == ("reject", "chain.untrusted")
    assert verdict(net.get(port, "/report")) == ("would_reject", "chain.untrusted")
    assert stage.responder.hits == []


# ---- refreshing --------------------------------------------------------------------

# Due for a refresh after three seconds.
SHORT = said(this_update_s=0, next_update_s=6)
FRESH = said(this_update_s=0, next_update_s=24 * 3600)
REVOKED = said(status="revoked", this_update_s=0, next_update_s=24 * 3600)
EXACT = {"clock_skew_s": "0", "fetch_timeout_ms": "5000", "verdict_max_age_s": "3600"}


def test_background_refresh(stage):
    """Past half of its life an answer is renewed, and nobody waits for that."""
    peer = stage.peer("ageing")
    stage.responder.place(peer.place, SHORT.but(after=1, then=FRESH.but(manner="hold")))
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, policy=EXACT)])
    started = time.monotonic()
    while time.monotonic() - started < 9:
        is_held = stage.responder.count(peer.place) == 2
        assert verdict(net.get(port)) == ACCEPT
        if is_held:  # this request did not wait for the new answer
            stage.responder.release(peer.place)
        time.sleep(0.1)
    # The new one is young: no more refreshes.
    assert stage.responder.count(peer.place) == 2
    second = [hit for hit in stage.responder.hits if hit.place == peer.place][1]
    assert 2 < second.at_s - started < 6


def test_a_failed_refresh_does_no_harm(stage):
    peer = stage.peer("ageing")
    stage.responder.place(peer.place, SHORT.but(after=1, then=BEHAVIOURS["http_500"]))
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, policy=EXACT)])
    started = time.monotonic()
    while time.monotonic() - started < 5:
        assert verdict(net.get(port)) == ACCEPT
        time.sleep(0.1)
    # The failing responder is left in peace for a while.
    assert stage.responder.count(peer.place) == 2
    time.sleep(2.5)
    # And what has run out is not served on.
    assert verdict(net.get(port)) == ("reject", "fetch.http")


@pytest.mark.parametrize("manner", ["resumed", "alive", "fresh"])
def test_a_refresh_that_learns_revoked_drops_what_rested_on_it(manner, stage):
    """Verdicts of all workers, their sessions and their idle connections."""
    peer = stage.peer("ageing")
    stage.responder.place(peer.place, said(this_update_s=0, next_update_s=12).but(
        after=1, then=REVOKED))
    stage.open()
    extra = {"resumed": "", "alive": ALIVE, "fresh": "    proxy_ssl_session_reuse off;\n"}[manner]
    _, port = stage.front(
        [fronts.location("/", peer, strict=True, target="pool", policy=EXACT,
                         extra=extra + "    add_header X-Worker $pid always;\n"
                         + fronts.STRICT_HEADERS)],
        http=f"upstream pool {{ server {peer.backend.address}; keepalive 4; }}\n", workers=3,
        listen="reuseport")

    def ask_all():
        """What each worker says now; connections of clients spread over them."""
        seen = {}
        for _ in range(60):
            answer = net.get(port)
            seen[answer.headers["x-worker"]] = verdict(answer)
            if len(seen) == 3:
                return seen
        raise AssertionError(f"only {len(seen)} workers answered")

    assert set(ask_all().values()) == {ACCEPT}
    assert stage.responder.count(peer.place) == 1
    net.wait_until(lambda: ask_all() and stage.responder.count(peer.place) == 2, "the refresh",
                   15)
    time.sleep(0.3)
    # Long before the first answer runs out.
    for _ in range(4):
        assert set(ask_all().values()) == {("reject", "ocsp.revoked")}


# ---- past its time, within stale_grace_s ------------------------------------------

GRACE = {"revocation_scope": "leaf", "short_lived_s": "0", "clock_skew_s": "0",
         "stale_grace_s": "3600", "negative_ttl_s": "1"}


def in_grace(source, later, stage, server):
    """(peer, policy, how often it was asked) of a source that has an answer past its time.

    later: what it says from the second question on; None: nothing.
    """
    if source == "crl":
        peer = stage.peer("ageing", ocsp="none", extra=[crl.point(server.url("a.crl"))])
        issuer = stage.lab.pki["issuing"]
        server.files["a.crl"] = crl.build(issuer, this_update_s=-7200, next_update_s=3)

        def turn():
            if later is None:
                del server.files["a.crl"]
            else:
                server.files["a.crl"] = crl.build(
                    issuer, [peer.leaf.serial] if later == "revoked" else [])
        return peer, {**GRACE, "revocation_sources": "crl"}, turn, lambda: server.counts["a.crl"]
    peer = stage.peer("ageing")
    first = said(this_update_s=-7200, next_update_s=3)
    stage.responder.place(peer.place, first)

    def turn():
        stage.responder.place(peer.place, later or "http_500")
    return (peer, {**GRACE, "revocation_sources": "ocsp"}, turn,
            lambda: stage.responder.count(peer.place))


@pytest.mark.parametrize("kind", ["http", "stream"])
@pytest.mark.parametrize("source", ["ocsp", "crl"])
@pytest.mark.parametrize("later, expected", [
    ("revoked", "reject"), ("good", "accept"), (None, "accept")])
def test_grace_asks_the_network_first(later, expected, source, kind, stage):
    """An answer past its time serves only where no newer one is to be had."""
    with crl.CrlServer() as server:
        peer, policy, turn, count = in_grace(source, later, stage, server)
        stage.open()
        _, ask = stage.either(kind, {"peer": (peer, policy)}, workers=2)
        assert ask("peer") == ACCEPT
        turn()
        time.sleep(4.5)  # past its time, and past a failure that is remembered
        before, started = count(), time.monotonic()
        for _ in range(30):
            assert ask("peer")[0] == expected
            time.sleep(0.1)
        asked = count() - before
        # In grace once in negative_ttl_s; a newer answer has a life of its own.
        assert 1 <= asked <= (2 if later else time.monotonic() - started + 2)


@pytest.mark.parametrize("how", ["resumed", "alive"])
def test_grace_ends_with_what_rests_on_it(how, stage):
    """Neither a session nor a kept connection outlives the second that a graced verdict lives."""
    peer = stage.peer("ageing")
    stage.responder.place(peer.place, said(this_update_s=-7200, next_update_s=3))
    stage.open()
    extra = {"resumed": "", "alive": ALIVE}[how]
    _, port = stage.front([fronts.location("/", peer, strict=True, target="pool", extra=extra,
                                           policy={**GRACE, "revocation_sources": "ocsp"})],
                          http=fronts.keepalive_pool(peer))
    assert verdict(net.get(port)) == ACCEPT
    stage.responder.place(peer.place, "http_500")
    time.sleep(4.5)
    for _ in range(5):
        assert verdict(net.get(port)) == ACCEPT
    stage.responder.place(peer.place, "revoked")
    time.sleep(2.5)
    for _ in range(5):
        assert verdict(net.get(port)) == ("reject", "ocsp.revoked")


# ---- faults -----------------------------------------------------------------------------

TIMEOUT = {"fetch_timeout_ms": "600", "fetch_total_ms": "1500", "revocation_scope": "leaf"}
FAULTS = [
    ("late", Behaviour(delay_s=5.0), "fetch.timeout"),
    ("silent", "silent", "fetch.timeout"),
    ("close", "close", "fetch."),
    ("reset", "reset", "fetch."),
    ("cut", "cut", "fetch."),
    ("oversize", "oversize", "fetch.too_large"),
    ("gigabytes", Behaviour(manner="oversize", size=8 * 2**30), "fetch.too_large"),
    ("endless", "endless", "fetch.too_large"),
    ("endless_header", "endless_header", "fetch.too_large"),
    ("two_lengths", "two_lengths", "fetch.http"),
    ("length_and_chunks", "length_and_chunks", "fetch.http"),
    ("negative_chunk", "negative_chunk", "fetch.http"),
    ("drip", "drip", "fetch.timeout"),
    ("not_http", "not_http", "fetch.http"),
    ("http_404", "http_404", "fetch.http"),
    ("http_500", "http_500", "fetch.http"),
    ("redirect", "redirect", "fetch.http"),
]


@pytest.mark.parametrize("name, behaviour, reason", FAULTS, ids=[fault[0] for fault in FAULTS])
def test_faults_are_bounded(name, behaviour, reason, stage):
    """Each a clear reason, in bounded time and memory, and the worker lives on."""
    peer = stage.peer("faulty")
    good = stage.peer("good")
    stage.responder.place(peer.place, behaviour)
    stage.open()
    # Short only where nothing else ends the fetch.
    policy = TIMEOUT if reason == "fetch.timeout" else {"revocation_scope": "leaf"}
    front, port = stage.front([fronts.location("/", peer, strict=True, policy=policy),
                               fronts.location("/good", good, strict=True)])
    assert net.get(port, "/good").status == 200
    workers, before = front.worker_pids(), front.rss_kib()
    answer = net.get(port)
    assert answer.seconds < 30
    assert answer.status == 502
    assert verdict(answer)[1].startswith(reason)
    assert front.worker_pids() == workers
    assert front.rss_kib() - before < 4096
    assert net.get(port, "/good").status == 200


def test_a_worker_never_blocks(stage):
    """While a responder hangs, one worker goes on answering everything else."""
    hung, good = stage.peer("hung", ocsp="hold"), stage.peer("good")
    stage.open()
    _, port = stage.front([
        fronts.location("/hung", hung, strict=True, policy={
            "fetch_timeout_ms": "60000", "fetch_total_ms": "60000"}),
        fronts.location("/good", good, strict=True),
        "location = /local { return 200 local; }\n"])
    assert net.get(port, "/good").status == 200
    with ThreadPoolExecutor(20) as pool:
        pending = [pool.submit(net.get, port, "/hung") for _ in range(20)]
        net.wait_until(lambda: stage.responder.count(hung.place), "the responder to be asked")
        others = [net.get(port, path) for path in ("/local", "/good") * 50]
        assert not any(one.done() for one in pending)
        stage.responder.release(hung.place)
        answers = [one.result(net.PATIENCE_S) for one in pending]
    assert {answer.status for answer in others} == {200}
    assert {verdict(answer) for answer in answers} == {ACCEPT}


def test_slow_dns_does_not_block(stage):
    named, good = named_peer(stage), stage.peer("good")
    stage.open()
    with Dns({RESPONDER: None}) as dns, ThreadPoolExecutor(4) as pool:
        _, port = stage.front([fronts.location("/hung", named, strict=True,
                                               policy={"fetch_timeout_ms": "6000"}),
                               fronts.location("/good", good, strict=True)],
                              server=f"resolver {net.HOST}:{dns.port} ipv6=off;\n")
        pending = [pool.submit(net.get, port, "/hung") for _ in range(4)]
        net.wait_until(lambda: dns.asked, "the resolver to be asked")
        others = [net.get(port, "/good") for _ in range(20)]
        assert not any(one.done() for one in pending)
        answers = [one.result(net.PATIENCE_S) for one in pending]
    assert {answer.status for answer in others} == {200}
    assert {verdict(answer) for answer in answers} == {("reject", "fetch.timeout")}


FEW = {"revocation_scope": "leaf", "fetch_timeout_ms": "20000", "fetch_total_ms": "20000",
       "max_fetches_in_flight": "2"}


def test_max_fetches_in_flight(stage):
    """Beyond the bound a fetch waits for a place, and nobody is refused for that."""
    peers = [stage.peer(f"held{number}", ocsp="hold") for number in range(6)]
    stage.open()
    _, port = stage.front([STATUS] + [
        fronts.location(f"/{number}", peer, strict=True, policy=FEW)
        for number, peer in enumerate(peers)])
    with ThreadPoolExecutor(6) as pool:
        pending = [pool.submit(net.get, port, f"/{number}") for number in range(6)]
        net.wait_until(lambda: figure(port, "fetches_waiting") == 4, "the others to wait", 20)
        assert figure(port, "fetches_in_flight") == 2
        assert sum(stage.responder.count(peer.place) for peer in peers) == 2
        for peer in peers:
            stage.responder.release(peer.place)
        assert [verdict(one.result(net.PATIENCE_S)) for one in pending] == [ACCEPT] * 6
    assert [stage.responder.count(peer.place) for peer in peers] == [1] * 6
    assert figure(port, "fetches_waiting") == figure(port, "fetches_in_flight") == 0


@pytest.mark.parametrize("kind", ["http", "stream"])
@pytest.mark.parametrize("policy", [
    {}, {"revocation": "soft"}, {"ocsp_network_error": "tolerate"}], ids=str)
def test_no_place_is_no_answer(policy, kind, stage):
    """Whose time ends in the queue is refused under any policy, and nothing is remembered of it."""
    held = stage.peer("held", ocsp="hold")
    late = stage.peer("late", ocsp="revoked")
    stage.open()
    one = {**FEW, "max_fetches_in_flight": "1"}
    _, ask = stage.either(kind, {
        "held": (held, one), "late": (late, {**one, **policy, "fetch_total_ms": "1000"})})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, "held")
        net.wait_until(lambda: stage.responder.count(held.place), "the question", 20)
        assert ask("late") == ("reject", "fetch.denied")
        assert stage.responder.count(late.place) == 0
        stage.responder.release(held.place)
        assert first.result(net.PATIENCE_S) == ACCEPT
    assert ask("late") == ("reject", "ocsp.revoked")


@pytest.mark.parametrize("kind", ["http", "stream"])
@pytest.mark.parametrize("policy", [
    {}, {"revocation": "soft"}, {"ocsp_network_error": "tolerate"}], ids=str)
def test_no_place_is_no_answer_for_all_who_wait(policy, kind, stage):
    """Those who wait for the verdict of one whose time ends in the queue were not answered either."""
    held = stage.peer("held", ocsp="hold")
    late = stage.peer("late", ocsp="revoked")
    stage.open()
    one = {**FEW, "max_fetches_in_flight": "1"}
    _, ask = stage.either(kind, {
        "held": (held, one), "late": (late, {**one, **policy, "fetch_total_ms": "2000"})})
    with ThreadPoolExecutor(40) as pool:
        first = pool.submit(ask, "held")
        net.wait_until(lambda: stage.responder.count(held.place), "the question", 20)
        assert set(pool.map(ask, ["late"] * 39)) == {("reject", "fetch.denied")}
        assert stage.responder.count(late.place) == 0
        stage.responder.release(held.place)
        assert first.result(net.PATIENCE_S) == ACCEPT
    assert ask("late") == ("reject", "ocsp.revoked")


def test_a_hanging_responder_does_not_take_all_places(stage):
    """Of 4 places it gets 3, and whoever asks elsewhere does not wait for it."""
    hung = [stage.peer(f"hung{number}", ocsp="hold") for number in range(8)]
    good = [named_peer(stage, f"good{number}") for number in range(3)]
    policy = {**FEW, "max_fetches_in_flight": "4"}
    stage.open()
    with Dns({RESPONDER: net.HOST}) as dns, ThreadPoolExecutor(8) as pool:
        _, port = stage.front(
            [STATUS] + [fronts.location(f"/{kind}{number}", peer, strict=True, policy=policy)
                        for kind, peers in (("hung", hung), ("good", good))
                        for number, peer in enumerate(peers)],
            server=f"resolver {net.HOST}:{dns.port} ipv6=off;\n")
        pending = [pool.submit(net.get, port, f"/hung{number}") for number in range(8)]
        net.wait_until(lambda: figure(port, "fetches_waiting") == 5, "the others to wait", 20)
        for number in range(3):
            assert verdict(net.get(port, f"/good{number}")) == ACCEPT
        assert sum(stage.responder.count(peer.place) for peer in hung) == 3
        for peer in hung:
            stage.responder.release(peer.place)
        assert {verdict(one.result(net.PATIENCE_S)) for one in pending} == {ACCEPT}


def test_whoever_goes_away_leaves_the_queue(stage):
    held = [stage.peer(f"held{number}", ocsp="hold") for number in range(4)]
    stage.open()
    _, port = stage.front([STATUS] + [
        fronts.location(f"/{number}", peer, strict=True, policy=FEW)
        for number, peer in enumerate(held)])
    clients = [socket.create_connection((net.HOST, port)) for _ in held]
    for number, client in enumerate(clients):
        client.sendall(f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        net.wait_until(lambda: figure(port, "fetches_waiting") + figure(port, "fetches_in_flight")
                       == number + 1, "the fetch", 20)
    for client in clients[2:]:
        client.close()
    net.wait_until(lambda: figure(port, "fetches_waiting") == 0, "an empty queue", 20)
    for peer in held:
        stage.responder.release(peer.place)
    net.wait_until(lambda: figure(port, "fetches_in_flight") == 0, "the end", 20)
    for client in clients[:2]:
        client.close()
    assert [stage.responder.count(peer.place) for peer in held] == [1, 1, 0, 0]


@pytest.mark.parametrize("kind", ["http", "stream"])
@pytest.mark.parametrize("policy", [
    {}, {"revocation": "soft"}, {"ocsp_network_error": "tolerate"}], ids=str)
@pytest.mark.parametrize("host", ["address", "name"])
def test_no_descriptor_is_no_answer(host, policy, kind, stage, faults):
    """Nobody was asked, so that no policy passes over it; it is over when the trouble is."""
    peer = (stage.peer("revoked", ocsp="revoked") if host == "address"
            else named_peer(stage, "revoked"))
    stage.responder.place(peer.place, "revoked")
    stage.open()
    with Dns({RESPONDER: net.HOST}) as dns:
        text = f"resolver {net.HOST}:{dns.port} ipv6=off;\n"
        resolver = {"server": text} if kind == "http" else {"extra": text}
        front, ask = stage.either(kind, {"peer": (peer, {"revocation_scope": "leaf", **policy})},
                                  wrap=faults.wrap, **resolver)
        faults.start("socket", 1)  # that to the peer
        assert ask("peer") == ("reject", "fetch.denied")
        faults.stop()
        assert ask("peer") == ("reject", "ocsp.revoked")


def test_many_handshakes_with_one_peer_are_one_check(stage):
    """The first one's verdict serves all that wait for the same."""
    peer, bad = stage.peer("held", ocsp="hold"), stage.peer("bad")
    stage.responder.place(bad.place, BEHAVIOURS["hold"].but(
        answer=BEHAVIOURS["revoked"].answer))
    stage.open()
    policy = {"revocation_scope": "leaf", "fetch_timeout_ms": "20000", "fetch_total_ms": "20000"}
    _, port = stage.front([STATUS, fronts.location("/good", peer, strict=True, policy=policy),
                           fronts.location("/bad", bad, strict=True, policy=policy)])
    for path, place, expected in (("/good", peer, ACCEPT),
                                  ("/bad", bad, ("reject", "ocsp.revoked"))):
        shared = figure(port, "verdicts_shared_total")
        with ThreadPoolExecutor(40) as pool:
            pending = [pool.submit(net.get, port, path) for _ in range(40)]
            net.wait_until(lambda: waiting_handshakes(place) >= 40, "all to wait", 20)
            time.sleep(0.3)  # for the handshakes' end
            stage.responder.release(place.place)
            assert {verdict(one.result(net.PATIENCE_S)) for one in pending} == {expected}
        assert figure(port, "verdicts_shared_total") - shared == 39
        assert stage.responder.count(place.place) == 1


@pytest.mark.parametrize("kind", ["good", "revoked"])
def test_a_worker_that_shuts_down_tells_all_who_wait(kind, stage):
    """It has more of them than it tells in one turn, and nothing else to wait for."""
    peer = stage.peer("held")
    stage.responder.place(peer.place, BEHAVIOURS["hold"].but(answer=BEHAVIOURS[kind].answer))
    stage.open()
    front, port = stage.front([fronts.location("/", peer, strict=True, policy={
        "revocation_scope": "leaf", "fetch_timeout_ms": "20000", "fetch_total_ms": "20000"})],
        start=False)
    text = front.conf.read_text()
    front.conf.write_text(text.replace("worker_shutdown_timeout 5s;", ""))
    front.start([port])
    with ThreadPoolExecutor(40) as pool:
        pending = [pool.submit(net.get, port) for _ in range(40)]
        net.wait_until(lambda: waiting_handshakes(peer) >= 40, "all to wait", 20)
        time.sleep(0.3)  # for the handshakes' end
        front.reload()
        stage.responder.release(peer.place)
        assert {verdict(one.result(net.PATIENCE_S)) for one in pending} == {
            ACCEPT if kind == "good" else ("reject", "ocsp.revoked")}
    assert stage.responder.count(peer.place) == 1


def test_the_first_one_goes_away(stage):
    """Those that follow its check get their verdict all the same."""
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, policy={
        "revocation_scope": "leaf", "fetch_timeout_ms": "20000", "fetch_total_ms": "20000"})])
    first = socket.create_connection((net.HOST, port))
    first.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    net.wait_until(lambda: stage.responder.count(peer.place), "the question", 20)
    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(net.get, port) for _ in range(4)]
        net.wait_until(lambda: waiting_handshakes(peer) >= 5, "all to wait", 20)
        time.sleep(0.3)
        first.close()
        time.sleep(0.3)
        stage.responder.release(peer.place)
        assert {verdict(one.result(net.PATIENCE_S)) for one in pending} == {ACCEPT}
    assert stage.responder.count(peer.place) == 1


@pytest.mark.parametrize("behaviour", ["http_1_0", "chunked", "until_close", "late", "text", "interim"])
def test_manners_that_are_fine(behaviour, stage):
    peer = stage.peer("peer", ocsp=behaviour)
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True,
                                           policy={"fetch_timeout_ms": "3000"})])
    assert verdict(net.get(port)) == ACCEPT


@pytest.mark.parametrize("kind", ["http", "stream"])
def test_a_fetch_that_is_cut_short_says_nothing(kind, stage):
    """What was left of the total time was too little: neither the responder's fault nor the peer's."""
    stage.responder.place("slow", BEHAVIOURS["good"].but(delay_s=1.5))
    peer = stage.peer("cut", ocsp=f"silent {stage.responder.url('slow')}")
    stage.open()
    _, ask = stage.either(kind, {"peer": (peer, {
        "revocation_scope": "leaf", "fetch_timeout_ms": "2500", "fetch_total_ms": "3000"})})
    assert ask("peer") == ("reject", "fetch.timeout")
    # The silent one had all its time, and is known to be silent; the other one has time now.
    assert ask("peer") == ACCEPT
    assert stage.responder.count(peer.place) == 1


@pytest.mark.parametrize("kind", ["http", "stream"])
@pytest.mark.parametrize("policy", [{}, {"revocation": "soft"}], ids=str)
@pytest.mark.parametrize("answer, expected", [
    ("good", ACCEPT), ("revoked", ("reject", "ocsp.revoked"))])
def test_an_answer_in_the_last_moment_counts(answer, expected, policy, kind, stage, faults):
    """A worker that was held up finds the answer and the end of the time at once."""
    peer = stage.peer("held")
    stage.responder.place(peer.place, BEHAVIOURS["hold"].but(answer=BEHAVIOURS[answer].answer))
    stage.open()
    front, ask = stage.either(kind, {"peer": (peer, {
        "revocation_scope": "leaf", "fetch_timeout_ms": "3000", "fetch_total_ms": "3000",
        **policy})}, wrap=faults.wrap)
    (worker,) = front.worker_pids()
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(ask, "peer")
        net.wait_until(lambda: stage.responder.count(peer.place), "the question", 20)
        faults.start("late", 4000)
        os.kill(worker, signal.SIGUSR1)  # so that it looks for events again
        time.sleep(1)
        faults.stop()
        stage.responder.release(peer.place)
        assert pending.result(net.PATIENCE_S) == expected


@pytest.mark.parametrize("kind", ["http", "stream"])
def test_judging_again_takes_no_more_time(kind, stage, tmp_path):
    """Whoever waits for a verdict waits fetch_total_ms, however often the answers change."""
    peer = stage.peer("held", ocsp="silent")
    stage.open()
    file = crl.CrlFile(stage.lab, tmp_path / "crls.pem")
    _, ask = stage.either(kind, {"peer": (peer, file.policy(
        revocation_sources="ocsp,file", revocation_scope="leaf", negative_ttl_s="0",
        fetch_timeout_ms="3000", fetch_total_ms="3000"))})
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        answer = pool.submit(ask, "peer")
        number = 0
        while not answer.done():
            file.write(next_update_s=7200 + number)
            number += 1
            time.sleep(0.4)
        took_s = time.monotonic() - started
    # Four times as long before; generous for a busy machine.
    assert took_s < 8
    assert answer.result() in (ACCEPT, ("reject", "revocation.inconclusive"))
    assert stage.responder.count(peer.place) <= 2


def test_many_urls_are_bounded(stage):
    """max_urls_per_cert, and the total time for all of them."""
    peer = stage.peer("many", ocsp=" ".join(["silent"] * 5))
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, policy={
        "fetch_timeout_ms": "300", "max_urls_per_cert": "2"})])
    answer = net.get(port)
    assert verdict(answer) == ("reject", "fetch.timeout")
    assert stage.responder.count(peer.place) <= 2
    assert answer.seconds < 30
