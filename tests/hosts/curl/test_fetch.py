"""Questions to responders: what goes wrong on the way, where they may go, how long they may take."""
import time
from contextlib import ExitStack

import pytest

from tests.hosts.curl.conftest import policy_text
from tests.lab import net
from tests.lab.forward_proxy import ForwardProxy
from tests.lab.lab import Lab

# Manners of delivery that the scenario table does not name: what the report says of them.
MANNERS = {
    "close": "fetch.http", "reset": "fetch.http", "cut": "fetch.http", "not_http": "fetch.http",
    "endless": "fetch.too_large", "endless_header": "fetch.too_large", "drip": "fetch.timeout",
}
URLS = {
    "https": "https://127.0.0.1:1/", "file": "file:///etc/hostname", "ftp": "ftp://127.0.0.1/x",
    "ldap": "ldap://127.0.0.1/x", "user": "http://user:secret@127.0.0.1:1/",
}


@pytest.fixture(scope="module")
def odd():
    """Peers whose responders are odd, by name."""
    with ExitStack() as stack:
        lab = Lab(scenarios=())
        stack.callback(lab.close)
        peers = {name: lab.peer(name, ocsp=name) for name in MANNERS}
        peers |= {name: lab.peer(f"url_{name}", ocsp=f"url:{url}") for name, url in URLS.items()}
        lab.responder.place("proxied", "good")
        peers["proxied"] = lab.peer(
            "proxied", ocsp=f"url:http://responder.lab.test:{lab.responder.port}/proxied")
        peers["silent_twice"] = lab.peer("silent_twice", ocsp="silent silent")
        peers["responder"] = lab.responder
        stack.enter_context(lab)
        yield peers


def ask(curls, peer, policy=None, **options):
    done, (report,) = curls.strict_curl(*curls.curl_words(peer), policy=policy_text(policy),
                                        **options)
    reasons = {finding["reason"] for finding in report["findings"]}
    return done.returncode, report["reason"], reasons


@pytest.mark.parametrize("manner", MANNERS)
def test_manners(manner, odd, curls):
    """Refused for the right reason, and soon."""
    began = time.monotonic()
    code, reason, _ = ask(curls, odd[manner], {"fetch_timeout_ms": "700"})
    assert (code, reason) == (60, MANNERS[manner])
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("scheme", URLS)
def test_only_http(scheme, odd, curls):
    code, reason, _ = ask(curls, odd[scheme])
    assert code == 60 and reason in ("fetch.denied", "fetch.network", "revocation.no_source",
                                     "revocation.inconclusive"), reason


@pytest.mark.parametrize("deny, code, reason", [
    ("loopback", 60, "fetch.denied"), ("link-local", 0, "none"), ("private", 0, "none"),
    ("none", 0, "none")])
def test_fetch_deny(deny, code, reason, peers, curls):
    assert ask(curls, peers.good, {"fetch_deny": deny})[:2] == (code, reason)


def test_total_time(odd, curls):
    began = time.monotonic()
    code, reason, _ = ask(curls, odd["silent_twice"],
                          {"fetch_timeout_ms": "1500", "fetch_total_ms": "800"})
    assert (code, reason) == (60, "fetch.timeout")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_through_the_proxy(variable, odd, curls):
    """The proxy may be on loopback, and only it knows the responder's name."""
    responder = odd["responder"]
    with ForwardProxy({"responder.lab.test": net.HOST, net.HOST: net.HOST}) as proxy:
        done, (report,) = curls.strict_curl(
            "--noproxy", "backend.lab.test", *curls.curl_words(odd["proxied"]),
            policy=policy_text({"fetch_deny": "loopback,link-local"}),
            env={variable: f"http://{net.HOST}:{proxy.port}", "no_proxy": "backend.lab.test"})
    assert (done.returncode, report["reason"]) == (0, "none"), done.stderr
    assert any("responder.lab.test" in target for target in proxy.asked)
    assert responder.count("proxied") >= 1


def test_an_untrusted_peer_names_nobody_to_ask(peers, curls):
    """Nothing is fetched before chain and name have passed."""
    peers.responder.forget()
    assert ask(curls, peers.wrong)[:2] == (60, "name.mismatch")
    assert ask(curls, peers.bad)[:2] == (60, "chain.incomplete")
    assert peers.responder.hits == []


@pytest.mark.parametrize("ttl, asked", [("30", 1), ("0", 3)])
def test_a_failure_is_remembered(ttl, asked, peers, curls):
    """A loop does not wait for a silent responder again and again, unless told to."""
    peers.responder.forget()
    for _ in range(3):
        code, reason, _ = ask(curls, peers.silent,
                              {"fetch_timeout_ms": "300", "negative_ttl_s": ttl})
        assert (code, reason) == (60, "fetch.timeout")
    assert peers.responder.count(peers.silent.place) == asked
