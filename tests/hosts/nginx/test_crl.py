"""The CRL rung in nginx: certificates that name no responder, as large CAs issue them now."""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import crl, fronts, net
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
    ({}, {"max_crl_bytes": "1024", "revocation_sources": "staple,ocsp"},
     ("reject", "revocation.inconclusive")),
    ({"entries": 100}, {"max_crl_bytes": "1024"}, ("reject", "fetch.too_large")),
    ({"serials": "leaf"}, {"revocation": "soft"}, ("reject", "crl.revoked")),
    ({"next_update_s": -1800}, {"revocation": "soft"}, ACCEPT),
], ids=lambda value: str(value) if isinstance(value, (dict, tuple)) else None)
def test_crl(changes, policy, expected, stage, crls):
    peer = crl_peer(stage, crls)
    stage.open()
    fields = dict(changes)
    issuer = stage.lab.pki[fields.pop("issuer", "issuing")]
    if "serials" in fields:
        fields["serials"] = [peer.leaf.serial]
    fields["entries"] = crl.many(fields.get("entries", 0))
    crls.files["a.crl"] = crl.build(issuer, **fields)
    _, port = stage.front([fronts.location("/", peer, strict=True, policy={**LEAF, **policy})])
    assert verdict(net.get(port)) == expected


def test_missing_and_garbage(stage, crls):
    missing, garbage = crl_peer(stage, crls), crl_peer(stage, crls, "other", "garbage.crl")
    stage.open()
    crls.files["garbage.crl"] = b"0\x03abc"
    _, port = stage.front([fronts.location("/missing", missing, strict=True, policy=LEAF),
                           fronts.location("/garbage", garbage, strict=True, policy=LEAF)])
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
        fronts.location("/first", first, strict=True, policy={**LEAF, "verdict_max_age_s": "1"}),
        fronts.location("/second", second, strict=True, policy={**LEAF, "max_chain_len": "9"})])
    assert verdict(net.get(port, "/first")) == ACCEPT
    assert verdict(net.get(port, "/second")) == ("reject", "crl.revoked")
    deadline = time.monotonic() + 2.2
    while time.monotonic() < deadline:
        assert verdict(net.get(port, "/first")) == ACCEPT
    assert crls.counts == {"a.crl": 1}


def test_kept_on_disk(stage, crls, tmp_path):
    peer = crl_peer(stage, crls)
    stage.open()
    crls.files["a.crl"] = crl.build(stage.lab.pki["issuing"], entries=crl.many(20000))
    folder = tmp_path / "crls"
    locations = [fronts.location("/", peer, strict=True, policy=LEAF)]
    front, port = stage.front(locations, http=f"strict_tls_crl_path {folder};\n")
    assert verdict(net.get(port)) == ACCEPT
    net.wait_until(lambda: list(folder.glob("*.crl")), "the CRL to be on disk")
    (kept,) = folder.iterdir()
    assert kept.read_bytes() == crls.files["a.crl"]
    front.stop()

    front.start([port])
    assert verdict(net.get(port)) == ACCEPT
    assert crls.counts == {"a.crl": 1}
    front.stop()

    # What lies there is believed no more than what the network brings.
    kept.write_bytes(b"0\x03abc")
    front.start([port])
    assert verdict(net.get(port)) == ACCEPT
    assert crls.counts == {"a.crl": 2}
    # It is written after the answer, and not at all by a worker that was stopped before.
    net.wait_until(lambda: kept.exists() and kept.read_bytes() == crls.files["a.crl"],
                   "the CRL to be replaced")
    front.stop()

    kept.write_bytes(crl.build(stage.lab.pki["issuing"], damage="signature"))
    front.start([port])
    assert verdict(net.get(port)) == ACCEPT
    assert crls.counts == {"a.crl": 3}


def test_workers_share_through_the_disk(stage, crls, tmp_path):
    peer = crl_peer(stage, crls)
    stage.open()
    crls.files["a.crl"] = crl.build(stage.lab.pki["issuing"], entries=crl.many(5000))
    _, port = stage.front([fronts.location("/", peer, strict=True, policy=LEAF)],
                          http=f"strict_tls_crl_path {tmp_path / 'crls'};\n", workers=4)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: verdict(net.get(port)), range(48)))
    assert set(answers) == {ACCEPT}
    # The file appears a moment after the first answer; who comes in between downloads, too.
    assert crls.counts["a.crl"] <= 4


@pytest.mark.parametrize("entries, downloads", [(2000, 1), (60000, 4)], ids=["small", "large"])
def test_workers_without_a_folder(entries, downloads, stage, crls):
    """A small CRL goes through the zone. For a large one nobody waits for another's download."""
    peer = crl_peer(stage, crls)
    stage.open()
    crls.files["a.crl"] = crl.build(stage.lab.pki["issuing"], entries=crl.many(entries))
    _, port = stage.front([fronts.location(
        "/", peer, strict=True, policy={**LEAF, "fetch_total_ms": "20000"},
        extra="    add_header X-Worker $pid always;\n" + fronts.STRICT_HEADERS)],
        http="strict_tls_cache_zone small 1m;\n", workers=4, listen="reuseport")
    with ThreadPoolExecutor(48) as pool:
        answers = list(pool.map(lambda _: net.get(port), range(96)))
    assert {verdict(answer) for answer in answers} == {ACCEPT}
    assert len({answer.headers["x-worker"] for answer in answers}) == 4
    assert crls.counts["a.crl"] == downloads


def test_a_newer_crl_reaches_workers_through_the_zone(stage, crls):
    """Who hears that there is a newer one finds it, and never the one before."""
    peer, other = crl_peer(stage, crls), crl_peer(stage, crls, "other")
    stage.open()
    issuer = stage.lab.pki["issuing"]
    _, port = stage.front(
        [fronts.location(f"/{id}", scene, strict=True, policy=RENEWED,
                         extra="    add_header X-Worker $pid always;\n" + fronts.STRICT_HEADERS)
         for id, scene in (("leaf", peer), ("other", other))], workers=4, listen="reuseport")
    # Due for a refresh after twenty seconds, from when all workers know it.
    crls.files["a.crl"] = crl.build(issuer, this_update_s=-600, next_update_s=640)
    assert {verdict(net.get(port, "/leaf")) for _ in range(24)} == {ACCEPT}
    crls.files["a.crl"] = crl.build(issuer, [peer.leaf.serial], this_update_s=-1)
    net.wait_until(lambda: verdict(net.get(port, "/other")) == ACCEPT
                   and crls.counts["a.crl"] == 2, "the refresh", step_s=0.1)
    time.sleep(1)
    answers = [net.get(port, "/leaf") for _ in range(48)]
    assert {verdict(answer) for answer in answers} == {("reject", "crl.revoked")}
    assert len({answer.headers["x-worker"] for answer in answers}) == 4
    assert crls.counts["a.crl"] == 2


def test_a_large_crl_holds_nobody_up(stage, crls, tmp_path):
    """While ten megabytes arrive and are indexed and kept, the worker answers others."""
    peer = crl_peer(stage, crls)
    stage.open()
    crls.files["a.crl"] = crl.build(stage.lab.pki["issuing"], entries=crl.many(200000))
    assert len(crls.files["a.crl"]) > 9_000_000
    _, port = stage.front([fronts.location("/strict", peer, strict=True, policy=LEAF),
                           "location /plain { return 200; }\n"],
                          http=f"strict_tls_crl_path {tmp_path / 'crls'};\n")
    with ThreadPoolExecutor(1) as pool:
        strict = pool.submit(net.get, port, "/strict")
        slowest, started = 0, time.monotonic()
        while not strict.done():
            slowest = max(slowest, net.get(port, "/plain").seconds)
        took_s = time.monotonic() - started
        assert verdict(strict.result()) == ACCEPT
    # Both run on what this machine has to spare.
    assert slowest < max(0.5, took_s / 3)


# Renewal: past half its life after some seconds, so that requests start refreshes.
RENEWED = {**LEAF, "negative_ttl_s": "1", "clock_skew_s": "0", "verdict_max_age_s": "1"}


def ask_for(seconds, port, path):
    """All verdicts of this long."""
    found = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found.add(verdict(net.get(port, path)))
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("renewed", ["signature", "expired"])
def test_a_useless_renewal_takes_nothing_away(renewed, stage, crls):
    peer = crl_peer(stage, crls)
    stage.open()
    issuer = stage.lab.pki["issuing"]
    crls.files["a.crl"] = crl.build(issuer, next_update_s=60)
    _, port = stage.front([fronts.location("/", peer, strict=True, policy=RENEWED)])
    assert verdict(net.get(port)) == ACCEPT
    crls.files["a.crl"] = (crl.build(issuer, damage="signature") if renewed == "signature" else
                           crl.build(issuer, this_update_s=-7200, next_update_s=-3600))
    assert ask_for(4, port, "/") == {ACCEPT}


def test_an_older_crl_does_not_replace_a_newer_one(stage, crls):
    revoked, other = crl_peer(stage, crls, "revoked"), crl_peer(stage, crls, "other")
    stage.open()
    issuer = stage.lab.pki["issuing"]
    crls.files["a.crl"] = crl.build(issuer, [revoked.leaf.serial], next_update_s=60)
    _, port = stage.front([fronts.location("/revoked", revoked, strict=True, policy=RENEWED),
                           fronts.location("/other", other, strict=True, policy=RENEWED)])
    assert verdict(net.get(port, "/revoked")) == ("reject", "crl.revoked")
    assert verdict(net.get(port, "/other")) == ACCEPT
    crls.files["a.crl"] = crl.build(issuer, this_update_s=-7200)
    assert ask_for(2, port, "/other") == {ACCEPT}
    assert ask_for(2, port, "/revoked") == {("reject", "crl.revoked")}
