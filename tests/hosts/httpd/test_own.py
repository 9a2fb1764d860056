"""StrictTLSSelfCheck: apachectl -t and a running httpd name what strict peers refuse in our own
chains; the repair makes them silent."""
import re
import socket
import subprocess
from datetime import datetime

import pytest

from tests.lab import crl, net
from tests.lab.httpd import MODULE, Httpd
from tests.lab.lab import Lab

NAME = "www.own.test"


class Own:
    """Certificates of our own, and httpds that present them."""

    def __init__(self, lab, folder):
        self.lab = lab
        self.folder = folder
        self.folder.chmod(0o755)
        self._number = 0

    def leaf(self, label, **fields):
        return self.lab.issue(label, **{"sans": (NAME,), **fields})

    def pem(self, name, *labels):
        """A file with these certificates, in this order; "LABEL.key" is a key."""
        path = self.folder / name
        parts = [self.lab.pki[label[:-4]].key_path.read_bytes() if label.endswith(".key")
                 else self.lab.pki[label].pem for label in labels]
        path.write_bytes(b"".join(parts))
        return path

    def httpd(self, lines, *, vhost="", main="", names=(NAME,), policy=True,
              fetch_timeout_ms=1000, **options):
        self._number += 1
        httpd = Httpd(self.folder / f"httpd{self._number}", module=MODULE, **options)
        httpd.port = net.free_port()
        trust = f"StrictTLSTrustedCertificate {self.lab.pki['root'].cert_path}\n" if policy else ""
        httpd.configure(
            f"Listen {net.HOST}:{httpd.port}\n<VirtualHost {net.HOST}:{httpd.port}>\n"
            f"ServerName {names[0]}\n"
            + (f"ServerAlias {' '.join(names[1:])}\n" if names[1:] else "")
            + f"{lines}\n</VirtualHost>\n{vhost}",
            main=f"{trust}StrictTLSFetchDeny none\nStrictTLSFetchTimeoutMs {fetch_timeout_ms}\n"
                 f"{main}")
        return httpd

    def test(self, lines, **options):
        """(exit status, [(severity, reason, line)]) of apachectl -t."""
        status, output = self.httpd(lines, **options).test()
        return status, findings(output), output


def findings(text):
    return [(*re.search(r"severity=(\w+) .*?reason=([\w.]+)", line).groups(), line)
            for line in text.splitlines() if "self_check severity=" in line]


def told(found):
    return sorted(f"{severity} {reason}" for severity, reason, _ in found)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with Lab(scenarios=()) as lab:
        yield Own(lab, tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def site(own):
    """The usual leaf."""
    return own.leaf("site")


def server(cert, key, chain=None):
    return (f"SSLEngine on\nSSLCertificateFile {cert}\nSSLCertificateKeyFile {key}\n"
            + (f"SSLCertificateChainFile {chain}\n" if chain else ""))


def client(pem, chain=None):
    return (f"SSLProxyEngine on\nSSLProxyMachineCertificateFile {pem}\n"
            + (f"SSLProxyMachineCertificateChainFile {chain}\n" if chain else ""))


# ---- as a server -----------------------------------------------------------------------------

def test_incomplete_chain_is_named_and_its_repair_is_silent(own, site):
    pem = own.pem("incomplete.pem", "site")
    status, found, output = own.test(server(pem, site.key_path))
    assert status == 0, output  # warn is the default
    assert told(found) == ["error chain.incomplete"]
    assert f'file="{pem}"' in found[0][2]
    assert f"append it to {pem}; published at {own.lab.responder.url('ca/issuing.der')}" in found[0][2]
    assert re.search(r'in="/\S+/httpd.conf:\d+"', found[0][2])

    own.pem("incomplete.pem", "site", "issuing", "intermediate")
    status, found, output = own.test(server(pem, site.key_path))
    assert status == 0 and not found, output


def test_fails_within_so_many_seconds(own):
    """Before a certificate expires, where the administrator says how long before."""
    leaf = own.leaf("three_days", days=3.0)
    lines = server(own.pem("three_days.pem", "three_days", "issuing", "intermediate"),
                   leaf.key_path)
    for within, fails in (("", False), ("0", False), ("86400", False), ("604800", True)):
        status, _, output = own.test(lines + f"StrictTLSSelfCheck fail {within}")
        assert (status != 0) == fails, output
    assert "reason=chain.expiring" in output
    assert own.test(lines, main="StrictTLSSelfCheck fail 604800")[0] != 0
    for words in ("warn 604800", "off 1", "fail soon", "fail -1", "fail 1x", "fail 999999999999"):
        status, _, output = own.test(lines + f"StrictTLSSelfCheck {words}")
        assert status != 0 and "SECONDS" in output


def test_modes(own, site):
    pem = own.pem("modes.pem", "site")
    bad = server(pem, site.key_path)
    assert own.test(bad + "StrictTLSSelfCheck off")[:2] == (0, [])
    status, found, _ = own.test(bad + "StrictTLSSelfCheck warn")
    assert (status, told(found)) == (0, ["error chain.incomplete"])
    status, found, output = own.test(bad + "StrictTLSSelfCheck fail")
    assert status != 0 and told(found) == ["error chain.incomplete"], output
    assert own.test(bad, main="StrictTLSSelfCheck fail")[0] != 0
    assert own.test(bad + "StrictTLSSelfCheck off", main="StrictTLSSelfCheck fail")[0] == 0
    good = server(own.pem("modes_good.pem", "site", "issuing", "intermediate"), site.key_path)
    assert own.test(good + "StrictTLSSelfCheck fail")[:2] == (0, [])
    status, _, output = own.test(good + "StrictTLSSelfCheck maybe")
    assert status != 0 and "off, warn or fail" in output
    # Nothing is presented where TLS is off.
    assert own.test(bad.replace("SSLEngine on", "SSLEngine off"))[:2] == (0, [])
    # A server that refuses to start has not started.
    httpd = own.httpd(bad + "StrictTLSSelfCheck fail")
    with pytest.raises(RuntimeError):
        httpd.start([httpd.port])


def test_chain_file(own, site):
    leaf = own.pem("alone.pem", "site")
    chain = own.pem("chain.pem", "issuing", "intermediate")
    assert own.test(server(leaf, site.key_path, chain))[:2] == (0, [])
    half = own.pem("half.pem", "issuing")
    _, found, _ = own.test(server(leaf, site.key_path, half))
    assert len(found) == 1 and f"append it to {half}" in found[0][2]


@pytest.mark.parametrize("labels, wanted", [
    (("site", "intermediate", "issuing"), ["error chain.misordered"]),
    (("site", "issuing"), ["error chain.untrusted"]),
    (("site", "issuing", "intermediate", "stranger"), ["warning chain.extra"]),
    (("site", "issuing", "intermediate", "root"), ["note chain.root_presented"]),
])
def test_presentation(labels, wanted, own, site):
    pem = own.pem("presentation.pem", *labels)
    status, found, output = own.test(server(pem, site.key_path))
    assert status == 0
    assert told(found) == wanted, output
    failing = own.test(server(pem, site.key_path) + "StrictTLSSelfCheck fail")[0]
    assert (failing != 0) == wanted[0].startswith("error")


def test_names(own, site):
    pem = own.pem("names.pem", "site", "issuing", "intermediate")
    lines = server(pem, site.key_path)
    _, found, _ = own.test(lines, names=("other.own.test",))
    assert told(found) == ["error name.mismatch"]
    assert own.test(lines, names=(NAME, "www.*", "w?w.own.test"))[:2] == (0, [])
    _, found, _ = own.test(lines, names=(NAME, "*.own.test", "b.own.test"))
    assert told(found) == ["error name.mismatch"]
    assert "'*.own.test', 'b.own.test'" in found[0][2]


def test_dates_purpose_and_key(own, site):
    rows = {
        "error chain.expired": ({"starts": -20.0, "days": 10.0}, "server", None),
        "warning chain.expiring": ({"starts": -80.0, "days": 90.0}, "server", None),
        "error chain.purpose": ({"usages": ("client",)}, "server", None),
        "error chain.key_mismatch": ({}, "server", site.key_path),
    }
    for number, (wanted, (fields, _, key)) in enumerate(rows.items()):
        leaf = own.leaf(f"row{number}", **fields)
        pem = own.pem(f"row{number}.pem", leaf.label, "issuing", "intermediate")
        _, found, output = own.test(server(pem, key or leaf.key_path))
        assert told(found) == [wanted], output


def test_what_cannot_be_checked_is_not_passed(own, site):
    pem = own.pem("engine.pem", "site", "issuing", "intermediate")
    encrypted = own.folder / "encrypted.key"
    subprocess.run(["openssl", "pkey", "-in", site.key_path, "-aes256", "-passout", "pass:x",
                    "-out", encrypted], check=True, capture_output=True)
    for lines in (server(pem, "pkcs11:object=key"), server("pkcs11:object=cert", site.key_path),
                  server(pem, encrypted)):
        status, found, output = own.test(lines)
        assert (status, told(found)) == (0, ["error chain.not_checkable"]), output
        assert own.test(lines + "StrictTLSSelfCheck fail")[0] != 0


def test_trust(own, site):
    """The system's store does not know the lab: the way out is named."""
    pem = own.pem("private.pem", "site", "issuing", "intermediate")
    _, found, _ = own.test(server(pem, site.key_path), policy=False)
    assert told(found) == ["error chain.untrusted"]
    assert "StrictTLSTrustedCertificate" in found[0][2]


def test_inheritance_and_several_certificates(own, site):
    rsa = own.leaf("site_rsa", key="rsa2048")
    good = own.pem("several.pem", "site", "issuing", "intermediate")
    bad = own.pem("several_rsa.pem", "site_rsa")
    lines = (f"SSLEngine on\nSSLCertificateFile {good}\nSSLCertificateKeyFile {site.key_path}\n"
             f"SSLCertificateFile {bad}\nSSLCertificateKeyFile {rsa.key_path}\n")
    _, found, _ = own.test(lines)
    assert told(found) == ["error chain.incomplete"] and str(bad) in found[0][2]
    main = f"SSLCertificateFile {bad}\nSSLCertificateKeyFile {rsa.key_path}\n"
    _, found, _ = own.test("SSLEngine on\n", main=main)
    assert told(found) == ["error chain.incomplete"]
    # The virtual host's own file takes the place of the main server's.
    assert own.test(server(good, site.key_path), main=main)[:2] == (0, [])


def test_what_several_servers_present_is_told_once(own, site):
    pem = own.pem("shared.pem", "site")
    other = net.free_port()
    second = (f"<VirtualHost {net.HOST}:{other}>\nServerName b.own.test\n"
              f"{server(pem, site.key_path)}</VirtualHost>\n")
    _, found, output = own.test(server(pem, site.key_path), vhost=second)
    assert told(found) == ["error chain.incomplete", "error name.mismatch"], output
    _, found, _ = own.test(server(pem, site.key_path) + "StrictTLSSelfCheck off", vhost=second)
    assert told(found) == ["error chain.incomplete", "error name.mismatch"]


def test_wherever_it_is_configured(own, site):
    """Containers that httpd resolves while it reads leave no trace."""
    pem = own.pem("nested.pem", "site")
    lines = server(pem, site.key_path)
    vhost = f"<VirtualHost {net.HOST}:{net.free_port()}>\nServerName {NAME}\n{lines}</VirtualHost>\n"
    include = own.folder / "include.conf"
    include.write_text(vhost)
    for inside, outside in (
            (f"<IfModule mod_ssl.c>\n{lines}</IfModule>\n", ""),
            ("", f"<IfModule mod_ssl.c>\n<IfDefine !X>\n{vhost}</IfDefine>\n</IfModule>\n"),
            ("", f"Include {include}\n"),
            ("", f"Define PEM {pem}\n" + vhost.replace(str(pem), "${PEM}")),
            ("", f"<Macro Site $n>\n{vhost}</Macro>\nUse Site x\nUndefMacro Site\n")):
        _, found, output = own.test(inside, vhost=outside, modules=("macro",))
        assert told(found) == ["error chain.incomplete"], output
        assert re.search(r' in="[^"]+"$', found[0][2])


def test_managed_by_mod_md(own, site):
    store = own.folder / "md"
    folder = store / "domains" / NAME
    main = f"MDStoreDir {store}\nMDomain {NAME}\n"
    lines = "SSLEngine on\n"
    options = {"main": main, "modules": ("md",)}
    _, found, output = own.test(lines, **options)
    assert told(found) == ["error chain.not_checkable"], output
    folder.mkdir(parents=True)
    (folder / "privkey.pem").write_bytes(site.key_path.read_bytes())
    (folder / "pubcert.pem").write_bytes(own.pem("md.pem", "site").read_bytes())
    _, found, output = own.test(lines, **options)
    assert told(found) == ["error chain.incomplete"], output
    (folder / "pubcert.pem").write_bytes(
        own.pem("md.pem", "site", "issuing", "intermediate").read_bytes())
    assert own.test(lines, **options)[:2] == (0, [])


# ---- as a client ---------------------------------------------------------------------------------

def test_client_chain(own):
    leaf = own.leaf("machine", usages=("client",), sans=())
    pem = own.pem("machine.pem", "machine", "machine.key")
    _, found, output = own.test(client(pem))
    assert told(found) == ["error chain.incomplete"], output
    assert "role=client" in found[0][2]
    chain = own.pem("machine_chain.pem", "issuing", "intermediate", "root")
    assert own.test(client(pem, chain))[:2] == (0, [])
    section = f'<Proxy "https://{net.HOST}:1/">\n{client(pem)}</Proxy>\n'.replace(
        "SSLProxyEngine on\n", "")
    _, found, output = own.test("SSLProxyEngine on\n" + section + "StrictTLSSelfCheck fail\n")
    assert told(found) == ["error chain.incomplete"], output
    folder = own.folder / "machines"
    folder.mkdir()
    (folder / "one.pem").write_bytes(pem.read_bytes())
    _, found, output = own.test(f"SSLProxyMachineCertificatePath {folder}\n")
    assert told(found) == ["error chain.incomplete"], output
    assert leaf.label == "machine"


def test_client_purpose(own, site):
    pem = own.pem("server_as_client.pem", "site", "site.key")
    chain = own.pem("purpose_chain.pem", "issuing", "intermediate")
    _, found, _ = own.test(client(pem, chain))
    assert told(found) == ["error chain.purpose"]
    assert "clientAuth" in found[0][2]


# ---- while it runs ---------------------------------------------------------------------------------

def log_of(httpd, word):
    net.wait_until(lambda: word in httpd.errors(), f"{word} in the log")
    return [line for line in httpd.errors().splitlines() if "self_check" in line]


@pytest.mark.parametrize("fields, word", [
    ({"ocsp": "revoked"}, "reason=ocsp.revoked"),
    ({"ocsp": "silent"}, "reason=fetch.timeout"),
    ({"ocsp": "refused"}, "reason=fetch.network"),
    ({"ocsp": "good"}, "is good"),
], ids=("revoked", "silent", "refused", "good"))
def test_revocation_in_the_background(fields, word, own):
    label = "watched_" + fields["ocsp"]
    leaf = own.leaf(label, **fields)
    pem = own.pem(f"{label}.pem", label, "issuing", "intermediate")
    # The configuration is sound; it is the responder who knows.
    assert own.test(server(pem, leaf.key_path) + "StrictTLSSelfCheck fail")[:2] == (0, [])
    httpd = own.httpd(server(pem, leaf.key_path), processes=2)
    try:
        httpd.start([httpd.port])
        lines = log_of(httpd, word)
        assert str(pem) in " ".join(lines)
        # Told once, whatever the number of processes.
        assert sum(word in line for line in lines) == 1, lines
    finally:
        httpd.stop()


@pytest.mark.parametrize("revoked, word", [(True, "reason=crl.revoked"), (False, "is good")],
                         ids=("revoked", "good"))
def test_crl_file_in_the_background(revoked, word, own):
    """The administrator's CRLs are about chains of our own, too."""
    label = f"listed_{revoked}"
    leaf = own.leaf(label, ocsp="none")
    pem = own.pem(f"{label}.pem", label, "issuing", "intermediate")
    file = crl.CrlFile(own.lab, own.folder / f"{label}.crl.pem")
    file.write(*([leaf] if revoked else []))
    httpd = own.httpd(server(pem, leaf.key_path),
                      main=f"StrictTLSCRLFile {file.path}\nStrictTLSShortLivedS 0\n")
    try:
        httpd.start([httpd.port])
        lines = log_of(httpd, word)
        assert "internal.error" not in " ".join(lines)
    finally:
        httpd.stop()


def test_a_silent_responder_holds_up_no_other_chain(own):
    """The one is asked about first and gets no answer; what is wrong with the other is told."""
    held, other = own.leaf("watched_held", ocsp="hold"), own.leaf("watched_other", ocsp="revoked")
    files = {leaf: own.pem(f"{label}.pem", label, "issuing", "intermediate")
             for leaf, label in ((held, "watched_held"), (other, "watched_other"))}
    second = net.free_port()
    httpd = own.httpd(
        server(files[held], held.key_path), processes=1, fetch_timeout_ms=600000,
        vhost=f"Listen {net.HOST}:{second}\n<VirtualHost {net.HOST}:{second}>\n"
              f"ServerName {NAME}\n{server(files[other], other.key_path)}\n</VirtualHost>\n",
        main="StrictTLSFetchTotalMs 600000\n")
    try:
        httpd.start([httpd.port])
        lines = log_of(httpd, "reason=ocsp.revoked")
        assert str(files[other]) in " ".join(lines)
        assert not [line for line in lines if str(files[held]) in line]
    finally:
        httpd.stop()


def test_a_child_that_ends_leaves_its_turn(own):
    """Another one asks again, and does not wait until the turn is given up."""
    label = "watched_left"
    leaf = own.leaf(label, ocsp="hold")
    pem = own.pem(f"{label}.pem", label, "issuing", "intermediate")
    httpd = own.httpd(server(pem, leaf.key_path), processes=1, fetch_timeout_ms=600000,
                      main="StrictTLSFetchTotalMs 600000\nMaxConnectionsPerChild 1\n")

    def ends_a_child():
        socket.create_connection((net.HOST, httpd.port)).close()
        return "reason=ocsp.revoked" in httpd.errors()

    try:
        httpd.start([httpd.port])
        net.wait_until(lambda: own.lab.responder.count(label), "the question")
        own.lab.responder.place(label, "revoked")
        net.wait_until(ends_a_child, "the revocation in the log", step_s=2)
    finally:
        httpd.stop()


def test_threshold(own):
    """One that is reached while httpd runs is told then, however long its verdict lives."""
    label = "watched_ageing"
    leaf = own.leaf(label, starts=-80.0, days=90.0)
    pem = own.pem(f"{label}.pem", label, "issuing", "intermediate")
    left_s = int((leaf.cert.not_valid_after - datetime.utcnow()).total_seconds())
    httpd = own.httpd(server(pem, leaf.key_path), main="StrictTLSNegativeTtlS 1\n"
                      f"StrictTLSVerdictMaxAgeS 86400\nStrictTLSExpiryWarnS {left_s - 15}\n")
    try:
        httpd.start([httpd.port])
        log_of(httpd, "is good")
        lines = log_of(httpd, "reason=chain.expiring")
        assert sum("reason=chain.expiring" in line for line in lines) == 1
    finally:
        httpd.stop()
