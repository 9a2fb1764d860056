"""The CRL rung in httpd: certificates that name no responder, as large CAs issue them now."""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import crl, net
from tests.lab.verdicts import ACCEPT, verdict

# The intermediates have a responder; what is looked at here is the leaf.
LEAF = {"revocation_scope": "leaf", "short_lived_s": "0"}


@pytest.fixture
def crls():
    with crl.CrlServer() as server:
        yield server


def crl_peer(stage, crls, name="leaf", file="a.crl"):
    return stage.peer(name, ocsp="none", extra=[crl.point(crls.url(file))])


@pytest.mark.parametrize("changes, policy, expected", [
    ({}, {}, ACCEPT),
    ({"serials": "leaf"}, {}, ("reject", "crl.revoked")),
    ({"next_update_s": -1800}, {}, ("reject", "crl.stale")),
    ({"this_update_s": 7200}, {}, ("reject", "crl.stale")),
    ({"damage": "signature"}, {}, ("reject", "crl.bad_signature")),
    ({"damage": "truncate"}, {}, ("reject", "fetch.http")),
    ({"only_ca": True}, {}, ("reject", "crl.wrong_scope")),
    ({"issuer": "intermediate"}, {}, ("reject", "crl.wrong_scope")),
    ({}, {"revocation_sources": "staple,ocsp"}, ("reject", "revocation.inconclusive")),
    ({"entries": 100}, {"max_crl_bytes": "1024"}, ("reject", "fetch.too_large")),
    ({"serials": "leaf"}, {"revocation": "soft"}, ("reject", "crl.revoked")),
    ({"next_update_s": -1800}, {"revocation": "soft"}, ACCEPT),
], ids=lambda value: str(value) if isinstance(value, (dict, tuple)) else None)
def test_crl(changes, policy, expected, stage, crls):
    """The second policy finds what the first one has fetched, good or bad."""
    peer = crl_peer(stage, crls)
    stage.open()
    fields = dict(changes)
    issuer = stage.lab.pki[fields.pop("issuer", "issuing")]
    if "serials" in fields:
        fields["serials"] = [peer.leaf.serial]
    fields["entries"] = crl.many(fields.get("entries", 0))
    crls.files["a.crl"] = crl.build(issuer, **fields)
    _, port = stage.front([
        where(peer, "/a", policy={**LEAF, **policy}),
        where(peer, "/b", policy={**LEAF, **policy, "chain_extra": "deny"})])
    for path in ("/a", "/b", "/a"):
        assert verdict(net.get(port, path)) == expected
    assert crls.counts.get("a.crl", 0) <= 1


def test_missing_and_garbage(stage, crls):
    missing, garbage = crl_peer(stage, crls), crl_peer(stage, crls, "other", "garbage.crl")
    stage.open()
    crls.files["garbage.crl"] = b"0\x03abc"
    _, port = stage.front([where(missing, "/missing", policy=LEAF),
                           where(garbage, "/garbage", policy=LEAF)])
    for _ in range(3):  # the failure is remembered with its reason
        assert verdict(net.get(port, "/missing")) == ("reject", "fetch.http")
        assert verdict(net.get(port, "/garbage")) == ("reject", "crl.malformed")
    assert crls.counts == {"a.crl": 1, "garbage.crl": 1}


def test_one_download_serves_all(stage, crls):
    """Another certificate, another policy, a verdict that is over: the index answers."""
    first, second = crl_peer(stage, crls, "first"), crl_peer(stage, crls, "second")
    stage.open()
    crls.files["a.crl"] = crl.build(stage.lab.pki["issuing"], [second.leaf.serial],
                                    entries=crl.many(1000))
    _, port = stage.front([
        where(first, "/first", policy={**LEAF, "verdict_max_age_s": "1"}),
        where(second, "/second", policy={**LEAF, "max_chain_len": "9"})])
    assert verdict(net.get(port, "/first")) == ACCEPT
    assert verdict(net.get(port, "/second")) == ("reject", "crl.revoked")
    deadline = time.monotonic() + 2.2
    while time.monotonic() < deadline:
        assert verdict(net.get(port, "/first")) == ACCEPT
    assert crls.counts == {"a.crl": 1}


def test_memory_is_bounded(stage, crls):
    """One that does not fit is used and not kept."""
    peer = crl_peer(stage, crls)
    stage.open()
    crls.files["a.crl"] = crl.build(stage.lab.pki["issuing"], entries=crl.many(1000))
    policy = {**LEAF, "crl_memory_bytes": "1024"}
    _, port = stage.front([where(peer, "/a", policy=policy),
                           where(peer, "/b", policy={**policy, "chain_extra": "deny"})])
    assert verdict(net.get(port, "/a")) == ACCEPT
    assert verdict(net.get(port, "/b")) == ACCEPT
    assert crls.counts == {"a.crl": 2}


def test_a_download_outlives_its_handshake(stage, crls):
    """A handshake gives up, the CRL still arrives and serves the next one."""
    peer = crl_peer(stage, crls)
    stage.open()
    crls.files["a.crl"] = crl.build(stage.lab.pki["issuing"], entries=crl.many(300000))
    _, port = stage.front([where(peer, policy={
        **LEAF, "fetch_timeout_ms": "5", "fetch_total_ms": "5", "negative_ttl_s": "0"})])
    assert verdict(net.get(port)) == ("reject", "fetch.timeout")
    net.wait_until(lambda: net.get(port).status == 200, "the CRL", step_s=0.3)
    assert crls.counts == {"a.crl": 1}


def test_a_large_crl_is_shared(stage, crls):
    peer = crl_peer(stage, crls)
    stage.open()
    crls.files["a.crl"] = crl.build(stage.lab.pki["issuing"], entries=crl.many(200000))
    _, port = stage.front([where(peer, policy=LEAF)])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: verdict(net.get(port)), range(16)))
    assert set(answers) == {ACCEPT}
    assert crls.counts == {"a.crl": 1}
