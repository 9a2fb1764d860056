"""apachectl -t about StrictTLSClient: keys, levels, warnings, and whom to trust."""
import re

import pytest

from tests.hosts.httpd.test_directives import DIRECTIVE_KEYS, bad_values, good_value
from tests.lab import httpd_fronts, httpd_inbound, net
from tests.lab.httpd import MODULE, Httpd


def directive(key):
    return httpd_fronts.directive(key).replace("StrictTLS", "StrictTLSClient", 1)


@pytest.fixture
def try_vhost(tmp_path, lab):
    """(status, output) of apachectl -t with a virtual host of these lines."""

    def run(*lines, main="", trust=True, verify="require", strict=True, modules=()):
        httpd = Httpd(tmp_path / "t", module=MODULE, modules=modules)
        port = net.free_port()
        trust = lab.pki["root"].cert_path if trust else None
        httpd_inbound.configure(httpd, port, [httpd_inbound.vhost(
            lab, port, "a.inbound.lab.test", trust, verify=verify, strict=strict, policy={},
            extra="\n".join(lines))], main=main)
        httpd.conf.write_text(re.sub("^(Protocols|StrictTLSClientFetch).*$", "",
                                     httpd.conf.read_text(), flags=re.M))
        return httpd.test()

    return run


def test_every_key(try_vhost):
    """Each policy key is a directive; a wrong value is refused and its alternatives are named."""
    good = [f"{directive(key)} {good_value(default, values)}"
            for key, type, default, values in DIRECTIVE_KEYS
            if not key.startswith("fetch_") and ((type, default) != ("STR", "")
                                                 or values == "OID,...")]
    assert len(good) > 25
    status, output = try_vhost(*good)
    assert status == 0, output


@pytest.mark.parametrize("key", ["chain_root", "revocation", "max_chain_len", "ocsp_responder",
                                 "preset"])
def test_wrong_value(key, try_vhost):
    [(_, type, _, values)] = [row for row in DIRECTIVE_KEYS if row[0] == key]
    status, output = try_vhost(f"{directive(key)} {bad_values(type, values)[0]}")
    assert status != 0
    assert f"{directive(key)}: " in output


@pytest.mark.parametrize("line, words", [
    ("StrictTLSClient report", ["twice"]),
    ("StrictTLSClientRevocation soft\nStrictTLSClientRevocation soft", ["twice"]),
    ("StrictTLSClientTrustedCertificate /nonexistent/x.pem", ["/nonexistent/x.pem"]),
    ("<Location /x>\nStrictTLSClient on\n</Location>", ["StrictTLSClient", "not allowed"]),
    ("<Location /x>\nStrictTLSClientRevocation off\n</Location>", ["not allowed"]),
    ("StrictTLSClientMode on", ["Invalid command"]),
])
def test_wrong_lines(line, words, try_vhost):
    status, output = try_vhost(line)
    assert status != 0
    for word in words:
        assert word in output


def test_wrong_mode(try_vhost):
    status, output = try_vhost("StrictTLSClient maybe", strict=False)
    assert status != 0
    assert "on, off or report" in output


def test_nobody_to_trust(try_vhost, lab):
    """The system's trust store is not for clients."""
    status, output = try_vhost(trust=False)
    assert status != 0
    assert "SSLCACertificateFile" in output and "StrictTLSClientTrustedCertificate" in output
    status, output = try_vhost(
        f"StrictTLSClientTrustedCertificate {lab.pki['root'].cert_path}", trust=False)
    assert status == 0, output


def test_no_anchor(try_vhost, lab):
    """An intermediate alone is none."""
    status, output = try_vhost(f"SSLCACertificateFile {lab.pki['intermediate'].cert_path}",
                               trust=False)
    assert status != 0
    assert "intermediate" in output


@pytest.mark.parametrize("verify, lines, main, warns", [
    ("require", [], "", False), ("optional", [], "", False),
    (None, [], "", True), ("none", [], "", True),
    (None, ["<Location /x>\nSSLVerifyClient require\n</Location>"], "", False),
    (None, [], "SSLVerifyClient require\n", False),
])
def test_nobody_is_asked(verify, lines, main, warns, try_vhost):
    status, output = try_vhost(*lines, main=main, verify=verify)
    assert status == 0, output
    assert ("without SSLVerifyClient" in output) == warns


def test_keys_that_contradict_each_other(try_vhost):
    status, output = try_vhost("StrictTLSClientFetchTotalMs 100\nStrictTLSClientOCSPNonce on\n"
                               "StrictTLSClientRevocationSources staple")
    assert status != 0
    assert "StrictTLSClient" in output


def test_without_mod_ssl(tmp_path):
    """Looking at mod_ssl's directives does not make them known where it is not loaded."""
    httpd = Httpd(tmp_path / "t", module=MODULE)
    httpd.modules = tuple(name for name in httpd.modules if name != "ssl")
    httpd.configure("SSLVerifyClient require\n")
    status, output = httpd.test()
    assert status != 0
    assert "Invalid command 'SSLVerifyClient'" in output


def test_without_mod_proxy(tmp_path, lab):
    """Which only backends need."""
    httpd = Httpd(tmp_path / "t", module=MODULE)
    httpd.modules = tuple(name for name in httpd.modules if not name.startswith("proxy"))
    port = net.free_port()
    httpd.configure(f"Listen {net.HOST}:{port}\n" + httpd_inbound.vhost(
        lab, port, "a.inbound.lab.test", lab.pki["root"].cert_path))
    httpd.conf.write_text(httpd.conf.read_text().replace("ProxyTimeout 60\n", ""))
    status, output = httpd.test()
    assert status == 0, output
