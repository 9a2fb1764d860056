"""Fetching OCSP answers: bounded, shared, cached, refreshed, and never in anybody's way."""
import time
from concurrent.futures import ThreadPoolExecutor

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


def test_max_fetches_in_flight(stage):
    """Beyond the bound a handshake is refused, rather than the process overrun."""
    peers = [stage.peer(f"held{number}", ocsp="hold") for number in range(4)]
    stage.open()
    _, port = stage.front([
        fronts.location(f"/{number}", peer, strict=True,
                        policy={"max_fetches_in_flight": "2", "revocation_scope": "leaf",
                                "fetch_timeout_ms": "5000"})
        for number, peer in enumerate(peers)])
    with ThreadPoolExecutor(4) as pool:
        first = [pool.submit(net.get, port, f"/{number}") for number in range(2)]
        net.wait_until(lambda: all(stage.responder.count(peer.place) for peer in peers[:2]),
                       "both to be asked")
        beyond = net.get(port, "/2")
        for peer in peers:
            stage.responder.release(peer.place)
        assert [verdict(one.result(net.PATIENCE_S)) for one in first] == [ACCEPT] * 2
    assert verdict(beyond) == ("reject", "fetch.denied")
    assert stage.responder.count(peers[2].place) == 0
    assert verdict(net.get(port, "/3")) == ACCEPT


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
