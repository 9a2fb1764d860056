"""The lab itself: stock nginx and OpenSSL's own client see what the scenario table says."""
import signal
import subprocess
import sys

import pytest

from tests.lab import fronts, net
from tests.lab.demo import HEADER
from tests.lab.nginx import ROOT
from tests.lab.scenarios import BY_ID
from tests.lab.table import render, visible

VERSIONS = {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}


@pytest.fixture(scope="module")
def stock(lab):
    front, port = fronts.scenario_front(
        lab, lab.folder / "stock", strict=False,
        versions=tuple((f"/{key}", protocol) for key, protocol in VERSIONS.items()))
    yield port
    front.stop()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", BY_ID)
def test_stock_nginx(id, version, stock):
    assert net.get(stock, f"/{version}/{id}").status == BY_ID[id].stock


def ask_openssl(lab, url, label, *options):
    """Output of OpenSSL's OCSP client."""
    entity = lab.pki[label]
    done = subprocess.run(
        ["openssl", "ocsp", "-issuer", entity.issuer.cert_path, "-cert", entity.cert_path,
         "-CAfile", lab.bundle("trust", ["root", "intermediate"]), "-url", url, *options],
        capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


@pytest.mark.parametrize("place, words", [
    ("good", ["Response verify OK", ": good"]),
    ("good_by_name", ["Response verify OK", ": good"]),
    ("delegated", ["Response verify OK", ": good"]),
    ("revoked", ["Response verify OK", ": revoked", "keyCompromise"]),
    ("revoked_behind_other", ["Response verify OK", ": revoked"]),
    ("other_first", ["Response verify OK", ": good"]),
    ("unknown", ["Response verify OK", ": unknown"]),
    ("http_1_0", ["Response verify OK", ": good"]),
    ("until_close", ["Response verify OK", ": good"]),
    ("late", ["Response verify OK", ": good"]),
    ("wrong_certificate", ["Response verify OK", "No Status found"]),
    ("stale", ["Response verify OK", "status expired"]),
    ("future", ["Response verify OK", "status not yet valid"]),
    ("unauthorized_usage", ["Response Verify Failure"]),
    ("unauthorized_ca", ["Response Verify Failure"]),
    ("self_vouching", ["Response Verify Failure"]),
    ("bad_signature", ["Response Verify Failure"]),
    ("try_later", ["trylater (3)"]),
    ("unauthorized", ["unauthorized (6)"]),
    ("malformed", ["Error parsing response"]),
    ("truncated", ["Error querying OCSP responder"]),
    ("garbage", ["Error querying OCSP responder"]),
    ("nonce_none", ["no nonce in response", ": good"]),
    ("nonce_wrong", ["Nonce Verify error"]),
    ("http_500", ["Error querying OCSP responder"]),
    ("redirect", ["redirection not enabled"]),
    ("oversize", ["max resp len exceeded"]),
    ("close", ["Error querying OCSP responder"]),
    ("reset", ["Error querying OCSP responder"]),
    ("cut", ["Error querying OCSP responder"]),
    ("not_http", ["Error querying OCSP responder"]),
])
def test_responder(place, words, lab):
    said = ask_openssl(lab, lab.responder.url(place), "leaf_good")
    assert [word for word in words if word not in said] == [], said


def test_responder_with_an_empty_list(lab):
    """The words that say so differ from release to release."""
    said = ask_openssl(lab, lab.responder.url("empty_list"), "leaf_good")
    assert [status for status in (": good", ": revoked", ": unknown") if status in said] == []
    assert "no revocation data" in said or "No Status found" in said


@pytest.mark.parametrize("label, word", [
    ("leaf_good", ": good"),
    ("leaf_revoked", ": revoked"),
    ("issuing", ": good"),
    ("revoked_issuing", ": revoked"),
    ("intermediate", ": good"),
])
def test_openssl_responder(label, word, lab):
    said = ask_openssl(lab, lab.real[lab.pki[label].issuer.label].url, label)
    assert "Response verify OK" in said and word in said


def test_staple_is_served(lab):
    backend = lab.scenes["stapled"].backend
    for version in ("-tls1_2", "-tls1_3"):
        done = subprocess.run(
            ["openssl", "s_client", version, "-connect", backend.address, "-status"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        assert "OCSP Response Status: successful" in done.stdout


@pytest.mark.parametrize("width", [72, 80, 100, 169, 170, 200])
def test_table_fits(width):
    rows = [([scenario.title, *["502"] * 6, scenario.reason or "", "one remedy " * 20],
             ["", *["bad"] * 6, "", "alarm"]) for scenario in BY_ID.values()]
    lines = render(HEADER, rows, width, colour=True, tail=2)
    assert max(len(visible(line)) for line in lines) <= width
    text = visible(" ".join(lines))
    assert "remedy remedy" not in text
    # No word is broken.
    for scenario in BY_ID.values():
        for word in scenario.title.split() + [scenario.reason or "one"]:
            assert word in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_cleans_up(number, tmp_path):
    """Stopped while it is running, the demo leaves no folder behind."""
    demo = subprocess.Popen([sys.executable, "-m", "tests.lab.demo", "--keep"], cwd=ROOT,
                            env={"TMPDIR": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = []
    try:
        for line in demo.stdout:
            output.append(line)
            if "certificates" in line:
                break
        demo.send_signal(number)
        demo.wait(20)
    finally:
        demo.kill()
        demo.stdout.close()
    assert demo.returncode == 0, "".join(output)
    assert list(tmp_path.iterdir()) == []
