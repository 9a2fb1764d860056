"""Rules about questions hold in every host alike: who is asked, what is kept, who must hear of it.

Each test is one rule and runs against nginx, stream, httpd and curl; where a host is left out,
its nature is why: curl has no processes that share news, and refreshes nothing ahead of time.
"""
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.lab import crl, net
from tests.lab.responder import said
from tests.lab.verdicts import ACCEPT
from tests.lab.world import HOSTS, SERVERS, World

OCSP_REVOKED, CRL_REVOKED = ("reject", "ocsp.revoked"), ("reject", "crl.revoked")
# The leaf is what is looked at; times are to the second, and so is patience.
LEAF = {"revocation_scope": "leaf", "short_lived_s": "0", "clock_skew_s": "0",
        "fetch_timeout_ms": "8000", "fetch_total_ms": "8000"}


def everywhere(*hosts):
    return pytest.mark.parametrize("world", hosts or HOSTS, indirect=True)


@pytest.fixture
def world(request, tmp_path):
    with ExitStack() as stack:
        yield World(request.param, tmp_path, stack)


@pytest.fixture
def crls():
    with crl.CrlServer() as server:
        yield server


def crl_peer(world, crls, name, **fields):
    return world.peer(name, ocsp="none", extra=[crl.point(crls.url("a.crl"))], **fields)


# ---- grace ---------------------------------------------------------------------------------


def brief(next_update_s, **changes):
    """An answer that is young and past its time soon."""
    return said(this_update_s=-1, next_update_s=next_update_s, **changes)


GRACE = {**LEAF, "stale_grace_s": "600", "negative_ttl_s": "1", "verdict_max_age_s": "1"}


@everywhere()
def test_in_grace_the_network_is_asked_first(world):
    """The answer at hand is past its time, and the responder says revoked by now."""
    peer = world.peer("brief")
    world.responder.place(peer.place, brief(2))
    world.open()
    world.start({"brief": (peer, GRACE)})
    assert world.ask("brief") == ACCEPT
    world.responder.place(peer.place, "revoked")
    time.sleep(3.1)
    assert world.ask("brief") == OCSP_REVOKED


@everywhere()
def test_in_grace_the_old_answer_is_the_fallback(world):
    """Nobody answers any more: it serves on, and the responder is asked now and then."""
    peer = world.peer("brief")
    world.responder.place(peer.place, brief(2))
    world.open()
    world.start({"brief": (peer, {**GRACE, "negative_ttl_s": "4"})})
    assert world.ask("brief") == ACCEPT
    world.responder.place(peer.place, "http_500")
    time.sleep(3.1)
    asked = world.responder.count(peer.place)
    started = time.monotonic()
    while time.monotonic() < started + 6:
        assert world.ask("brief") == ACCEPT
    took = time.monotonic() - started
    assert 2 <= world.responder.count(peer.place) - asked <= 1 + took / 4
    world.responder.place(peer.place, "revoked")
    net.wait_until(lambda: world.ask("brief") == OCSP_REVOKED, "the next question")


@everywhere()
def test_past_the_grace_nothing_serves(world):
    peer = world.peer("brief")
    world.responder.place(peer.place, brief(1))
    world.open()
    world.start({"brief": (peer, {**GRACE, "stale_grace_s": "2"})})
    assert world.ask("brief") == ACCEPT
    world.responder.place(peer.place, "http_500")
    net.wait_until(lambda: world.ask("brief") == ("reject", "fetch.http"), "the grace to end")


@everywhere()
def test_a_crl_in_grace_is_no_other(world, crls):
    peer = crl_peer(world, crls, "brief")
    world.open()
    issuing = world.lab.pki["issuing"]
    crls.files["a.crl"] = crl.build(issuing, this_update_s=-1, next_update_s=2)
    world.start({"brief": (peer, GRACE)})
    assert world.ask("brief") == ACCEPT
    del crls.files["a.crl"]
    time.sleep(3.1)
    assert world.ask("brief") == ACCEPT
    assert crls.counts["a.crl"] >= 2
    crls.files["a.crl"] = crl.build(issuing, [peer.leaf.serial], this_update_s=0)
    net.wait_until(lambda: world.ask("brief") == CRL_REVOKED, "the next question")


# ---- of two proofs the newer counts --------------------------------------------------------


class Aging:
    """A CRL that is due for a refresh some seconds after it was made, and good for long."""

    def __init__(self, world, crls, due_s, *revoked):
        self._crls = crls
        self._issuing = world.lab.pki["issuing"]
        self.replace(*revoked, this_update_s=-600, next_update_s=600 + 2 * due_s)
        self._due = time.monotonic() + due_s + 1

    def replace(self, *revoked, **fields):
        """By one that revokes these leaves."""
        self._crls.files["a.crl"] = crl.build(self._issuing, [leaf.serial for leaf in revoked],
                                              **{"this_update_s": -1, **fields})

    def refresh(self, ask):
        """Whoever answers this finds the CRL due, and learns of the other one."""
        assert time.monotonic() < self._due - 1, "the machine is too slow for this test"
        fetched = self._crls.counts["a.crl"]
        time.sleep(self._due - time.monotonic())
        ask()
        net.wait_until(lambda: self._crls.counts["a.crl"] > fetched, "the refresh")
        time.sleep(1)


@everywhere()
def test_an_older_crl_replaces_no_newer_one(world, crls):
    """The newer one is due for a refresh, and an older one, still good, is replayed instead."""
    good, bad = crl_peer(world, crls, "good"), crl_peer(world, crls, "bad")
    world.open()
    aging = Aging(world, crls, 8, bad.leaf)
    policy = {**LEAF, "negative_ttl_s": "1"}
    world.start({"good": (good, policy), "bad": (bad, policy)})
    assert (world.ask("good"), world.ask("bad")) == (ACCEPT, CRL_REVOKED)
    aging.replace(this_update_s=-3600)
    if world.host == "curl":
        time.sleep(8)  # it refreshes nothing ahead of time
    else:
        aging.refresh(lambda: world.ask("good"))
    for _ in range(4):
        assert (world.ask("good"), world.ask("bad")) == (ACCEPT, CRL_REVOKED)
        time.sleep(0.5)


@everywhere(*SERVERS)
def test_what_nobody_has_verified_replaces_nothing(world, crls):
    """The refresh brings a CRL with a bad signature: other peers are judged by the good one."""
    first, second = crl_peer(world, crls, "first"), crl_peer(world, crls, "second")
    world.open()
    aging = Aging(world, crls, 8)
    world.start({"first": (first, LEAF), "second": (second, LEAF)})
    assert world.ask("first") == ACCEPT
    aging.replace(damage="signature")
    aging.refresh(lambda: world.ask("first"))
    assert world.ask("second") == ACCEPT
    assert world.ask("first") == ACCEPT


# ---- who must hear of it -------------------------------------------------------------------

ROUNDS = 24  # fresh connections: enough to reach both processes


@everywhere(*SERVERS)
def test_a_revocation_by_crl_is_news_for_all_processes(world, crls):
    """One process refreshes and learns of it; the others forget their old CRL too."""
    peer = crl_peer(world, crls, "peer")
    world.open()
    aging = Aging(world, crls, 20)
    world.start({"peer": (peer, {**LEAF, "negative_ttl_s": "600"})}, workers=2)
    if world.host == "httpd":  # of nginx's workers the second one finds it in the zone
        net.wait_until(lambda: world.ask("peer") == ACCEPT and crls.counts["a.crl"] > 1,
                       "both processes to know the CRL")
    else:
        assert {world.ask("peer") for _ in range(ROUNDS)} == {ACCEPT}
    aging.replace(peer.leaf)
    aging.refresh(lambda: world.ask("peer"))
    assert {world.ask("peer") for _ in range(ROUNDS)} == {CRL_REVOKED}


@everywhere(*SERVERS)
def test_a_crl_fetched_for_a_good_peer_is_news_too(world, crls):
    """The certificate that it was fetched for is good, and it revokes another one."""
    good, bad = crl_peer(world, crls, "good"), crl_peer(world, crls, "bad")
    world.open()
    aging = Aging(world, crls, 8)
    policy = {**LEAF, "negative_ttl_s": "600"}
    world.start({"good": (good, policy), "bad": (bad, policy)})
    assert world.ask("good") == world.ask("bad") == ACCEPT
    aging.replace(bad.leaf)
    aging.refresh(lambda: world.ask("good"))
    assert world.ask("good") == ACCEPT
    assert world.ask("bad") == CRL_REVOKED


def by_staple(world, crls, tmp_path):
    """(peer that is asked about by OCSP, the same certificate with another proof and policy)"""
    peer = world.peer("turned")
    stapling = world.lab.add_backend(
        "stapling", peer.leaf, world.lab.bundle("serve", [peer.place, "issuing", "intermediate"]),
        staple="revoked")
    return peer, (replace(peer, backend=stapling), {"revocation_sources": "staple"})


def by_crl(world, crls, tmp_path):
    peer = world.peer("turned", extra=[crl.point(crls.url("a.crl"))])
    crls.files["a.crl"] = crl.build(world.lab.pki["issuing"], [peer.leaf.serial])
    return peer, (peer, {"revocation_sources": "crl"})


def by_crl_file(world, crls, tmp_path):
    peer = world.peer("turned")
    file = crl.CrlFile(world.lab, tmp_path / "crls.pem")
    file.write(peer.leaf)
    return peer, (peer, file.policy(revocation_sources="file"))


PROOFS = {"staple": (by_staple, OCSP_REVOKED), "crl": (by_crl, CRL_REVOKED),
          "crl_file": (by_crl_file, CRL_REVOKED)}


@everywhere(*SERVERS)
@pytest.mark.parametrize("proof", PROOFS)
def test_a_proof_of_any_kind_ends_verdicts_that_rest_on_ocsp(proof, world, crls, tmp_path):
    make, reason = PROOFS[proof]
    peer, (proving, policy) = make(world, crls, tmp_path)
    world.open()
    world.start({"ocsp": (peer, {**LEAF, "revocation_sources": "ocsp"}),
                 "proof": (proving, {**LEAF, **policy})}, workers=2)
    assert {world.ask("ocsp") for _ in range(ROUNDS)} == {ACCEPT}
    world.responder.place(peer.place, "revoked")
    assert world.ask("proof") == reason
    assert {world.ask("ocsp") for _ in range(ROUNDS)} == {OCSP_REVOKED}


@everywhere(*SERVERS)
def test_the_crl_file_changes_during_a_check(world):
    """The first request, too, is judged by what the file holds when the check ends."""
    with crl.readable_folder() as folder:
        peer = world.peer("peer", issuer="silent_issuing",
                          serve="leaf silent_issuing intermediate", ocsp="none")
        world.responder.place("silent_issuing", "hold")
        world.open()
        issuer = world.lab.pki["silent_issuing"]
        path = folder / "crls.pem"
        path.write_text(crl.pem(crl.build(issuer)))
        world.start({"peer": (peer, {
            "crl_file": str(path), "short_lived_s": "0", "fetch_timeout_ms": "20000",
            "fetch_total_ms": "20000"})})
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(world.ask, "peer")
            net.wait_until(lambda: world.responder.count("silent_issuing"), "the question")
            new = folder / "new.pem"
            new.write_text(crl.pem(crl.build(issuer, [peer.leaf.serial])))
            new.rename(path)
            time.sleep(2)
            world.responder.release("silent_issuing")
            assert pending.result(net.PATIENCE_S) == CRL_REVOKED


@everywhere(*SERVERS)
def test_good_and_revoked_at_the_same_time(world, crls):
    """Both wait for the same CRL: the good one is not refused for the other's sake."""
    names = [f"good{n}" for n in range(4)] + ["bad"]
    peers = {f"{attempt}{name}": world.peer(
        f"{attempt}{name}", ocsp="none",
        extra=[crl.point(crls.url(f"{attempt}.crl"))])
        for attempt in range(6) for name in names}
    world.open()
    for attempt in range(6):
        crls.files[f"{attempt}.crl"] = crl.build(
            world.lab.pki["issuing"], [peers[f"{attempt}bad"].leaf.serial])
    world.start({id: (peer, LEAF) for id, peer in peers.items()})
    for attempt in range(6):
        ids = [f"{attempt}{name}" for name in names]
        with ThreadPoolExecutor(len(ids)) as pool:
            answers = list(pool.map(world.ask, ids))
        assert answers == 4 * [ACCEPT] + [CRL_REVOKED]


# ---- refusals of our own -------------------------------------------------------------------

@everywhere()
@pytest.mark.parametrize("policy", [{}, {"ocsp_network_error": "tolerate"}], ids=["", "tolerate"])
def test_user_information_keeps_nobody_from_asking(policy, world):
    """Every host asks at http://user@host/, and finds out."""
    address = f"127.0.0.1:{world.responder.port}"
    peer = world.peer("disguised", ocsp=f"url:http://user:secret@{address}/disguised")
    world.responder.place("disguised", "revoked")
    world.open()
    world.start({"disguised": (peer, {**LEAF, **policy})})
    assert world.ask("disguised") == OCSP_REVOKED
    assert world.responder.count("disguised") == 1


@everywhere()
@pytest.mark.parametrize("url", ["http://a!b/", "http://127.0.0.1:0/", "http:///x",
                                 "http://[::1/x", "http://127.0.0.1:99999/x"])
def test_a_url_that_cannot_be_asked_is_no_network_error(url, world):
    peer = world.peer("odd", ocsp=f"url:{url}")
    world.open()
    world.start({"odd": (peer, {**LEAF, "ocsp_network_error": "tolerate"})})
    assert world.ask("odd") == ("reject", "revocation.inconclusive")


@everywhere(*SERVERS)
@pytest.mark.parametrize("policy", [{}, {"revocation": "soft"},
                                    {"ocsp_network_error": "tolerate"}],
                         ids=["", "soft", "tolerate"])
def test_too_many_fetches_are_nobodys_fault(policy, world):
    """No place in flight: not accepted unasked, and accepted as soon as there is one."""
    policy = {**LEAF, **policy, "max_fetches_in_flight": "1", "fetch_total_ms": "6000"}
    held, late = world.peer("held", ocsp="hold"), world.peer("late")
    world.open()
    world.start({"held": (held, policy), "late": (late, {**policy, "fetch_total_ms": "1000"})})
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(world.ask, "held")
        net.wait_until(lambda: world.responder.count(held.place), "the question")
        refused = world.ask("late")
        world.responder.release(held.place)
        assert pending.result(net.PATIENCE_S) == ACCEPT
    assert refused == ("reject", "fetch.denied")
    assert world.responder.count(late.place) == 0
    assert world.ask("late") == ACCEPT


# ---- fetches that were cut short -----------------------------------------------------------


@everywhere()
def test_a_fetch_cut_short_is_remembered_for_nobody_else(world):
    """A policy with little time does not make one with more fail."""
    peer = world.peer("slow")
    world.responder.place(peer.place, said().but(delay_s=1.5))
    world.open()
    world.start({"hasty": (peer, {**LEAF, "fetch_total_ms": "200"}), "patient": (peer, LEAF)})
    assert world.ask("hasty") == ("reject", "fetch.timeout")
    assert world.ask("patient") == ACCEPT


@everywhere()
def test_what_was_left_of_the_total_is_remembered_for_nobody(world):
    """The second responder had hardly any time left: the next check has more for it."""
    for place, behaviour in (("first", said().but(delay_s=1, status=500)),
                             ("second", said().but(delay_s=1))):
        world.responder.place(place, behaviour)
    peer = world.peer("slow", ocsp=" ".join(
        f"url:{world.responder.url(place)}" for place in ("first", "second")))
    world.open()
    world.start({"peer": (peer, {**LEAF, "fetch_total_ms": "1600"}),
                 "again": (peer, {**LEAF, "fetch_total_ms": "1600", "chain_extra": "deny"})})
    assert world.ask("peer")[0] == "reject"
    assert world.ask("again") == ACCEPT


@everywhere()
def test_an_answer_that_settles_nothing_is_remembered(world):
    peer = world.peer("busy", ocsp="try_later")
    world.open()
    world.start({"busy": (peer, LEAF)})
    for _ in range(4):
        assert world.ask("busy") == ("reject", "ocsp.error_status")
    assert world.responder.count(peer.place) == 1


@everywhere(*SERVERS)
@pytest.mark.parametrize("policy", [
    {}, {"revocation": "soft"}, {"ocsp_network_error": "tolerate"}], ids=str)
def test_another_way_to_the_responder_is_another_verdict(policy, world):
    """What is not to be had through a broken HTTP proxy is asked where there is none."""
    peer = world.peer("peer", ocsp="revoked")
    world.open()
    world.start({
        "broken": (peer, {**LEAF, **policy, "http_proxy": f"{net.HOST}:{world.lab.refusing.port}"}),
        "direct": (peer, {**LEAF, **policy})})
    assert world.ask("broken") == (ACCEPT if policy else ("reject", "fetch.network"))
    assert world.ask("direct") == OCSP_REVOKED
