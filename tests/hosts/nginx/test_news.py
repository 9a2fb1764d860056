"""What one check learns of a revocation, every other verdict about the certificate hears."""
import json

import pytest

from tests.lab import crl, fronts, net
from tests.lab.responder import BEHAVIOURS
from tests.lab.verdicts import ACCEPT, verdict

LEAF = {"revocation_scope": "leaf", "short_lived_s": "0"}
OCSP = {**LEAF, "revocation_sources": "ocsp"}
BOTH = pytest.mark.parametrize("kind", ["http", "stream"])


def found_good_at_first(place, stage):
    stage.responder.place(place, BEHAVIOURS["good"].but(after=1, then=BEHAVIOURS["revoked"]))


def by_staple(stage, server):
    """(the peer asked about by OCSP, the same certificate with the proof)"""
    peer = stage.peer("turned")
    stapling = stage.lab.add_backend(
        "stapling", peer.leaf, stage.lab.bundle("serve", [peer.place, "issuing", "intermediate"]),
        staple="revoked")
    other = type(peer)(peer.leaf, stapling, peer.trust, peer.place)
    return peer, (other, {**LEAF, "revocation_sources": "staple"})


def by_crl(stage, server):
    peer = stage.peer("turned", extra=[crl.point(server.url("a.crl"))])
    server.files["a.crl"] = crl.build(stage.lab.pki["issuing"], [peer.leaf.serial])
    return peer, (peer, {**LEAF, "revocation_sources": "crl"})


def by_crl_file(stage, server):
    peer = stage.peer("turned")
    file = crl.CrlFile(stage.lab, server.folder / "crls.pem")
    file.write(peer.leaf)
    return peer, (peer, file.policy(**LEAF, revocation_sources="file"))


PROOFS = {"staple": (by_staple, "ocsp.revoked"), "crl": (by_crl, "crl.revoked"),
          "crl_file": (by_crl_file, "crl.revoked")}


@BOTH
@pytest.mark.parametrize("proof", PROOFS)
def test_a_proof_of_any_kind_ends_verdicts_that_rest_on_ocsp(proof, kind, stage, tmp_path):
    make, reason = PROOFS[proof]
    with crl.CrlServer() as server:
        server.folder = tmp_path
        peer, proving = make(stage, server)
        found_good_at_first(peer.place, stage)
        stage.open()
        _, ask = stage.either(kind, {"ocsp": (peer, OCSP), "proof": proving}, workers=2)
        for _ in range(8):  # both workers
            assert ask("ocsp") == ACCEPT
        assert stage.responder.count(peer.place) == 1
        assert ask("proof") == ("reject", reason)
        for _ in range(8):
            assert ask("ocsp") == ("reject", "ocsp.revoked")
        assert stage.responder.count(peer.place) == 2


@BOTH
def test_announced_once(kind, stage):
    """Sources that contradict each other do not make the responder be asked for each handshake."""
    with crl.CrlServer() as server:
        peer, proving = by_crl(stage, server)
        stage.open()
        _, ask = stage.either(kind, {"ocsp": (peer, OCSP), "proof": proving})
        for _ in range(6):
            assert ask("proof") == ("reject", "crl.revoked")
            assert ask("ocsp") == ACCEPT
    assert stage.responder.count(peer.place) <= 2


@pytest.mark.parametrize("proof", ["ocsp", "crl"])
def test_a_revoked_verdict_outlives_its_own_news(proof, stage):
    """The check that announces a revocation keeps what it found."""
    with crl.CrlServer() as server:
        if proof == "crl":
            peer, (_, policy) = by_crl(stage, server)
        else:
            peer, policy = stage.peer("revoked", ocsp="revoked"), OCSP
        stage.open()
        _, port = stage.front([fronts.location("/", peer, strict=True, policy=policy),
                               "location /status { strict_tls_status; }\n"])
        for number in range(3):
            assert verdict(net.get(port))[0] == "reject"
            figures = json.loads(net.get(port, "/status.json").text)["figures"]
            assert figures["verdict_cache_hits_total"] == number
