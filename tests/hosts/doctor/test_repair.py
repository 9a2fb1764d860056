"""fix repairs what can be repaired; strict nginx, file and check then accept it."""
import re
from dataclasses import replace

import pytest

from tests.hosts.doctor.conftest import (ACCEPT, REJECT, UNKNOWN, USAGE, Doctor, policy_text)
from tests.lab import fronts, net
from tests.lab.backends import Backends
from tests.lab.lab import Lab
from tests.lab.nginx import MODULE, Nginx
from tests.lab.pki import Pki
from tests.lab.scenarios import NAME

REPAIRABLE = {
    "leaf_only": 2, "one_missing": 1, "one_missing_in_bundle": 1, "all_missing_in_bundle": 2,
    "gap": 1, "gap_in_bundle": 1, "misordered": 0, "extra_deny": 0, "duplicate": 0,
    "mutual_incomplete_backend": 2,
}
HOPELESS = ["untrusted_root", "untrusted_root_absent", "self_signed", "altered_leaf", "expired",
            "path_length", "weak_key", "profile", "client_purpose"]
GOOD = ["good", "good_short", "wrong_name", "revoked", "cross_signed"]


def fix(doctor, scene, *args, **options):
    return doctor("fix", scene.backend.address, "--cafile", scene.trust, "--policy", policy_text(),
                  *args, **options)


def certificates(pem):
    return re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.S)


@pytest.fixture(scope="module")
def repaired(lab, tmp_path_factory):
    """What fix printed for each, deployed behind a strict nginx."""
    folder = tmp_path_factory.mktemp("repaired")
    doctor = Doctor(folder)
    backends = Backends(folder / "backends")
    runs, scenes = {}, {}
    for id in REPAIRABLE:
        scene = lab.scenes[id]
        runs[id] = fix(doctor, scene)
        chain = folder / f"{id}.fullchain.pem"
        chain.write_text(runs[id].out)
        if runs[id].code == ACCEPT:
            backend = backends.add(id, chain, scene.leaf.key_path)
            # Only the root is trusted from here on, as by everybody else.
            scenes[id] = replace(scene, backend=backend, trust=lab.pki["root"].cert_path,
                                 client=None)
    front = Nginx(folder, "strict", module=MODULE)
    port = net.free_port()
    front.configure(fronts.http(fronts.server(port, [
        fronts.location(f"= /{id}", scene, strict=True) for id, scene in scenes.items()])))
    try:
        backends.start()
        front.start([port])
        yield runs, scenes, port
    finally:
        front.stop()
        backends.stop()


@pytest.mark.parametrize("id", REPAIRABLE)
def test_fix_completes(id, repaired):
    runs, _, _ = repaired
    assert runs[id].code == ACCEPT, runs[id].err
    assert len(certificates(runs[id].out)) == 3
    assert runs[id].err.count("added") == REPAIRABLE[id]
    assert runs[id].err


@pytest.mark.parametrize("id", REPAIRABLE)
def test_strict_nginx_accepts_the_repaired_chain(id, repaired):
    _, _, port = repaired
    answer = net.get(port, f"/{id}")
    assert (answer.status, answer.headers["x-strict-tls-verdict"]) == (200, "accept")


@pytest.mark.parametrize("id", REPAIRABLE)
def test_check_and_file_accept_the_repaired_chain(id, repaired, doctor):
    _, scenes, _ = repaired
    scene = scenes[id]
    assert doctor.check(scene).code == ACCEPT
    done = doctor("file", scene.backend.chain, "--cafile", scene.trust, "--key",
                  scene.leaf.key_path, "--name", NAME, "--json")
    assert done.code == ACCEPT, done.err
    assert done.json["reason"] == "none" and done.json["key_matches"] is True


@pytest.mark.parametrize("id", REPAIRABLE)
def test_check_shows_the_same_repair(id, doctor, lab):
    """The drawing has what is missing; the command in the diagnosis is the one that repairs."""
    scene = lab.scenes[id]
    diagnosis = doctor.check(scene, policy={"chain_extra": "deny"}).json
    assert diagnosis["repair"]["possible"]
    missing = [node for node in diagnosis["chain"] if node["kind"] == "missing"]
    assert len(missing) == REPAIRABLE[id]
    for node in missing:
        assert node["subject"] and node["key_id"] and "/ca/" in node["published_at"]
    assert diagnosis["chain"][0]["index"] == 0
    assert [node["kind"] for node in diagnosis["chain"] if node["kind"] != "unneeded"][-1] == "root"
    command = diagnosis["repair"]["command"]
    assert command.startswith(f"strict-tls fix {scene.backend.address} --name {NAME} --cafile ")


@pytest.mark.parametrize("id", HOPELESS)
def test_nothing_is_printed_where_nothing_verifies(id, doctor, lab):
    done = fix(doctor, lab.scenes[id])
    assert (done.code, done.out) == (REJECT, "")
    assert done.err


@pytest.mark.parametrize("id", GOOD)
def test_a_good_chain_stays(id, doctor, lab):
    done = fix(doctor, lab.scenes[id])
    assert done.code == ACCEPT
    assert done.out == lab.scenes[id].backend.chain.read_text()
    assert "added" not in done.err and "removed" not in done.err


@pytest.fixture(scope="module")
def published():
    """Leaves whose missing issuer is published in one form or another, at an IPv6 address too."""
    lab, peers = Lab(scenarios=()), {}
    for form in ("der", "pem", "p7c", "absent"):
        url = lab.responder.url("ca/nobody.der" if form == "absent" else f"ca/issuing.{form}")
        port = net.free_port()
        peers[form] = (lab.peer(f"form_{form}", serve="leaf", sans=(NAME, "::1"), ca_issuers=[url],
                                options={"extra": f"listen [::1]:{port} ssl;"}), port)
    with lab:
        yield peers


@pytest.mark.parametrize("form", ["der", "pem", "p7c"])
def test_forms_of_an_issuer(form, published, doctor):
    """RFC 5280 section 4.2.2.1 has DER and PKCS#7; some CAs publish PEM."""
    scene, _ = published[form]
    done = fix(doctor, scene)
    assert done.code == ACCEPT, done.err
    assert len(certificates(done.out)) == 3 and done.err.count("added") == 2
    diagnosis = doctor.check(scene).json
    assert diagnosis["repair"]["possible"]
    assert [node["kind"] for node in diagnosis["chain"]] == ["sent", "missing", "missing", "root"]


def test_an_issuer_that_is_not_there(published, doctor):
    done = fix(doctor, published["absent"][0])
    assert (done.code, done.out) == (REJECT, "")
    assert "Lab Issuing CA" in done.err


def test_ipv6(published, doctor, tmp_path):
    """check, fix and file of an endpoint that is an address."""
    scene, port = published["der"]
    options = ["--cafile", scene.trust, "--policy", policy_text()]
    done = doctor("check", f"[::1]:{port}", *options, "--json")
    assert (done.code, done.json["reason"]) == (REJECT, "chain.incomplete")
    assert done.json["connection"]["address"] == done.json["target"]["label"] == f"[::1]:{port}"
    assert done.json["target"]["name"] == done.json["strict"]["name"] == "::1"
    assert done.json["repair"]["command"].startswith(f"strict-tls fix '[::1]:{port}' ")
    done = doctor("fix", f"[::1]:{port}", *options)
    assert done.code == ACCEPT and len(certificates(done.out)) == 3
    (tmp_path / "fullchain.pem").write_text(done.out)
    for name, code in (("::1", ACCEPT), ("[::1]", ACCEPT), ("::2", REJECT)):
        assert doctor("file", tmp_path / "fullchain.pem", "--name", name, "--cafile",
                      scene.trust).code == code
    done = doctor("check", NAME, "--connect-to", f"[::1]:{port}", *options, "--json")
    assert done.json["reason"] == "chain.incomplete" and done.json["strict"]["name"] == NAME


def test_issuers_are_not_fetched_from_denied_addresses(doctor, lab):
    scene = lab.scenes["leaf_only"]
    done = doctor("fix", scene.backend.address, "--cafile", scene.trust)
    assert (done.code, done.out) == (REJECT, "")


@pytest.mark.parametrize("id", REPAIRABLE)
def test_a_file_is_repaired_like_its_endpoint(id, repaired, doctor, lab):
    """Before it is deployed at all."""
    runs, _, _ = repaired
    scene = lab.scenes[id]
    done = doctor("fix", scene.backend.chain, "--cafile", scene.trust, "--policy", policy_text())
    assert (done.code, done.out, done.err) == (ACCEPT, runs[id].out, runs[id].err)


def test_hopeless_and_missing_files(doctor, lab):
    scene = lab.scenes["untrusted_root"]
    done = doctor("fix", scene.backend.chain, "--cafile", scene.trust, "--policy", policy_text())
    assert (done.code, done.out) == (REJECT, "")
    done = doctor("fix", "./nowhere.pem")
    assert (done.code, done.out) == (USAGE, "")
    assert "nowhere.pem" in done.err


def test_nothing_to_fix(doctor, lab):
    assert doctor("fix", f"{net.HOST}:{lab.refusing.port}").code == UNKNOWN
    assert doctor("fix").code == USAGE


# ---- file ---------------------------------------------------------------------

FILES = {"good": "none", "leaf_only": "chain.incomplete", "one_missing": "chain.untrusted",
         "misordered": "chain.misordered", "expired": "chain.expired",
         "untrusted_root": "chain.untrusted", "wrong_name": "name.mismatch",
         "weak_key": "chain.weak", "revoked": "none", "altered_leaf": "chain.bad_signature"}


@pytest.mark.parametrize("id", FILES)
def test_file(id, doctor, lab):
    """Before it is deployed, and with nothing asked of anybody."""
    scene = lab.scenes[id]
    before = len(lab.responder.hits)
    done = doctor("file", scene.backend.chain, "--cafile", scene.trust, "--name", NAME, "--json")
    assert done.json["reason"] == FILES[id]
    assert done.code == (ACCEPT if FILES[id] == "none" else REJECT)
    assert done.json["repair"] is None or id not in ("leaf_only", "one_missing") \
        or not done.json["repair"]["possible"]
    assert len(lab.responder.hits) == before


def test_every_gap_is_drawn(doctor, tmp_path):
    """Two certificates are missing, one is superfluous, the rest is misordered."""
    pki = Pki(tmp_path / "pki")
    top = pki.issue("root", ca=True)
    for label in ("a", "b", "c", "d"):
        top = pki.issue(label, top, ca=True, ca_issuers=[f"http://ca.lab.test/{top.label}.der"])
    pki.issue("leaf", top, sans=[NAME], ca_issuers=["http://ca.lab.test/d.der"])
    pki.issue("other", ca=True)
    chain = pki.bundle("chain.pem", ["leaf", "a", "c", "other"])
    options = ["--cafile", pki["root"].cert_path, "--name", NAME]
    done = doctor("file", chain, *options, "--json")
    assert (done.code, done.json["reason"]) == (REJECT, "chain.incomplete")
    drawn = [(node["kind"], node["index"], node["published_at"]) for node in done.json["chain"]]
    assert drawn == [
        ("sent", 0, None), ("missing", None, "http://ca.lab.test/d.der"),
        ("sent", 2, None), ("missing", None, "http://ca.lab.test/b.der"),
        ("sent", 1, None), ("root", None, None), ("unneeded", 3, None)]
    assert done.json["strict"]["order"] == [0, None, 2, None, 1]
    assert doctor("file", chain, *options).out.count("MISSING") == 2


def test_file_online(doctor, lab):
    scene = lab.scenes["revoked"]
    done = doctor("file", scene.backend.chain, "--cafile", scene.trust, "--online", "--json",
                  "--policy", policy_text())
    assert (done.code, done.json["reason"]) == (REJECT, "ocsp.revoked")
    scene = lab.scenes["leaf_only"]
    done = doctor("file", scene.backend.chain, "--cafile", scene.trust, "--online", "--json",
                  "--policy", policy_text())
    assert done.json["repair"]["possible"]


def test_file_without_a_name(doctor, lab):
    scene = lab.scenes["good"]
    assert doctor("file", scene.backend.chain, "--cafile", scene.trust).code == ACCEPT


def test_file_key(doctor, lab):
    scene, other = lab.scenes["good"], lab.scenes["good_short"]
    options = ["--cafile", scene.trust, "--json"]
    done = doctor("file", scene.backend.chain, "--key", other.leaf.key_path, *options)
    assert (done.code, done.json["key_matches"]) == (REJECT, False)
    assert [problem["id"] for problem in done.json["problems"]] == ["key.mismatch"]
    for key in (scene.backend.chain, "/nonexistent"):
        assert doctor("file", scene.backend.chain, "--key", key, *options).code == USAGE


def test_file_unreadable(doctor, lab, tmp_path):
    trust = lab.scenes["good"].trust
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("no certificate\n")
    (tmp_path / "cut").write_text(trust.read_text()[:400] + "\n-----END CERTIFICATE-----\n")
    (tmp_path / "folder").mkdir()
    for name in ("empty", "text", "cut", "folder", "absent"):
        for args in ((tmp_path / name, "--cafile", trust),
                     (lab.scenes["good"].backend.chain, "--cafile", tmp_path / name)):
            done = doctor("file", *args)
            assert (done.code, done.out) == (USAGE, ""), name
            assert name in done.err
