"""Chains of our own on the status page: nothing is good that nobody has asked about."""
import json

import pytest

from tests.lab import fronts, net

WORKERS = 3


class Server:
    """An nginx with a status page and a server for each of some own chains."""

    def __init__(self, stage, zone=""):
        self.stage = stage
        self._zone = f"strict_tls_status_zone page {zone};\n" if zone else ""
        self._ports = {}

    def chain(self, name, ocsp="good"):
        """Made before the lab is opened."""
        lab = self.stage.lab
        lab.issue(name, ocsp=ocsp, sans=(f"{name}.lab.test",))
        lab.bundle("own", [name, "issuing", "intermediate"])

    def _servers(self, names):
        lab = self.stage.lab
        text = ""
        for name in names:
            port = self._ports.setdefault(name, net.free_port())
            chain = lab.bundle("own", [name, "issuing", "intermediate"])
            text += (f"server {{\nlisten {net.HOST}:{port} ssl;\nserver_name {name}.lab.test;\n"
                     f"ssl_certificate {chain};\n"
                     f"ssl_certificate_key {lab.pki[name].key_path};\n}}\n")
        return text

    def start(self, names, locations=()):
        self._locations = ["location /status { strict_tls_status; }\n", *locations]
        self.front, self.port = self.stage.front(self._locations, workers=WORKERS, start=False)
        self._write(names)
        self.front.start([self.port])
        self.front.mark()

    def _write(self, names):
        trust = self.stage.lab.pki["root"].cert_path
        self.front.configure(fronts.http(
            fronts.server(self.port, self._locations), self._servers(names),
            extra=f"{self._zone}strict_tls_fetch_deny none;\n"
                  f"strict_tls_trusted_certificate {trust};\n"))

    def reload(self, names):
        self._write(names)
        self.front.reload()

    def pages(self, number=30):
        """What so many requests are shown, by whichever worker: {name: [states]}."""
        shown = {}
        for _ in range(number):
            page = json.loads(net.get(self.port, "/status.json").text)
            for own in page["own"]:
                shown.setdefault(own["names"][0].split(".")[0], []).append(own["state"])
        return shown


def test_before_anybody_has_asked(stage):
    """While the responder is silent, revocation is not known: the chain is not good."""
    server = Server(stage)
    server.chain("slow", ocsp="hold")
    stage.open()
    server.start(["slow"])
    assert set(server.pages(10)["slow"]) == {"unknown"}
    text = net.get(server.port, "/status.html").text
    assert "not asked" in text
    metrics = net.get(server.port, "/status/metrics").text.splitlines()
    good, = [line for line in metrics if line.startswith("strict_tls_own_good{")]
    assert good.endswith(" 0")


@pytest.mark.parametrize("zone", ["", "256k"])
def test_a_reload_that_adds_chains(zone, stage):
    """All workers show what the one that asks has learned, or that nothing is known."""
    server = Server(stage, zone)
    few = ["first"]
    many = [f"more{i}" for i in range(24)]
    for name in few:
        server.chain(name)
    for name in many:
        server.chain(name, ocsp="revoked" if name == "more7" else "good")
    peer = stage.peer("peer")
    stage.open()
    server.start(few, [fronts.location("= /peer", peer, strict=True)])
    for _ in range(5):
        assert net.get(server.port, "/peer").status == 200
    net.wait_until(lambda: set(server.pages(4)["first"]) == {"good"}, "the first chain", 20)
    server.reload(few + many)
    # at no time is the revoked one good
    seen = {}

    def settled():
        nonlocal seen
        seen = server.pages(6)
        assert "good" not in seen["more7"], seen
        return set(seen["more7"]) == {"bad"} and all(
            set(states) == {"good"} for name, states in seen.items() if name != "more7")

    if zone:
        # a zone of a size that was given holds no more than that
        for _ in range(20):
            settled()
        assert "restart" in server.front.new_errors()
    else:
        net.wait_until(settled, "all chains to be asked about", 30)
        assert "no room" not in server.front.new_errors()
    peer, = json.loads(net.get(server.port, "/status.json").text)["peers"]
    assert peer["count"] == 5
