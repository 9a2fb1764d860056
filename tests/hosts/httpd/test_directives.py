"""apachectl -t: wrong values name file, line and alternatives; documented examples are valid."""
import json
import re
import subprocess

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import httpd_fronts, net
from tests.lab.httpd import MODULE, Httpd
from tests.lab.nginx import ROOT

KEYS = re.findall(r'^    X\(\w+, "(\w+)", (\w+), "([^"]*)", "([^"]*)"',
                  (ROOT / "common/include/strict_tls/policy_keys.h").read_text(), re.M)
DIRECTIVE_KEYS = [key for key in KEYS if key[0] != "mode"]  # mode is StrictTLS itself


@pytest.fixture
def try_conf(tmp_path):
    """(status, output, path of the file) of apachectl -t with these lines."""

    def run(lines="", *, main="", modules=()):
        httpd = Httpd(tmp_path / "t", module=MODULE, modules=modules)
        httpd.configure(httpd_fronts.vhost(net.free_port(), [
            f"<Location />\nProxyPass https://{net.HOST}:1/\n{lines}\n</Location>\n"]), main=main)
        status, output = httpd.test()
        return status, output, httpd.conf

    return run


def assert_refused(result, line, *words):
    status, output, conf = result
    number = conf.read_text().splitlines().index(line) + 1
    assert status != 0, output
    assert f"line {number} of {conf}" in output
    for word in words:
        assert word in output


@pytest.mark.parametrize("value", ["on", "off", "report", "On"])
def test_modes(value, try_conf):
    status, output, _ = try_conf(f"StrictTLS {value}")
    assert status == 0, output


@pytest.mark.parametrize("value", ["maybe", "enforce", '""'])
def test_wrong_mode(value, try_conf):
    line = f"StrictTLS {value}"
    assert_refused(try_conf(line), line, "StrictTLS", "on", "off", "report")


def good_value(default, values):
    return default or {"OID,...": "2.5.29.32.0"}.get(values, "http://127.0.0.1:1/x")


def bad_values(type, values):
    if type == "INT":
        low, high = values.split("..")
        return [str(int(high) + 1), "many", "1x", '""', str(int(low) - 1)]
    if type == "STR":
        return ['"a b"'] if values == "OID,..." else ["ftp://x/", "responder"]
    return ["nonsense", '""', values.split(",")[0] + ",nonsense"]


@pytest.mark.parametrize("key, type, default, values", DIRECTIVE_KEYS,
                         ids=[key[0] for key in DIRECTIVE_KEYS])
def test_key(key, type, default, values, try_conf):
    """Each key is a directive; a wrong value is refused where it was written."""
    name = httpd_fronts.directive(key)
    if (type, default) != ("STR", "") or values in ("OID,...", "http://HOST[:PORT][/PATH]"):
        status, output, _ = try_conf(f"StrictTLS on\n{name} {good_value(default, values)}")
        assert status == 0, output
        wrong = bad_values(type, values)[0]
        line = f"{name} {wrong}"
        alternatives = values.split(",") if type in ("ENUM", "LIST") else []
        assert_refused(try_conf(f"StrictTLS on\n{line}"), line, name, *alternatives)


@pytest.mark.parametrize("lines, words", [
    ("StrictTLS on\nStrictTLS report", ["twice"]),
    ("StrictTLSChainRoot allow\nStrictTLSChainRoot require", ["twice"]),
    ("StrictTLSChainRoots allow", ["Invalid command"]),
    ("StrictTLSMode off", ["Invalid command"]),
    ("StrictTLS", ["takes one argument"]),
    ("StrictTLSHTTPProxy nowhere", ["StrictTLSHTTPProxy", "HOST:PORT"]),
    ("StrictTLSTrustedCertificate /nonexistent/x.pem", ["/nonexistent/x.pem"]),
    ("StrictTLSCache shmcb", ["not allowed"]),
])
def test_wrong_lines(lines, words, try_conf):
    assert_refused(try_conf(lines), lines.splitlines()[-1], *words)


@pytest.mark.parametrize("main, words", [
    ("StrictTLSMaxVerdicts none", ["StrictTLSMaxVerdicts", "none"]),
    ("StrictTLSMaxVerdicts 0", ["StrictTLSMaxVerdicts", "0"]),
    ("StrictTLSCache nonsense:x", ["nonsense", "shmcb"]),
    ("StrictTLSCache redis:127.0.0.1:6379", ["redis", "mod_socache_redis"]),
    ("StrictTLSCache none\nStrictTLSCache shmcb", ["twice"]),
])
def test_wrong_server_lines(main, words, try_conf):
    assert_refused(try_conf(main=main), main.splitlines()[-1], *words)


@pytest.mark.parametrize("main", [
    "StrictTLSCache shmcb:cache(65536)", "StrictTLSCache shmcb", "StrictTLSCache none",
    "StrictTLS on\nStrictTLSPreset private", "StrictTLSHTTPProxy 127.0.0.1:3128",
    "StrictTLSHTTPProxy off"])
def test_good_server_lines(main, try_conf):
    status, output, _ = try_conf("StrictTLS on", main=main)
    assert status == 0, output


@pytest.mark.parametrize("content", ["", "no certificate\n",
                                     "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                                     "intermediate"])
def test_wrong_trust(content, try_conf, tmp_path, lab):
    """An empty file, garbage, and one that holds no anchor."""
    trust = tmp_path / "trust.pem"
    trust.write_text(lab.pki["intermediate"].pem.decode() if content == "intermediate" else content)
    line = f"StrictTLSTrustedCertificate {trust}"
    assert_refused(try_conf(line), line, "trust.pem")


def test_too_early(tmp_path):
    """Loaded before mod_proxy it says so instead of doing nothing."""
    httpd = Httpd(tmp_path / "t", modules=())
    httpd.configure("StrictTLS on\n")
    text = httpd.conf.read_text()
    httpd.conf.write_text(f"LoadModule strict_tls_module {MODULE}\n{text}")
    status, output = httpd.test()
    assert status != 0
    assert "mod_proxy" in output


@pytest.mark.parametrize("preset, key", [("private", ""), ("", "StrictTLSX509Strict off\n")])
def test_preset_and_key(preset, key, stage):
    """Inner sections add to outer ones; a preset begins anew."""
    peer = stage.peer("profile", ocsp="none" if preset else "good", drop=("aki",))
    stage.open()
    lines = f"StrictTLSPreset {preset}\n" if preset else key
    _, port = stage.front([where(peer)], extra=lines)
    assert net.get(port).status == 200


def test_one_symbol_is_exported():
    listed = subprocess.run(["nm", "-D", "--defined-only", MODULE], capture_output=True, text=True,
                            check=True).stdout
    assert [line.split()[-1] for line in listed.splitlines()] == ["strict_tls_module"]


# ---- status -------------------------------------------------------------------------


def figures(port):
    text = net.get(port, "/server-status?auto").text
    return {key: int(value) for key, value in re.findall(r"^StrictTLS(\w+): (\d+)$", text, re.M)}


def test_status(stage):
    good, bad = stage.peer("good"), stage.peer("bad", serve="leaf")
    stage.open()
    once = "disablereuse=on"
    _, port = stage.front([
        where(good, "/good", parameters=once), where(bad, "/bad"),
        where(bad, "/report", strict="report"),
        "<Location /server-status>\nSetHandler server-status\n</Location>\n"])
    for path in ("/good", "/good", "/bad", "/report"):
        net.get(port, path)
    found = figures(port)
    assert (found["Accepted"], found["Rejected"], found["WouldReject"]) == (2, 1, 1)
    assert found["VerdictHits"] == 1
    assert found["Fetches"] >= 1
    page = net.get(port, "/server-status").text
    assert "strict-tls" in page


# ---- documentation ---------------------------------------------------------------------


def documented_blocks():
    """(file:line, text) of every httpd block in the documentation."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if path.exists():
            text = path.read_text()
            for found in re.finditer(r"^```apache\n(.*?)^```$", text, re.M | re.S):
                yield f"{path.name}:{text.count(chr(10), 0, found.start()) + 1}", found[1]


@pytest.mark.parametrize("where_, block", list(documented_blocks()),
                         ids=[where for where, _ in documented_blocks()])
def test_documented_example(where_, block, tmp_path, lab):
    # Paths and modules of an example are another machine's.
    block = re.sub(r"^LoadModule .*$", "", block, flags=re.M)
    block = re.sub(r"Listen \d+", lambda _: f"Listen {net.HOST}:{net.free_port()}", block)
    block = block.replace("/var/log/apache2/", f"{tmp_path}/")
    for name, path in (("api.example.com.pem", lab.front_chain),
                       ("private/api.example.com.key", lab.front.key_path),
                       ("clients-root.pem", lab.pki["root"].cert_path)):
        block = block.replace(f"/etc/ssl/{name}", str(path))
    modules = [name for name, word in (("socache_redis", "redis:"), ("authz_host", "Require ip"))
               if word in block]
    httpd = Httpd(tmp_path / "t", module=MODULE, modules=modules)
    httpd.configure(block)
    status, output = httpd.test()
    assert status == 0, output


@pytest.mark.parametrize("fields, policy, directive", [
    ({}, {"fetch_deny": "loopback"}, "StrictTLSFetchDeny"),
    ({"ocsp": "none"}, {}, "StrictTLSNoRevocationSource"),
    ({"ocsp": "silent"}, {"fetch_timeout_ms": "200"}, "StrictTLSFetchTimeoutMs"),
], ids=["fetch.denied", "revocation.no_source", "fetch.timeout"])
def test_remedies_name_the_directive(fields, policy, directive, stage):
    peer = stage.peer("peer", **fields)
    stage.open()
    front, port = stage.front([where(peer, policy=policy)])
    answer = net.get(port)
    assert answer.status == 502
    assert directive in front.verdicts()[0].fields["remedy"]
    assert directive in json.loads(answer.headers["x-strict-tls-report"])["findings"][0]["remedy"]


# ---- what mod_ssl will refuse -------------------------------------------------------

ADVICE = [
    # lines of the virtual host, of the main server, the directive that is missing
    ("StrictTLS on\nProxyPass / https://127.0.0.1:1/\n", "", "SSLProxyEngine"),
    ("ProxyPass / https://127.0.0.1:1/\n", "StrictTLS report\n", "SSLProxyEngine"),
    ("<Location />\nStrictTLS on\nProxyPass https://127.0.0.1:1/\n</Location>\n", "",
     "SSLProxyEngine"),
    ("StrictTLS on\n<Proxy balancer://p>\nBalancerMember https://127.0.0.1:1\n</Proxy>\n", "",
     "SSLProxyEngine"),
    ("StrictTLS on\nSSLProxyEngine on\nProxyPass / https://127.0.0.1:1/\n", "", None),
    ("StrictTLS on\nProxyPass / https://127.0.0.1:1/\n", "SSLProxyEngine on\n", None),
    ("StrictTLS on\nProxyPass / http://127.0.0.1:1/\n", "", None),
    ("StrictTLS off\nProxyPass / https://127.0.0.1:1/\n", "", None),
    ("{client}", "", "SSLVerifyDepth"),
    ("{client}SSLVerifyDepth 1\n", "", "SSLVerifyDepth"),
    ("{client}SSLVerifyDepth 2\n", "", None),
    ("{client}", "SSLVerifyDepth 5\n", None),
    ("<Location /x>\nSSLVerifyClient require\nSSLVerifyDepth 5\n</Location>\n{client}", "", None),
]


@pytest.mark.parametrize("lines, main, missing", ADVICE)
def test_advice_about_mod_ssl(lines, main, missing, stage, tmp_path):
    root = stage.lab.pki["root"].cert_path
    client = (f"SSLVerifyClient require\nSSLCACertificateFile {root}\nStrictTLSClient on\n")
    httpd = Httpd(tmp_path / "t", module=MODULE, modules=("proxy_balancer",))
    port = net.free_port()
    httpd.configure(f"Listen {net.HOST}:{port}\n<VirtualHost {net.HOST}:{port}>\n"
                    f"ServerName a.lab.test\n{lines.format(client=client)}</VirtualHost>\n",
                    main=f"StrictTLSTrustedCertificate {root}\n{main}")
    status, output = httpd.test()
    assert status == 0, output
    advice = [line for line in output.splitlines() if "STLS15" in line]
    assert len(advice) == (missing is not None), output
    assert missing is None or missing in advice[0]
