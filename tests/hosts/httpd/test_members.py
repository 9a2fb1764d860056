"""Members of balancers: health checks are judged as requests are, and a member in error says why."""
import json

import pytest

from tests.lab import httpd_fronts, net
from tests.lab.httpd import MPMS
from tests.lab.scenarios import NAME
from tests.lab.verdicts import ACCEPT, verdict

MODULES = ("proxy_balancer", "lbmethod_byrequests", "proxy_hcheck")
CHECK = "hcmethod=GET hcuri=/ hcinterval=1 hcfails=1 hcpasses=1"

# Where StrictTLS stands.
PLACES = {
    "server": "{strict}<Proxy balancer://pool>\n{member}</Proxy>\nProxyPass / balancer://pool/\n",
    "balancer": ("<Proxy balancer://pool>\n{strict}{member}</Proxy>\n"
                 "ProxyPass / balancer://pool/\n"),
    "member": ('<Proxy "{url}">\n{strict}</Proxy>\n<Proxy balancer://pool>\n{member}</Proxy>\n'
               "ProxyPass / balancer://pool/\n"),
    "location": ("<Proxy balancer://pool>\n{member}</Proxy>\n"
                 "<Location />\n{strict}ProxyPass balancer://pool/\n</Location>\n"),
    "location beside ProxyPass": ("<Proxy balancer://pool>\n{member}</Proxy>\n"
                                  "ProxyPass /x balancer://pool/x\n<Location /x>\n{strict}"
                                  "</Location>\n"),
    "location by expression": ("<Proxy balancer://pool>\n{member}</Proxy>\n"
                               'ProxyPass /x balancer://pool/x\n<LocationMatch "^/x">\n{strict}'
                               "</LocationMatch>\n"),
}


def front_of(stage, peer, place="server", policy="on", check=CHECK, **options):
    url = httpd_fronts.url_of(peer, NAME)
    strict = (f"StrictTLS {policy}\nStrictTLSTrustedCertificate {peer.trust}\n"
              "StrictTLSFetchDeny none\nStrictTLSNegativeTTLS 1\n")
    body = PLACES[place].format(strict=strict, url=url, member=f"BalancerMember {url} {check}\n")
    status = "<Location /strict-tls>\nProxyPass !\nSetHandler strict-tls-status\n</Location>\n"
    return stage.front([body, status], modules=MODULES, **{"level": "debug", **options})


def wait_for_check(front):
    net.wait_until(lambda: "Health check GET Status" in front.errors(), "a health check", 20)


@pytest.mark.parametrize("reason, fields", [
    ("chain.incomplete", {"serve": "leaf"}), ("name.mismatch", {"sans": ("other.lab.test",)}),
    ("ocsp.revoked", {"ocsp": "revoked"})])
@pytest.mark.parametrize("place", PLACES)
def test_health_check_is_judged(place, reason, fields, stage):
    """By name, too; and what a client is then told is 502 with the reason."""
    peer = stage.peer("bad", **fields)
    stage.open()
    front, port = front_of(stage, peer, place)
    net.wait_until(lambda: "Health check DISABLING" in front.errors(), "the member's error", 20)
    found = front.verdicts()
    assert {(line.word, line.reason, line.fields["peer"]) for line in found} == {
        ("reject", reason, NAME)}
    front.mark()
    answer = net.get(port, "/x")
    assert (answer.status, *verdict(answer)) == (502, "reject", reason)
    page = json.loads(net.get(port, "/strict-tls/x.json").text)
    assert [NAME] == [entry["name"] for entry in page["peers"]]


@pytest.mark.parametrize("place", PLACES)
def test_good_member(place, stage):
    peer = stage.peer("good")
    stage.open()
    front, port = front_of(stage, peer, place)
    wait_for_check(front)
    assert {(line.word, line.fields["peer"]) for line in front.verdicts()} == {("accept", NAME)}
    answer = net.get(port, "/x")
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)


@pytest.mark.parametrize("policy", ["off", "report"])
def test_health_check_that_rejects_nothing(policy, stage):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    front, port = front_of(stage, peer, "member", policy)
    wait_for_check(front)
    assert net.get(port, "/x").status == 200
    words = {line.word for line in front.verdicts()}
    assert words == ({"would_reject"} if policy == "report" else set())
    assert "DISABLING" not in front.errors()


@pytest.mark.parametrize("mpm", MPMS)
def test_member_comes_back(mpm, stage):
    peer = stage.peer("late", ocsp="unauthorized")
    stage.open()
    front, port = front_of(stage, peer, mpm=mpm)
    net.wait_until(lambda: "Health check DISABLING" in front.errors(), "the member's error", 20)
    assert verdict(net.get(port)) == ("reject", "ocsp.error_status")
    stage.responder.place(peer.place, "good")
    net.wait_until(lambda: net.get(port).status == 200, "the member", 20)
    assert verdict(net.get(port)) == ACCEPT


@pytest.mark.parametrize("mpm", MPMS)
def test_member_that_a_request_put_into_error(mpm, stage):
    """mod_proxy does not ask it again for a while: later requests are told why, in any process."""
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    _, port = front_of(stage, peer, check="", mpm=mpm, processes=2)
    for _ in range(5):
        answer = net.get(port)
        assert (answer.status, *verdict(answer)) == (502, "reject", "chain.incomplete")


def test_other_errors_have_no_reason(stage):
    """A member that nobody listens at: mod_proxy's own 503 stays."""
    peer = stage.peer("good")
    stage.open()
    url = f"https://{NAME}:{stage.lab.refusing.port}"
    body = (f"<Proxy balancer://pool>\nBalancerMember {url} {CHECK}\n</Proxy>\n"
            "ProxyPass / balancer://pool/\n")
    front, port = stage.front([body], main=f"StrictTLS on\nStrictTLSTrustedCertificate {peer.trust}"
                              "\n", modules=MODULES, level="debug")
    net.wait_until(lambda: "Health check DISABLING" in front.errors(), "the member's error", 20)
    answer = net.get(port)
    assert answer.status == 503
    assert not any(verdict(answer))


def test_two_members_at_one_address(stage):
    """Told apart by name: each is checked, and judged, under its own."""
    peer = stage.peer("good")
    stage.open()
    names = (NAME, "other.lab.test")
    members = "".join(f"BalancerMember https://{name}:{peer.backend.port} {CHECK}\n"
                      for name in names)
    front, port = stage.front(
        [f"<Proxy balancer://pool>\n{members}</Proxy>\nProxyPass / balancer://pool/\n"],
        extra=f"StrictTLS on\nStrictTLSTrustedCertificate {peer.trust}\nStrictTLSFetchDeny none\n",
        hosts=names, modules=MODULES, level="debug")
    net.wait_until(lambda: "Health check DISABLING" in front.errors(), "the member's error", 20)
    net.wait_until(lambda: len({line.fields["peer"] for line in front.verdicts()}) == 2,
                   "both checks", 20)
    assert {(line.fields["peer"], line.word, line.reason or "") for line in front.verdicts()
            if line.word == "reject"} == {("other.lab.test", "reject", "name.mismatch")}
    assert {net.get(port).status for _ in range(4)} == {200}
