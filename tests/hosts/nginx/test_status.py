"""strict_tls_status: what the page knows from all workers, in three formats, and who may see it."""
import http.client
import json
import re
import socket
from contextlib import closing

import pytest

from tests.lab import fronts, inbound_fronts, net, stream_fronts
from tests.lab.lab import Lab
from tests.lab.nginx import MODULE, STREAM_HOST, STREAM_MODULE, Nginx
from tests.lab.tls_client import Client

WORKERS = 4


@pytest.fixture(scope="module")
def scene():
    """One nginx with strict locations, a chain of its own, and pages with different access."""
    lab = Lab(scenarios=())
    try:
        good = lab.peer("good")
        gap = lab.peer("gap", serve="leaf intermediate")
        hostile = lab.peer("hostile", serve="leaf", cn="<script>alert(1)</script>")
        lab.issue("own", ocsp="good", sans=("own.lab.test",))
        chain = lab.bundle("own", ["own"])
        with lab:
            front = Nginx(lab.folder / "status", "status", module=MODULE, workers=WORKERS)
            plain, own, proxied = (net.free_port() for _ in range(3))
            status = "location /status { strict_tls_status; }\n"
            front.configure(fronts.http(
                fronts.server(plain, [
                    fronts.location("= /good", good, strict=True),
                    fronts.location("= /gap", gap, strict=True),
                    fronts.location("= /hostile", hostile, strict="report"),
                    status,
                    "location /open { strict_tls_status public; }\n",
                    "location /closed { strict_tls_status public; deny all; }\n",
                    f"location /relayed {{ proxy_pass http://{net.HOST}:{plain}/status;\n"
                    "proxy_set_header X-Forwarded-For $remote_addr; }\n",
                ], extra="set_real_ip_from 127.0.0.1;\nreal_ip_header X-Test-Client;\n"
                         f"listen unix:{front.folder}/socket;\n"),
                fronts.server(proxied, [status], listen="proxy_protocol"),
                f"server {{\nlisten {net.HOST}:{own} ssl;\nserver_name own.lab.test;\n"
                f"ssl_certificate {chain};\nssl_certificate_key {lab.pki['own'].key_path};\n}}\n",
                extra="strict_tls_fetch_deny none;\n"
                      f"strict_tls_trusted_certificate {lab.pki['root'].cert_path};\n"))
            try:
                front.start([plain, own, proxied])
                yield lab, front, plain, proxied, chain
            finally:
                front.stop()
    finally:
        lab.close()


@pytest.fixture(scope="module")
def page(scene):
    """The JSON page after 12 requests to each peer, over all workers."""
    _, _, port, _, _ = scene
    for path, status in (("/good", 200), ("/gap", 502), ("/hostile", 200)):
        for _ in range(12):
            assert net.get(port, path).status == status
    return json.loads(net.get(port, "/status.json").text)


# ---- what is on it ------------------------------------------------------------------


def test_peers(page, scene):
    """From whatever worker: one row for each, with verdict, reason and the chain."""
    peers = {peer["name"]: peer for peer in page["peers"]}
    rows = sorted((peer["direction"], peer["verdict"], peer["reason"], peer["count"])
                  for peer in page["peers"])
    assert rows == [("outbound", "accept", "none", 12),
                    ("outbound", "reject", "chain.incomplete", 12),
                    ("outbound", "would_reject", "chain.incomplete", 12)], peers
    for peer in page["peers"]:
        assert peer["report"]["certs"]
        assert peer["address"].startswith(f"{net.HOST}:")
        assert peer["last_s"] >= peer["first_s"] > 0


def test_counts(page):
    reasons = {(row["direction"], row["reason"]): row["count"] for row in page["reasons"]}
    assert reasons["outbound", "chain.incomplete"] == 24
    verdicts = {(row["direction"], row["verdict"]): row["count"] for row in page["verdicts"]}
    assert verdicts["outbound", "accept"] == 12
    assert verdicts["outbound", "reject"] == 12
    assert verdicts["outbound", "would_reject"] == 12


def test_figures(page):
    """Some answers were fetched, the rest came out of caches."""
    figures = page["figures"]
    assert figures["fetches_total"] >= 3  # leaf and two intermediates, at least once
    assert figures["answer_cache_entries"] >= 3
    assert figures["verdict_cache_hits_total"] > 0
    assert figures["fetch_failures_total"] == 0


def test_own(page, scene):
    own, = page["own"]
    assert own["file"] == str(scene[4])
    assert own["names"] == ["own.lab.test"]
    assert own["reason"] == "chain.incomplete"
    assert own["state"] == "bad"
    assert 80 < own["days_left"] < 91
    assert own["where"].startswith('server "own.lab.test" in ')


@pytest.mark.parametrize("path, accept, type", [
    ("/status", "", "text/html"),
    ("/status", "*/*", "text/html"),
    ("/status", "application/json", "application/json"),
    ("/status", "application/openmetrics-text;q=0.1,text/plain;version=0.0.4", "text/plain"),
    ("/status.json", "text/html", "application/json"),
    ("/status.html", "application/json", "text/html"),
    ("/status.prom", "", "text/plain"),
    ("/status/metrics", "", "text/plain"),
])
def test_formats(path, accept, type, page, scene):
    answer = net.get(scene[2], path, headers={"Accept": accept} if accept else {})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(type)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "chain.incomplete" in answer.text
    if type == "application/json":
        assert json.loads(answer.text)["host"].startswith("nginx/")
    if type == "text/plain":
        assert re.search(r"^strict_tls_fetches_total \d+$", answer.text, re.M)
        assert re.search(r'^strict_tls_reasons_total{direction="outbound",'
                         r'reason="chain.incomplete"} 24$', answer.text, re.M)


def test_hostile_values(page, scene):
    """A peer's subject is shown, not run."""
    answer = net.get(scene[2], "/status")
    assert "alert(1)" in answer.text
    assert "<script" not in answer.text


def test_head_and_other_methods(page, scene):
    head = net.get(scene[2], "/status", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 1000
    assert net.get(scene[2], "/status", method="POST", body=b"x").status == 405


# ---- who may see it -------------------------------------------------------------------


@pytest.mark.parametrize("header", [
    "X-Forwarded-For", "x-forwarded-for", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto",
    "X-Forwarded-Host"])
def test_forwarded(header, scene):
    """A proxy on this machine does not turn the world into loopback."""
    assert net.get(scene[2], "/status", headers={header: "127.0.0.1"}).status == 403
    assert net.get(scene[2], "/open", headers={header: "127.0.0.1"}).status == 200


def test_relayed(scene):
    assert net.get(scene[2], "/relayed").status == 403


@pytest.mark.parametrize("client", [
    "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "128.0.0.1", "127.0.0.1", "127.0.0.1:80",
    "127.8.8.8", "::1", "unix:",
])
def test_real_ip(client, scene):
    """Whoever takes the client's address from a header speaks for somebody else."""
    status = 200 if client == "unix:" else 403  # no address: realip leaves the real one
    assert net.get(scene[2], "/status", headers={"X-Test-Client": client}).status == status
    assert net.get(scene[2], "/open", headers={"X-Test-Client": client}).status == 200


def test_public_obeys_deny(scene):
    assert net.get(scene[2], "/closed").status == 403


def raw(connection, before=""):
    connection.sendall(f"{before}GET /status.json HTTP/1.0\r\n\r\n".encode())
    answer = b""
    while data := connection.recv(65536):
        answer += data
    return int(answer.split(b" ", 2)[1])


def test_unix_socket(scene):
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(f"{scene[1].folder}/socket")
        assert raw(connection) == 200


@pytest.mark.parametrize("client", ["192.0.2.1", "127.0.0.1"])
def test_proxy_protocol(client, scene):
    """Whoever speaks it speaks for somebody else."""
    with closing(socket.create_connection((net.HOST, scene[3]), 20)) as connection:
        assert raw(connection, f"PROXY TCP4 {client} 127.0.0.1 1 2\r\n") == 403


# ---- clients ----------------------------------------------------------------------------


def test_clients(stage):
    """Who presented a certificate is there by its subject and address, however often it came."""
    good, gap = stage.lab.visitor("good"), stage.lab.visitor("gap", serve="leaf")
    stage.open()
    name, page = "mtls.status.lab.test", net.free_port()
    _, port = stage.inbound(lambda port: [
        inbound_fronts.server(stage.lab, port, name, stage.lab.pki["root"].cert_path, strict=True),
        fronts.server(page, ["location /status { strict_tls_status; }\n"])])
    for scene, status in ((good, 200), (gap, 400)) * 3:
        assert Client(scene.chain, scene.key).get(port, name).status == status
    document = json.loads(net.get(page, "/status.json").text)
    rows = sorted((peer["direction"], peer["verdict"], peer["reason"], peer["count"],
                   peer["address"]) for peer in document["peers"])
    assert rows == [("inbound", "accept", "none", 3, net.HOST),
                    ("inbound", "reject", "chain.incomplete", 3, net.HOST)]
    assert all(peer["name"].startswith("CN=") for peer in document["peers"])


# ---- stream -----------------------------------------------------------------------------


@pytest.mark.parametrize("http_first", [False, True], ids=["stream first", "http first"])
def test_stream(http_first, stage, tmp_path):
    """One page for both modules, whichever is read first."""
    peer = stage.peer("gap", serve="leaf")
    stage.open()
    front = Nginx(tmp_path / "both", "both", module=[MODULE, *STREAM_HOST, STREAM_MODULE])
    port, relay = net.free_port(), net.free_port()
    stream = (f"stream {{\nserver {{\nlisten {net.HOST}:{relay};\n"
              f"{stream_fronts.server(peer, strict=True)}}}\n}}\n")
    front.configure(fronts.http(fronts.server(port, [
        "location /status { strict_tls_status; }\n"])), main="" if http_first else stream)
    if http_first:
        front.conf.write_text(front.conf.read_text() + stream)
    with front.start([port]):
        with pytest.raises((OSError, http.client.HTTPException)):
            net.get(relay, "/")
        row, = json.loads(net.get(port, "/status.json").text)["peers"]
        assert (row["direction"], row["reason"]) == ("outbound", "chain.incomplete")
        assert row["address"] == peer.backend.address
        front.reload()
        assert len(json.loads(net.get(port, "/status.json").text)["peers"]) == 1


# ---- bounds and mistakes ------------------------------------------------------------------


def test_bounded(stage):
    """The least recently seen peers make room; the own chain stays; a reload keeps all."""
    peer = stage.peer("many")
    stage.lab.issue("own", ocsp="good", sans=("own.lab.test",))
    pki = stage.lab.pki
    stage.open()
    front, port = stage.front(
        [fronts.location("/", peer, strict=True, name="$arg_name"),
         "location /status { strict_tls_status; }\n"],
        http="strict_tls_status_zone small 256k;\n"
             f"server {{\nlisten {net.HOST}:{net.free_port()} ssl;\n"
             f"ssl_certificate {pki['own'].cert_path};\n"
             f"ssl_certificate_key {pki['own'].key_path};\n}}\n")

    def names():
        return [peer["name"] for peer in json.loads(net.get(port, "/status.json").text)["peers"]]

    for number in range(40):
        assert net.get(port, f"/?name=n{number}.lab.test").status == 502
    kept = names()
    assert 5 < len(kept) < 20
    assert set(kept) == {f"n{number}.lab.test" for number in range(40 - len(kept), 40)}
    assert len(json.loads(net.get(port, "/status.json").text)["own"]) == 1
    front.reload()
    assert set(names()) == set(kept)


@pytest.mark.parametrize("lines, word", [
    ("location / { strict_tls_status private; }", "public"),
    ("location / { strict_tls_status; strict_tls_status; }", "duplicate"),
    ("strict_tls_status;", "not allowed here"),
])
def test_wrong_lines(lines, word, stage):
    front, _ = stage.front([lines], start=False)
    status, output = front.test()
    assert status == 1
    assert word in output


@pytest.mark.parametrize("line, word", [
    ("strict_tls_status_zone z;", "invalid number of arguments"),
    ("strict_tls_status_zone z tiny;", "invalid zone size"),
    ("strict_tls_status_zone z 64k;", "too small"),
    ("strict_tls_status_zone z 1m; strict_tls_status_zone y 1m;", "duplicate"),
    ("strict_tls_cache_zone z 1m; strict_tls_status_zone z 1m;", "already in use"),
    ("strict_tls_status_zone z 1m; strict_tls_cache_zone z 1m;", "already in use"),
    ("strict_tls_status_zone strict_tls 4m;", "already in use"),
])
def test_wrong_zones(line, word, stage):
    front, _ = stage.front(
        [f"location / {{\nproxy_pass https://{net.HOST}:1;\nstrict_tls on;\n"
         f"strict_tls_trusted_certificate {stage.lab.pki['root'].cert_path};\n}}\n"],
        http=line, start=False)
    status, output = front.test()
    assert status == 1
    assert word in output
