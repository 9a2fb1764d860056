"""Answers are asked for once, shared by processes and by a fleet, and never believed unverified."""
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import net
from tests.lab.process import Process
from tests.lab.redis import Redis
from tests.lab.responder import said
from tests.lab.verdicts import ACCEPT, verdict

ONE_EACH = "disablereuse=on"  # a handshake for every request


@pytest.fixture
def redis(tmp_path):
    with Redis(tmp_path / "redis") as server:
        yield server


def in_fleet(stage, redis, locations, **options):
    return stage.front(locations, main=f"StrictTLSCache redis:{net.HOST}:{redis.port}\n",
                       modules=("socache_redis",), **options)


def entry(der, refresh_in_s=3600):
    """A cache entry as the module writes it."""
    now = int(time.time())
    return b"STLS-OCSP-1\0" + struct.pack(">qq", now + refresh_in_s, now) + der


def test_a_fleet_shares_answers(stage, redis):
    """What one instance has asked, another one serves: the responder is silent by then."""
    peer = stage.peer("good")
    stage.open()
    _, one = in_fleet(stage, redis, [where(peer)])
    _, two = in_fleet(stage, redis, [where(peer)])
    assert (net.get(one).status, stage.responder.count(peer.place)) == (200, 1)
    stage.responder.place(peer.place, "silent")
    answer = net.get(two)
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    assert stage.responder.count(peer.place) == 1


def test_memcached(stage, tmp_path):
    memcached = "/usr/bin/memcached"
    port = net.free_port()
    peer = stage.peer("good")
    stage.open()
    process = Process([memcached, "-l", net.HOST, "-p", port, "-u", "nobody"], folder=tmp_path,
                      name="memcached", ports=[port])
    process.wait_ready()
    try:
        for _ in range(2):
            _, front = stage.front([where(peer)], modules=("socache_memcache",),
                                   main=f"StrictTLSCache memcache:{net.HOST}:{port}\n")
            assert net.get(front).status == 200
        assert stage.responder.count(peer.place) == 1
    finally:
        process.stop()


def poisons(stage, peer, other):
    answer = stage.responder.answer
    return {
        "empty": b"", "garbage": b"\xff" * 200, "header only": entry(b""),
        "not DER": entry(b"\x30\x82garbage"),
        "another certificate's": entry(answer(other.leaf)),
        "bad signature": entry(answer(peer.leaf, "bad_signature")),
        "wrong signer": entry(answer(peer.leaf, "unauthorized_ca")),
        "self-signed": entry(answer(peer.leaf, "self_vouching")),
        "stale": entry(answer(peer.leaf, "stale")),
        "never to refresh": entry(answer(peer.leaf, "bad_signature"), 2**40),
        "long": entry(b"\x30\x84\x7f\xff\xff\xff" + b"x" * 60000),
        "too long": entry(b"x" * 500000),
    }


@pytest.mark.parametrize("state", ["good", "revoked"])
def test_poison_changes_no_verdict(state, stage, redis):
    peer = stage.peer("victim", ocsp=state)
    other = stage.peer("other")
    stage.open()
    wanted = (200, *ACCEPT) if state == "good" else (502, "reject", "ocsp.revoked")
    _, port = in_fleet(stage, redis, [where(peer)])
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == wanted
    net.wait_until(redis.entries, "the answer to be stored")
    for name, poison in poisons(stage, peer, other).items():
        redis.overwrite(poison)
        front, port = in_fleet(stage, redis, [where(peer)])
        answer = net.get(port)
        assert (answer.status, *verdict(answer)) == wanted, name
        assert front.stop() == 0, name


def test_redis_goes_away(stage, redis):
    peer, second = stage.peer("good"), stage.peer("second")
    stage.open()
    _, port = in_fleet(stage, redis, [where(peer, "/a"), where(second, "/b")])
    assert net.get(port, "/a").status == 200
    redis.stop()
    answer = net.get(port, "/b")
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)


def test_redis_hangs(stage):
    """One request meets the cache that never answers; those behind it do without."""
    peer, second = stage.peer("good"), stage.peer("second")
    stage.open()
    with socket.create_server((net.HOST, 0)) as hanging:
        port = hanging.getsockname()[1]
        _, front = stage.front([where(peer, "/a"), where(second, "/b")],
                               main=f"StrictTLSCache redis:{net.HOST}:{port}\nRedisTimeout 1\n",
                               modules=("socache_redis",))
        first = net.get(front, "/a")
        assert first.status == 200
        answer = net.get(front, "/b")
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    assert answer.seconds < first.seconds + 1


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_single_flight(mpm, stage):
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    _, port = stage.front([where(peer, policy={"fetch_timeout_ms": "8000"})], threads=16, mpm=mpm)
    with ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(net.get, port) for _ in range(8)]
        net.wait_until(lambda: stage.responder.count(peer.place), "the question")
        time.sleep(0.5)
        stage.responder.release(peer.place)
        answers = [one.result(net.PATIENCE_S) for one in pending]
    assert {verdict(answer) for answer in answers} == {ACCEPT}
    assert stage.responder.count(peer.place) == 1


def test_cold_requests_ask_once_about_each_peer(stage):
    """Between an answer's arrival and its place in the cache nobody asks again."""
    peers = [stage.peer(f"peer{n}") for n in range(12)]
    stage.open()
    _, port = stage.front([where(peer, f"/{n}/", parameters=ONE_EACH)
                           for n, peer in enumerate(peers)], threads=32)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda n: verdict(net.get(port, f"/{n % 12}/")), range(240)))
    assert set(answers) == {ACCEPT}
    assert [stage.responder.count(peer.place) for peer in peers] == 12 * [1]


@pytest.mark.parametrize("behaviour, reason", [
    ("silent", "fetch.timeout"), ("http_500", "fetch.http"), ("try_later", "ocsp.error_status")])
def test_failures_are_remembered(behaviour, reason, stage):
    """Two policies put the same question: the second one finds the failure."""
    peer = stage.peer("bad", ocsp=behaviour)
    stage.open()
    _, port = stage.front([where(peer, "/a", policy={"fetch_timeout_ms": "300"}),
                           where(peer, "/b", policy={"fetch_timeout_ms": "300",
                                                     "chain_extra": "deny"})])
    for path in ("/a", "/a", "/b", "/b"):
        assert verdict(net.get(port, path)) == ("reject", reason)
    assert stage.responder.count(peer.place) == 1


def test_failures_are_forgotten(stage):
    peer = stage.peer("late", ocsp="http_500")
    stage.open()
    _, port = stage.front([where(peer, policy={"negative_ttl_s": "1"})])
    assert verdict(net.get(port)) == ("reject", "fetch.http")
    stage.responder.place(peer.place, "good")
    net.wait_until(lambda: net.get(port).status == 200, "another try")


def test_warm_verdicts_ask_nobody(stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([where(peer, parameters=ONE_EACH)])
    answers = [net.get(port) for _ in range(5)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["x-connection"] for answer in answers}) == 5
    assert stage.responder.count(peer.place) == 1


@pytest.mark.parametrize("number, asked", [(1, 2), (100, 1)])
def test_remembered_verdicts_are_bounded(number, asked, stage):
    """Where answers are not kept, what is forgotten is asked for again."""
    first, second = stage.peer("first", ocsp="revoked"), stage.peer("second", ocsp="revoked")
    stage.open()
    policy = {"revocation_scope": "leaf"}
    _, port = stage.front([where(first, "/a", policy=policy), where(second, "/b", policy=policy)],
                          main=f"StrictTLSCache none\nStrictTLSMaxVerdicts {number}\n")
    for path in ("/a", "/b", "/a"):
        assert verdict(net.get(port, path)) == ("reject", "ocsp.revoked")
    assert stage.responder.count(first.place) == asked


@pytest.mark.parametrize("parameters", [ONE_EACH, ""], ids=["handshakes", "pooled"])
def test_refresh_ahead_of_expiry(parameters, stage):
    """Nobody waits for the newer answer, and nobody is refused."""
    peer = stage.peer("brief")
    slow = said(this_update_s=-1, next_update_s=7).but(delay_s=2.0)
    stage.responder.place(peer.place, slow)
    stage.open()
    _, port = stage.front([where(peer, parameters=parameters, policy={"clock_skew_s": "0"})])
    assert net.get(port).status == 200
    until = time.monotonic() + 11
    slowest = 0
    while time.monotonic() < until:
        answer = net.get(port)
        assert answer.status == 200
        slowest = max(slowest, answer.seconds)
        time.sleep(0.1)
    assert stage.responder.count(peer.place) >= 2
    assert slowest < 2


def test_a_newer_answer_ends_the_verdict(stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([where(peer, "/a", policy={"verdict_max_age_s": "600"}),
                           where(peer, "/b", policy={"ocsp_nonce": "on"})], threads=1)
    first, second = net.get(port, "/a"), net.get(port, "/a")
    assert first.headers["x-connection"] == second.headers["x-connection"]
    stage.responder.place(peer.place, "revoked")
    # Another location's fresh answer ends the verdict, and the pooled connection with it.
    assert verdict(net.get(port, "/b")) == ("reject", "ocsp.revoked")
    assert verdict(net.get(port, "/a")) == ("reject", "ocsp.revoked")
