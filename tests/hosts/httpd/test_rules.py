"""Rules about questions that only httpd's processes, pools and connections can break.

Those that every host shares are in ../test_agreement_rules.py.
"""
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import crl, net
from tests.lab.httpd import MODULE_ASAN, MPMS, asan_options, asan_runtime
from tests.lab.process import limit_files
from tests.lab.responder import said
from tests.lab.verdicts import ACCEPT, verdict


def test_a_revocation_that_is_known_is_no_news(stage):
    """Each handshake asks, since nonces are wanted, and each finds the same: others hear of it
    once, so that what they keep about other peers stays."""
    revoked, good = stage.peer("revoked", ocsp="revoked"), stage.peer("good")
    stage.open()
    nonces = {"ocsp_nonce": "on", "revocation_scope": "leaf"}
    _, port = stage.front([where(revoked, "/revoked", policy=nonces), where(good, "/good")],
                          threads=8)
    first = net.get(port, "/good")
    assert verdict(first) == ACCEPT
    for _ in range(140):
        assert verdict(net.get(port, "/revoked")) == ("reject", "ocsp.revoked")
    assert stage.responder.count(revoked.place) == 140
    after = net.get(port, "/good")
    assert after.headers["x-connection"] == first.headers["x-connection"]


def test_a_late_answer_serves_the_next_check(stage):
    """It came when the check that had asked had given up: nobody asks again."""
    stage.responder.place("first", said().but(delay_s=0.9, status=500))
    stage.responder.place("second", said().but(delay_s=0.9))
    peer = stage.peer("slow", ocsp=" ".join(
        f"url:{stage.responder.url(place)}" for place in ("first", "second")))
    stage.open()
    policy = {"fetch_timeout_ms": "8000", "fetch_total_ms": "1400", "revocation_scope": "leaf"}
    _, port = stage.front([where(peer, "/a", policy=policy),
                           where(peer, "/b", policy={**policy, "chain_extra": "deny"})])
    assert verdict(net.get(port, "/a"))[0] == "reject"
    time.sleep(1.2)
    assert verdict(net.get(port, "/b")) == ACCEPT
    assert stage.responder.count("second") == 1


def test_a_renewed_verdict_takes_the_place_of_the_old_one(door):
    """On a client's kept connection: it is judged again once, not at each request for ever."""
    visitor = door.lab.visitor("kept")
    with crl.readable_folder() as folder:
        file = crl.CrlFile(door.lab, folder / "crls.pem")
        policy = {"ocsp_nonce": "on", "revocation_scope": "leaf",
                  **file.policy(revocation_sources="ocsp,file")}
        door.open(door.vhost("kept", policy=policy), threads=8)
        with door.client(visitor).connect(door.port, "kept.inbound.lab.test") as connection:
            assert [connection.get().status for _ in range(2)] == [200, 200]
            assert door.lab.responder.count(visitor.place) == 1
            file.write(next_update_s=7200)  # another content that says the same
            time.sleep(1.2)
            assert {connection.get().status for _ in range(6)} == {200}
    assert door.lab.responder.count(visitor.place) == 2


@pytest.mark.parametrize("policy", [{}, {"revocation": "soft"},
                                    {"ocsp_network_error": "tolerate"}],
                         ids=["", "soft", "tolerate"])
def test_no_descriptor_is_no_answer(policy, door):
    """What this process could not ask is neither passed over nor remembered."""
    visitor = door.lab.visitor("client")
    door.open(door.vhost("strict", policy={"revocation_scope": "leaf", "ocsp_nonce": "on",
                                           "verdict_max_age_s": "1", **policy}), threads=4)
    with door.client(visitor).connect(door.port, "strict.inbound.lab.test") as connection:
        assert connection.get().status == 200
        time.sleep(2.1)
        limit_files(door.front.child_pids(), 3)
        answer = connection.get()
        limit_files(door.front.child_pids(), 1000)
    assert answer.status == 403
    assert [line.reason for line in door.front.verdicts()] == ["fetch.denied"]
    assert door.lab.responder.count(visitor.place) == 1
    assert door.get(visitor, "strict").status == 200


PATIENT = {"revocation_scope": "leaf", "clock_skew_s": "0", "fetch_timeout_ms": "600000",
           "fetch_total_ms": "600000"}


def past_half_its_life_soon(**changes):
    """In two seconds; it serves for ten minutes."""
    return said(this_update_s=-600, next_update_s=604, **changes)


def refreshing(stage, port, peer, path):
    """Requests until a refresh about this peer is under way, or over."""
    net.wait_until(lambda: verdict(net.get(port, path)) and stage.responder.count(peer.place) == 2,
                   f"a refresh about {path}", step_s=0.1)


def test_a_silent_responder_holds_up_no_other_refresh(stage):
    """Nobody waits ten minutes here: what is asked about the one peer has no answer yet when the
    revocation of the other is learned, which only a refresh can bring."""
    held, other = stage.peer("held"), stage.peer("other")
    place = stage.responder.place
    for peer in (held, other):
        place(peer.place, past_half_its_life_soon())
    stage.open()
    _, port = stage.front([where(held, "/held", policy=PATIENT),
                           where(other, "/other", policy=PATIENT)], processes=1)
    for path in ("/held", "/other"):
        assert verdict(net.get(port, path)) == ACCEPT
    place(held.place, "hold")
    refreshing(stage, port, held, "/held")
    place(other.place, "revoked")
    net.wait_until(lambda: verdict(net.get(port, "/other")) == ("reject", "ocsp.revoked"),
                   "the other peer's revocation", step_s=0.1)
    assert verdict(net.get(port, "/held")) == ACCEPT
    assert stage.responder.count(held.place) == 2


@pytest.mark.parametrize("mpm", MPMS)
def test_a_child_ends_while_it_refreshes(mpm, stage, tmp_path):
    """A check ahead of time waits for an answer, and touches OpenSSL no more once the child ends."""
    held = stage.peer("held")
    stage.responder.place(held.place, past_half_its_life_soon())
    stage.open()
    reports = tmp_path / "reports"
    reports.mkdir()
    reports.chmod(0o777)
    front, port = stage.front([where(held, policy=PATIENT)], module=MODULE_ASAN, mpm=mpm,
                              processes=1, preload=[asan_runtime()], env=asan_options(reports))
    assert verdict(net.get(port)) == ACCEPT
    stage.responder.place(held.place, "hold")
    refreshing(stage, port, held, "/")
    assert front.stop(grace_s=60) == 0
    assert not re.search(r"exit signal|still did not exit", front.errors()), front.errors()[-3000:]
    assert not [path.read_text()[:4000] for path in reports.iterdir()]


def test_the_best_of_what_several_make_of_an_answer_is_kept(stage):
    """To one policy the answer is too old, to another it is not: whoever is first to judge it, the
    third one finds it."""
    brief = {"revocation_scope": "leaf", "fetch_timeout_ms": "20000", "fetch_total_ms": "20000",
             "negative_ttl_s": "0"}
    policies = {"strict": {**brief, "ocsp_max_age_s": "3600"}, "usual": brief,
                "later": {**brief, "chain_extra": "deny"}}
    peers = [stage.peer(f"shared{n}") for n in range(8)]
    for peer in peers:
        stage.responder.place(peer.place, said(this_update_s=-7200, next_update_s=None).but(
            manner="hold"))
    stage.open()
    _, port = stage.front([where(peer, f"/{n}{name}", policy=policy)
                           for n, peer in enumerate(peers) for name, policy in policies.items()],
                          threads=32, processes=1)
    with ThreadPoolExecutor(16) as pool:
        pending = {(n, name): pool.submit(net.get, port, f"/{n}{name}")
                   for n in range(8) for name in ("strict", "usual")}
        net.wait_until(lambda: len(stage.responder.hits) == 8, "the questions")
        time.sleep(0.5)  # for those who join
        for peer in peers:
            stage.responder.release(peer.place)
        found = {which: verdict(one.result(net.PATIENCE_S)) for which, one in pending.items()}
    assert {found[n, "usual"] for n in range(8)} == {ACCEPT}
    assert {found[n, "strict"] for n in range(8)} == {("reject", "ocsp.stale")}
    asked = len(stage.responder.hits)
    assert {verdict(net.get(port, f"/{n}later")) for n in range(8)} == {ACCEPT}
    assert len(stage.responder.hits) == asked
