"""Peers and responders at IPv6 addresses."""
import pytest

from tests.hosts.curl.conftest import SSLVERSION, VERSIONS, policy_text
from tests.lab import net
from tests.lab.lab import Lab

REJECTED = 60
ADDRESS = "::1"

# leaf, what is served, policy; code and reason
ROWS = {
    "good": ({"sans": (ADDRESS,)}, "leaf issuing intermediate", {}, 0, "none"),
    "incomplete": ({"sans": (ADDRESS,)}, "leaf", {}, REJECTED, "chain.incomplete"),
    "other": ({"sans": ("::2", "127.0.0.1")}, "leaf issuing intermediate", {}, REJECTED,
              "name.mismatch"),
    "refused": ({"sans": (ADDRESS,), "ocsp": "url:http://[::1]:9/x"},
                "leaf issuing intermediate", {}, REJECTED, "fetch.network"),
    "denied": ({"sans": (ADDRESS,), "ocsp": "url:http://[::1]:9/y"},
               "leaf issuing intermediate", {"fetch_deny": "loopback"}, REJECTED, "fetch.denied"),
    "denied_mapped": ({"sans": (ADDRESS,), "ocsp": "url:http://[::ffff:127.0.0.1]:9/z"},
                      "leaf issuing intermediate", {"fetch_deny": "loopback"}, REJECTED,
                      "fetch.denied"),
}


@pytest.fixture(scope="module")
def six():
    """{name: (scene, URL)}"""
    lab, found = Lab(scenarios=()), {}
    for name, (leaf, serve, *_) in ROWS.items():
        port = net.free_port()
        found[name] = (lab.peer(name, serve=serve, options={
            "extra": f"listen [{ADDRESS}]:{port} ssl http2;"}, **leaf), f"https://[{ADDRESS}]:{port}/")
    with lab:
        yield found


def policy_of(name):
    return policy_text({"revocation_scope": "leaf", **ROWS[name][2]})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ROWS)
def test_strict_curl(name, version, six, curls):
    (*_, code, reason), (scene, url) = ROWS[name], six[name]
    done, (report,) = curls.strict_curl("-sS", "-k", *VERSIONS[version], "--cacert", scene.trust,
                                        url, policy=policy_of(name))
    assert (done.returncode, report["reason"], report["name"]) == (code, reason, ADDRESS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ROWS)
def test_library(name, version, six, curls):
    (*_, code, reason), (scene, url) = ROWS[name], six[name]
    (told,) = curls.library(
        "new", "a", "set", "a", "URL", url, "set", "a", "CAINFO", scene.trust, "set", "a",
        "CAPATH", "-", "set", "a", "SSLVERSION", SSLVERSION[version], "strict", "a",
        policy_of(name), "perform", "a")
    assert (told["code"], told["report"]["reason"], told["report"]["name"]) == (code, reason,
                                                                                ADDRESS)
