"""Handler strict-tls-status: one page for people, programs and Prometheus, for this machine only."""
import json
import re

import pytest

from tests.hosts.httpd.conftest import Stage, where
from tests.lab import chromium, httpd_fronts, net
from tests.lab.httpd import MODULE, Httpd
from tests.lab.scenarios import NAME

HOSTILE = '<script>alert(1)</script>"\'\\'


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An httpd that has met a good backend, one with a gap and a hostile one, and presents an
    incomplete chain itself; several processes share what they know."""
    from contextlib import ExitStack
    folder = tmp_path_factory.mktemp("status")
    folder.chmod(0o755)
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        good = stage.peer("good")
        gap = stage.peer("gap", serve="leaf")
        hostile = stage.peer("hostile", serve="leaf", cn=HOSTILE, sans=("other.test",))
        own = stage.lab.issue("own", sans=("www.status.test",), ocsp="good")
        whole = stage.lab.bundle("own_whole", ["own", "issuing", "intermediate"])
        alone = stage.lab.bundle("own_alone", ["own"])
        stage.open()
        ports = [net.free_port() for _ in range(2)]
        text = "".join(
            f"Listen {net.HOST}:{port}\n<VirtualHost {net.HOST}:{port}>\nServerName {name}\n"
            f"SSLEngine on\nSSLCertificateFile {pem}\nSSLCertificateKeyFile {own.key_path}\n"
            "</VirtualHost>\n"
            for port, pem, name in zip(ports, (whole, alone), ("www.status.test", "b.status.test")))
        body = [where(good, "/good"), where(gap, "/gap"), where(hostile, "/hostile"),
                "<Location /status>\nSetHandler strict-tls-status\n</Location>\n",
                "<Location /metrics>\nSetHandler strict-tls-status\n</Location>\n",
                "<Location /public>\nSetHandler strict-tls-status\nStrictTLSStatus public\n"
                "Require all granted\n</Location>\n",
                "<Location /closed>\nSetHandler strict-tls-status\nStrictTLSStatus public\n"
                "Require all denied\n</Location>\n"]
        front, port = stage.front(
            body, modules=("remoteip",), processes=3, threads=4, hosts=(NAME,),
            main=f"StrictTLSTrustedCertificate {stage.lab.pki['root'].cert_path}\n"
                 "StrictTLSFetchDeny none\nRemoteIPHeader X-Client\n" + text)
        for _ in range(4):
            assert net.get(port, "/good").status == 200
        assert net.get(port, "/gap").status == 502
        assert net.get(port, "/hostile").status == 502
        net.wait_until(lambda: all(own["report"] for own in page(port)["own"]),
                       "own chains to be looked at")
        yield port, front


def page(port, path="/status", **headers):
    answer = net.get(port, path, headers={"Accept": "application/json", **headers})
    assert answer.status == 200
    return json.loads(answer.text)


def test_json(site):
    port, _ = site
    document = page(port)
    own = {chain["file"].rsplit("/", 1)[1]: chain for chain in document["own"]}
    whole, alone = (next(chain for file, chain in own.items() if word in file)
                    for word in ("own_whole", "own_alone"))
    assert whole["state"] == "good" and whole["days_left"] in (88, 89), whole
    assert whole["names"] == ["www.status.test"] and whole["revocation"] == "good"
    assert alone["state"] == "bad" and alone["reason"] == "chain.incomplete"
    # All processes' verdicts: of a kept-alive connection there may be fewer than requests.
    peers = {peer["reason"]: peer for peer in document["peers"]}
    assert set(peers) == {"none", "chain.incomplete"} or "name.mismatch" in peers
    assert peers["none"]["direction"] == "outbound" and peers["none"]["name"] == NAME
    assert peers["none"]["report"]["certs"][0]["place"] == "path"
    counts = {row["verdict"]: row["count"] for row in document["verdicts"]
              if row["direction"] == "outbound"}
    assert counts["reject"] == 2 and counts["accept"] >= 1
    assert document["figures"]["fetches_total"] > 0


def test_prometheus(site):
    port, _ = site
    answer = net.get(port, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = dict(re.findall(r"^(\w+(?:\{.*\})?) (-?\d+)$", answer.text, re.M))
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(lines)
    assert samples['strict_tls_verdicts_total{direction="outbound",verdict="reject"}'] == "2"
    assert samples['strict_tls_reasons_total{direction="outbound",reason="chain.incomplete"}'] != "0"
    days = [value for key, value in samples.items() if key.startswith("strict_tls_own_days_left{")]
    assert len(days) == 2 and all(int(value) in (88, 89) for value in days)
    good = {("own_whole" in key): value for key, value in samples.items()
            if key.startswith("strict_tls_own_good{")}
    assert good == {True: "1", False: "0"}


@pytest.mark.parametrize("path, accept, wanted", [
    ("/status", "text/html,*/*;q=0.8", "text/html; charset=utf-8"),
    ("/status", "*/*", "text/html; charset=utf-8"),
    ("/status", "application/json", "application/json"),
    ("/status/x.json", "text/html", "application/json"),
    ("/status/x.prom", "text/html", "text/plain; version=0.0.4; charset=utf-8"),
])
def test_format(path, accept, wanted, site):
    answer = net.get(site[0], path, headers={"Accept": accept})
    assert (answer.status, answer.headers["content-type"]) == (200, wanted)
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_only_this_machine(site):
    port, front = site
    for header, value in (("X-Client", "192.0.2.7"), ("X-Forwarded-For", "127.0.0.1"),
                          ("Forwarded", "for=127.0.0.1"), ("Via", "1.1 proxy")):
        assert net.get(port, "/status", headers={header: value}).status == 403, header
        assert net.get(port, "/public", headers={header: value}).status == 200, header
    assert net.get(port, "/status", headers={"X-Client": "127.0.0.5"}).status == 200
    assert "StrictTLSStatus public" in front.errors()
    # Opened is not open: what Require denies stays denied.
    assert net.get(port, "/closed").status == 403
    assert net.get(port, "/status", method="POST", body=b"x").status == 405
    assert net.get(port, "/status", method="HEAD").body == b""


def test_what_people_see(site, tmp_path):
    """In a real browser: the gap is there, nothing runs, nothing is loaded, nothing is cut off."""
    port, _ = site
    text = net.get(port, "/status", headers={"Accept": "text/html"}).text
    assert "<script" not in text and "&lt;script" in text
    seen = {}
    for size in (chromium.DESKTOP, chromium.PHONE):
        for dark in (False, True):
            found = chromium.measure(text, size=size, dark=dark)
            seen[size, dark] = found["text"], found["background"]
            assert found["missing"] >= 2 and found["sent"] >= 6 and found["root"] >= 2, found
            assert set(found["gap"]) == {"dashed"}
            assert found["widest"] <= found["width"] + 1, found
            assert found["smallest"] >= 12, found
            assert found["scripts"] == 1 and found["images"] == 0  # the measuring one
            assert found["loaded"] == []
    assert seen[chromium.PHONE, False] != seen[chromium.PHONE, True]  # light and dark
    shot = chromium.screenshot(f"http://{net.HOST}:{port}/status", tmp_path / "page.png")
    assert shot.read_bytes()[:4] == b"\x89PNG"


def test_peers_are_bounded(tmp_path):
    """The one that was not seen for longest makes room; counts go on."""
    from contextlib import ExitStack
    tmp_path.chmod(0o755)
    with ExitStack() as stack:
        stage = Stage(tmp_path, stack)
        names = [f"peer{number}.status.test" for number in range(3)]
        peers = [stage.peer(f"bounded{number}", sans=(name,)) for number, name in enumerate(names)]
        stage.open()
        body = [where(peer, f"/{number}", name=name)
                for number, (peer, name) in enumerate(zip(peers, names))]
        body.append("<Location /status>\nSetHandler strict-tls-status\n</Location>\n")
        _, port = stage.front(body, main="StrictTLSStatusPeers 2\n", hosts=names)
        for number in range(3):
            assert net.get(port, f"/{number}").status == 200
        document = page(port)
        assert sorted(peer["name"] for peer in document["peers"]) == names[1:]
        assert sum(row["count"] for row in document["verdicts"]) == 3


@pytest.mark.parametrize("main, words", [
    ("StrictTLSStatusPeers 0", ["1 to 65536"]),
    ("StrictTLSStatusPeers many", ["1 to 65536"]),
    ("StrictTLSStatus everybody", ["local or public"]),
])
def test_wrong_directives(main, words, tmp_path):
    httpd = Httpd(tmp_path / "t", module=MODULE)
    httpd.configure(httpd_fronts.vhost(net.free_port(), [""]), main=main)
    status, output = httpd.test()
    assert status != 0 and all(word in output for word in words), output
