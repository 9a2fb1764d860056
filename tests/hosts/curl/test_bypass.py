"""No way round a verdict: options, sessions, reused connections, duplicates, proxies, redirects.

Where a way exists for lax handles, the test shows that first.
"""
import threading

import pytest

from tests.hosts.curl.conftest import PLAIN_CLIENT, SSLVERSION, VERSIONS, policy_text, url_of
from tests.hosts.curl.https_proxy import HttpsProxy
from tests.lab import net
from tests.lab.process import Process
from tests.lab.renegotiation import RenegotiatingServer
from tests.lab.scenarios import NAME

ABORTED, REJECTED, COULD_NOT_RESOLVE = 42, 60, 6
LAX = {"SSL_VERIFYPEER": 0, "SSL_VERIFYHOST": 0}
PROXY_NAME = "proxy.lab.test"
OTHER_IP = "127.0.0.2"  # reached through a proxy only

versions = pytest.mark.parametrize("version", SSLVERSION)


def strict(name="a", **policy):
    return ["strict", name, policy_text(policy)]


def verdict(told):
    return told["code"], told["report"] and told["report"]["reason"]


@versions
def test_verification_turned_off_before(version, peers, curls):
    bad = peers.bad
    lax = curls.handle(bad, version=version, **LAX)
    control, told = curls.library(*lax, "perform", "a", *strict(), "perform", "a")
    assert (control["code"], control["status"]) == (0, 200)
    assert verdict(told) == (REJECTED, "chain.incomplete")


@versions
@pytest.mark.parametrize("option", ["SSL_VERIFYPEER", "SSL_VERIFYHOST", "PROXY_SSL_VERIFYPEER"])
def test_verification_turned_off_behind(option, version, peers, curls):
    revoked = peers.revoked
    wrong = peers.wrong
    for peer, reason in ((revoked, "ocsp.revoked"), (wrong, "name.mismatch")):
        (told,) = curls.library(*curls.handle(peer, version=version), *strict(),
                                "set", "a", option, 0, "perform", "a")
        assert told["code"] == REJECTED and told["status"] == 0
        # Without VERIFYPEER libcurl loads no anchors; nobody is trusted then.
        assert told["report"]["reason"] in (reason, "chain.untrusted")


@versions
def test_sessions_of_lax_handles(version, peers, curls):
    """Shared TLS sessions, even where the program turns their cache on again."""
    bad = peers.bad
    told = curls.library(
        *curls.handle(bad, "a", version=version, FRESH_CONNECT=1, FORBID_REUSE=1, **LAX),
        "share", "a", "perform", "a", "perform", "a",
        *curls.handle(bad, "b", version=version, FRESH_CONNECT=1, **LAX), "share", "b",
        *strict("b"), "set", "b", "SSL_SESSIONID_CACHE", 1, "perform", "b", "perform", "b")
    assert [line["code"] for line in told[:2]] == [0, 0]
    assert [verdict(line) for line in told[2:]] == [(REJECTED, "chain.incomplete")] * 2


@versions
@pytest.mark.parametrize("how", ["multi", "share"])
@pytest.mark.parametrize("options, code, reasons", [
    # Without VERIFYPEER libcurl loads no anchors; nobody is trusted then.
    ([], REJECTED, ("chain.incomplete", "chain.untrusted")),
    (["set", "b", "SSL_OPTIONS", 0], ABORTED, ("session.unverified",)),
], ids=["fresh", "undone"])
def test_connections_of_lax_handles(options, code, reasons, how, version, peers, curls):
    """A fresh one is opened, and should libcurl hand the lax handle's over, it is refused."""
    bad = peers.bad
    # What strict handles are set to; a context function lets the lax one through regardless.
    same = {"SSL_VERIFYPEER": 0, "SSL_VERIFYHOST": 0}

    def perform(name):
        return ["together", name] if how == "multi" else ["share", name, "perform", name]

    told = curls.library(
        *curls.handle(bad, "a", version=version, **same), *perform("a"),
        *curls.handle(bad, "c", version=version, **same), *perform("c"),
        *curls.handle(bad, "b", version=version), *strict("b"),
        "set", "b", "SSL_VERIFYPEER", 0, "set", "b", "SSL_VERIFYHOST", 0,
        "set", "b", "SSL_SESSIONID_CACHE", 1, *options, *perform("b"))
    assert [line["code"] for line in told[:2]] == [0, 0]
    assert told[0]["connection"] == told[1]["connection"]  # the control
    assert verdict(told[2])[0] == code and verdict(told[2])[1] in reasons
    assert told[2]["status"] == 0


@versions
@pytest.mark.parametrize("how", ["multi", "share"])
def test_connections_of_another_policy(how, version, peers, curls):
    peer = peers.good

    def perform(name):
        return ["together", name] if how == "multi" else ["share", name, "perform", name]

    told = curls.library(
        *curls.handle(peer, "a", version=version), *strict("a"), *perform("a"),
        *curls.handle(peer, "b", version=version), *strict("b"), *perform("b"),
        *curls.handle(peer, "c", version=version), *strict("c", chain_root="require"),
        *perform("c"),
        *curls.handle(peer, "d", version=version, FRESH_CONNECT=1),
        *strict("d", chain_root="require"), *perform("d"))
    assert verdict(told[0]) == verdict(told[1]) == (0, "none")
    assert told[0]["connection"] == told[1]["connection"]
    assert verdict(told[2]) == verdict(told[3]) == (REJECTED, "chain.root_missing")


def test_many_policies(peers, curls):
    """More than libcurl can be made to tell apart: none rides on another's verdict."""
    words = []
    for number, name in enumerate("abcdefghijklm"):
        policy = {"chain_root": "require", "max_chain_len": str(5 + number)} if number else {}
        words += [*curls.handle(peers.good, name), *strict(name, **policy), "share", name,
                  "perform", name]
    told = curls.library(*words)
    assert verdict(told[0]) == (0, "none")
    assert {verdict(line) for line in told[1:]} == {(REJECTED, "chain.root_missing"),
                                                    (ABORTED, "session.unverified")}


@versions
def test_reuse_within_a_policy(version, peers, curls):
    peer = peers.good
    told = curls.library(*curls.handle(peer, version=version), *strict(), "perform", "a",
                         "perform", "a")
    assert [verdict(line) for line in told] == [(0, "none")] * 2
    assert [line["new_connections"] for line in told] == [1, 0]


def test_a_verdict_ends(peers, curls):
    peer = peers.good
    told = curls.library(*curls.handle(peer), *strict(verdict_max_age_s="1"), "perform", "a",
                         "sleep", 2500, "perform", "a")
    assert [verdict(line) for line in told] == [(0, "none")] * 2
    assert [line["new_connections"] for line in told] == [1, 1]


@pytest.mark.parametrize("how", ["perform", "together"])
def test_a_short_verdict_ends(how, peers, curls):
    """One that is worth less than verdict_max_age_s: the next transfer begins anew."""
    policy = {"revocation": "soft", "fetch_timeout_ms": "300", "negative_ttl_s": "1"}
    told = curls.library(*curls.handle(peers.silent), *strict(**policy), how, "a",
                         "sleep", 3500, how, "a")
    assert [line["code"] for line in told] == [0, 0]
    assert [line["new_connections"] for line in told] == [1, 1]


@versions
def test_duplicates(version, peers, curls):
    """A duplicate is as strict as its original, also when that has gone."""
    bad, good = peers.bad, peers.good
    told = curls.library(
        *curls.handle(bad, "a", version=version), *strict("a"), "dup", "a", "b", "perform", "b",
        "disable", "a", "free", "a", "perform", "b",
        *curls.handle(good, "c", version=version), *strict("c"), "dup", "c", "d", "free", "c",
        "perform", "d", "perform", "d")
    assert [verdict(line) for line in told] == [(REJECTED, "chain.incomplete")] * 2 + [
        (0, "none")] * 2


@versions
def test_duplicates_and_lax_connections(version, peers, curls):
    bad = peers.bad
    told = curls.library(
        *curls.handle(bad, "a", version=version, **LAX), "together", "a",
        *curls.handle(bad, "b", version=version), *strict("b"), "dup", "b", "c",
        "set", "c", "SSL_VERIFYPEER", 0, "set", "c", "SSL_VERIFYHOST", 0,
        "set", "c", "SSL_SESSIONID_CACHE", 1, "together", "c",
        "set", "c", "SSL_OPTIONS", 0, "together", "c")
    assert told[0]["code"] == 0
    assert told[1]["code"] == REJECTED and told[1]["status"] == 0
    assert verdict(told[2]) == (ABORTED, "session.unverified")


@versions
def test_reset(version, peers, curls):
    bad = peers.bad
    again = curls.handle(bad, version=version)[2:]
    told = curls.library(*curls.handle(bad, version=version), *strict(), "perform", "a",
                         "reset", "a", *again, *strict(), "perform", "a")
    assert [verdict(line) for line in told] == [(REJECTED, "chain.incomplete")] * 2


@versions
def test_many_at_once(version, peers, curls):
    bad, good = peers.revoked, peers.good
    words, names = [], "abcdefghij"
    for number, name in enumerate(names):
        words += curls.handle(bad if number % 2 else good, name, version=version) + strict(name)
    told = curls.library(*words, "together", ",".join(names))
    assert {(line["handle"], *verdict(line)) for line in told} == {
        (name, REJECTED, "ocsp.revoked") if number % 2 else (name, 0, "none")
        for number, name in enumerate(names)}


@versions
def test_own_callbacks_are_called(version, peers, curls):
    """The context function first: it has everybody accepted, and nobody is by that."""
    for peer, wanted in ((peers.good, (0, "none")), (peers.bad, (REJECTED, "chain.incomplete"))):
        (told,) = curls.library(*curls.handle(peer, version=version), *strict(), "ctxfn", "a",
                                "prereq", "a", "perform", "a")
        assert verdict(told) == wanted
        assert (told["own_ctx"], told["own_prereq"]) == (1, int(wanted[0] == 0))
    (control,) = curls.library(*curls.handle(peers.bad, version=version), "ctxfn", "a",
                               "perform", "a", client=PLAIN_CLIENT)
    assert (control["code"], control["status"], control["own_ctx"]) == (0, 200, 1)


@versions
def test_own_verify_callback_still_rejects(version, peers, curls):
    """A program that pins keys goes on doing so; it has no say where the peer is rejected anyway."""
    for peer, reason in ((peers.good, None), (peers.bad, "chain.incomplete")):
        (told,) = curls.library(*curls.handle(peer, version=version), *strict(), "pinfn", "a",
                                "perform", "a")
        assert (told["code"], told["own_ctx"]) == (REJECTED, 1)
        assert (told["report"] or {"reason": None})["reason"] == reason


@versions
def test_redirect_to_another_host(version, peers, curls):
    first = peers.redirecting
    words = ["new", "a", "set", "a", "URL", url_of(first, path="/go"), "set", "a", "CAINFO",
             first.trust, "set", "a", "CAPATH", "-", "set", "a", "FOLLOWLOCATION", 1,
             "set", "a", "SSLVERSION", SSLVERSION[version],
             "list", "a", "RESOLVE", f"{NAME}:{first.backend.port}:127.0.0.1"]
    (control,) = curls.library(*words, "set", "a", "SSL_VERIFYPEER", 0, "perform", "a")
    assert (control["code"], control["status"]) == (0, 200)
    (told,) = curls.library(*words, *strict(), "perform", "a")
    assert verdict(told) == (REJECTED, "chain.incomplete")
    assert told["report"]["name"] == "127.0.0.1"


@pytest.mark.parametrize("name, host, reasons", [
    ("proxy", PROXY_NAME, ["none", "none"]),
    ("bad_proxy", PROXY_NAME, ["chain.incomplete"]),
    ("good_ip", "127.0.0.1", ["none", "none"]),
    ("bad_ip", "127.0.0.1", ["chain.incomplete"]),
])
def test_https_proxy(name, host, reasons, peers, curls):
    """Both peers are judged, each by its own name."""
    proxy = getattr(peers, name)
    code = 0 if len(reasons) == 2 else REJECTED
    good = peers.good
    with HttpsProxy(proxy.backend.chain, proxy.backend.key, good.backend.port) as running:
        done, reports = curls.strict_curl(
            "-sS", "-o", "/dev/null", "--cacert", good.trust, "--proxy-cacert", good.trust,
            "--proxy-insecure", "--resolve", f"{PROXY_NAME}:{running.port}:127.0.0.1",
            "--proxy", f"https://{host}:{running.port}", url_of(good))
    assert done.returncode == code, done.stderr
    assert [report["reason"] for report in reports] == reasons
    assert [report["name"] for report in reports] == [host, NAME][:len(reports)]
    assert len(running.asked) == (code == 0)


@versions
@pytest.mark.parametrize("name, reason", [("bad", "chain.incomplete"), ("revoked", "ocsp.revoked")])
def test_behind_a_https_proxy(name, reason, version, peers, curls):
    """The code is the same as without one."""
    proxy, origin = peers.proxy, getattr(peers, name)
    with HttpsProxy(proxy.backend.chain, proxy.backend.key, origin.backend.port) as running:
        done, reports = curls.strict_curl(
            "-sS", *VERSIONS[version], "--cacert", origin.trust, "--proxy-cacert", proxy.trust,
            "--resolve", f"{PROXY_NAME}:{running.port}:127.0.0.1",
            "--proxy", f"https://{PROXY_NAME}:{running.port}", url_of(origin))
    assert done.returncode == REJECTED and f"reason={reason} " in done.stderr, done.stderr
    assert [report["reason"] for report in reports] == ["none", reason]


@pytest.mark.parametrize("how", ["option", "environment", "library"])
@pytest.mark.parametrize("proxy, origin, reasons", [
    ("good_ip", "other_ip", ["none", "none"]),
    ("good_ip", "good_ip", ["none", "name.mismatch"]),
    ("other_ip", "other_ip", ["name.mismatch"]),
    ("bad_ip", "other_ip", ["chain.incomplete"]),
])
def test_https_proxy_and_url_by_address(proxy, origin, reasons, how, peers, curls):
    """No name is sent to either: still each is judged by its own address."""
    proxy, origin = getattr(peers, proxy), getattr(peers, origin)
    url = url_of(origin, OTHER_IP)
    with HttpsProxy(proxy.backend.chain, proxy.backend.key, origin.backend.port) as running:
        at = f"https://127.0.0.1:{running.port}"
        if how == "library":
            told = curls.library(
                "new", "a", "set", "a", "URL", url, "set", "a", "CAINFO", origin.trust,
                "set", "a", "CAPATH", "-", "set", "a", "PROXY_CAINFO", origin.trust, *strict(),
                "proxy", "a", at, "perform", "a")
            code, got = told[0]["code"], [told[0]["report"]]
        else:
            words = ["--proxy", at] if how == "option" else []
            done, got = curls.strict_curl(
                "-sS", "-o", "/dev/null", "--cacert", origin.trust, "--proxy-cacert",
                origin.trust, *words, url, env={"https_proxy": "" if words else at})
            code = done.returncode
    assert code == (0 if reasons[-1] == "none" else REJECTED)
    # The library's handle has the last one only.
    assert [report["reason"] for report in got] == reasons[-len(got):]
    assert [report["name"] for report in got] == ["127.0.0.1", OTHER_IP][:len(reasons)][-len(got):]


@pytest.fixture
def bugs(tmp_path):
    """An openssl.cnf that sets SSL_OP_ALL in every context."""
    path = tmp_path / "bugs.cnf"
    path.write_text("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n"
                    "[c]\nOptions = Bugs\n")
    return {"OPENSSL_CONF": str(path)}


@pytest.mark.parametrize("name, host, reason", [
    ("good_ip", "127.0.0.1", "none"), ("other_ip", "127.0.0.1", "name.mismatch"),
    ("good", NAME, "none"), ("wrong", NAME, "name.mismatch")])
def test_options_of_openssl_cnf(name, host, reason, bugs, peers, curls):
    peer = getattr(peers, name)
    done, (report,) = curls.strict_curl(*curls.curl_words(peer, host), env=bugs)
    assert (report["reason"], report["name"]) == (reason, host), done.stderr


@pytest.mark.parametrize("proxy, origin, reasons", [
    ("good_ip", "other_ip", ["none", "none"]), ("good_ip", "good_ip", ["none", "name.mismatch"]),
    ("other_ip", "other_ip", ["name.mismatch"])])
def test_options_of_openssl_cnf_and_a_proxy(proxy, origin, reasons, bugs, peers, curls):
    proxy, origin = getattr(peers, proxy), getattr(peers, origin)
    with HttpsProxy(proxy.backend.chain, proxy.backend.key, origin.backend.port) as running:
        _, reports = curls.strict_curl(
            "-sS", "-o", "/dev/null", "--cacert", origin.trust, "--proxy-cacert", origin.trust,
            "--proxy", f"https://127.0.0.1:{running.port}", url_of(origin, OTHER_IP), env=bugs)
    assert [report["reason"] for report in reports] == reasons


def test_no_proxy_and_url_by_address(peers, curls):
    """Past the proxy, so it is the URL's address that counts."""
    done, (report,) = curls.strict_curl(
        "-sS", "-o", "/dev/null", "--cacert", peers.good_ip.trust,
        url_of(peers.good_ip, "127.0.0.1"),
        env={"https_proxy": "https://127.0.0.9:1", "no_proxy": "127.0.0.1"})
    assert (done.returncode, report["name"]) == (0, "127.0.0.1"), done.stderr


def test_https_proxy_for_another_name(peers, curls):
    proxy = peers.wrong
    good = peers.good
    with HttpsProxy(proxy.backend.chain, proxy.backend.key, good.backend.port) as running:
        done, reports = curls.strict_curl(
            "-sS", "--cacert", good.trust, "--proxy-cacert", good.trust, "--proxy-insecure",
            "--resolve", f"{PROXY_NAME}:{running.port}:127.0.0.1",
            "--proxy", f"https://{PROXY_NAME}:{running.port}", url_of(good))
    assert done.returncode == REJECTED
    assert [report["reason"] for report in reports] == ["name.mismatch"]


@pytest.mark.parametrize("name, reason", [("good_ip", "none"), ("bad_ip", "chain.incomplete")])
def test_dns_over_https(name, reason, peers, curls):
    """The resolver is a TLS peer as well; what it answers here is no DNS, so nothing follows."""
    resolver = getattr(peers, name)
    done, reports = curls.strict_curl(
        "-sS", "--cacert", resolver.trust, "--doh-insecure", "--doh-url",
        url_of(resolver, "127.0.0.1", "/dns-query"), "https://somewhere.lab.test/")
    assert done.returncode == COULD_NOT_RESOLVE
    assert {report["reason"] for report in reports} == {reason}
    assert {report["name"] for report in reports} == {"127.0.0.1"}


def test_renegotiation(peers, curls, tmp_path):
    good = peers.good
    results = []

    def ask(port, words):
        at = words.index("URL") + 1
        words[at] = f"https://{NAME}:{port}/"
        words[words.index("CONNECT_TO") + 1] = f"::{net.HOST}:{port}"
        results.extend(curls.library(*words, "perform", "a"))

    for is_strict in (False, True):
        (tmp_path / str(is_strict)).mkdir()
        with RenegotiatingServer(tmp_path / str(is_strict), good.backend.chain,
                                 good.backend.key) as server:
            words = curls.handle(good, version="tls12") + (strict() if is_strict else [])
            thread = threading.Thread(target=ask, args=(server.port, words))
            thread.start()
            server.wait_for_request()
            server.renegotiate()
            server.answer()
            thread.join(30)
            assert server.renegotiated() == (not is_strict)
    assert results[0]["code"] == 0
    assert results[1]["status"] == 0


def test_anchors_of_the_program(peers, curls):
    """They count alone; libcurl's own do not."""
    good = peers.good
    stranger = peers.lab.pki["stranger"].cert_path
    told = curls.library(
        *curls.handle(good, "a"), *strict("a"), "anchors", "a", stranger, "perform", "a",
        *curls.handle(good, "b", CAINFO=stranger), *strict("b"), "anchors", "b", good.trust,
        "perform", "b")
    assert [verdict(line) for line in told] == [(REJECTED, "chain.untrusted"), (0, "none")]


def test_anchors_in_memory_and_folder(peers, curls, tmp_path):
    good = peers.good
    folder = tmp_path / "anchors"
    folder.mkdir()
    (folder / "root.pem").write_bytes(good.trust.read_bytes())
    curls.run(["openssl", "rehash", folder])
    told = curls.library(
        *curls.handle(good, "a", CAINFO="-"), "blob", "a", "CAINFO_BLOB", good.trust, *strict("a"),
        "perform", "a",
        *curls.handle(good, "b", CAINFO="-", CAPATH=folder), *strict("b"), "perform", "b")
    assert [verdict(line) for line in told] == [(0, "none")] * 2


@versions
def test_report_mode(version, peers, curls):
    """Rejects nothing that libcurl accepts, and accepts nothing that libcurl rejects."""
    revoked, stranger = peers.revoked, peers.bad
    for peer, lax, code, reason in ((revoked, {}, 0, "ocsp.revoked"),
                                    (stranger, {}, REJECTED, "chain.incomplete"),
                                    (stranger, LAX, 0, "chain.incomplete")):
        (told,) = curls.library(*curls.handle(peer, version=version, **lax),
                                *strict(mode="report"), "perform", "a")
        assert verdict(told) == (code, reason)
        if code == 0:
            assert told["report"]["verdict"] == "would_reject"


def test_mode_off(peers, curls):
    bad = peers.bad
    (told,) = curls.library(*curls.handle(bad, **LAX), *strict(mode="off"), "perform", "a")
    assert (told["code"], told["status"], told["report"]) == (0, 200, None)


def test_no_certificate_at_all(curls, tmp_path):
    """Anonymous ciphers present none, and no verify callback is called."""
    port = net.free_port()
    server = Process(["openssl", "s_server", "-accept", f"{net.HOST}:{port}", "-nocert", "-cipher",
                      "ADH:@SECLEVEL=0", "-tls1_2", "-www"], folder=tmp_path, name="anonymous",
                     ready_text="ACCEPT").wait_ready()
    words = ["-sSk", "-o", "/dev/null", "-w", "%{http_code}", "--ciphers", "ADH:@SECLEVEL=0",
             "--tls-max", "1.2", f"https://{net.HOST}:{port}/"]
    try:
        assert curls.run(["curl", *words]).stdout == "200"  # the control
        done, reports = curls.strict_curl(*words)
    finally:
        server.stop()
    assert (done.returncode, done.stdout) == (REJECTED, "000")
    assert [report["reason"] for report in reports] == ["chain.incomplete"]
