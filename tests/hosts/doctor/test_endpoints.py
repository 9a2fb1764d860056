"""Endpoints of every kind: STARTTLS, proxies, mutual TLS, silence, odd names; exit codes."""
import socket
import ssl
import threading

import pytest

from tests.hosts.doctor.conftest import ACCEPT, REJECT, UNKNOWN, USAGE, policy_text
from tests.hosts.doctor.schema import errors
from tests.lab import net, tls_server
from tests.lab.connect_proxy import ConnectProxy
from tests.lab.crl import CrlFile
from tests.lab.scenarios import NAME
from tests.lab.tls_server import TlsServer

PROTOCOLS = {"smtp": tls_server.smtp, "imap": tls_server.imap, "pop3": tls_server.pop3,
             "ftp": tls_server.ftp, "ldap": tls_server.ldap}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def check(doctor, lab, address, *args, scene="good", **options):
    return doctor("check", address, "--name", NAME, "--cafile", lab.scenes[scene].trust,
                  "--policy", policy_text(), "--json", *args, **options)


def problems(done):
    assert errors(done.json) == []
    return [problem["id"] for problem in done.json["problems"]]


# ---- STARTTLS -------------------------------------------------------------------

@pytest.mark.parametrize("id, reason", [("good", "none"), ("leaf_only", "chain.incomplete")])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_starttls(protocol, id, reason, doctor, lab):
    scene = lab.scenes[id]
    with TlsServer(scene.backend.chain, scene.leaf.key_path, PROTOCOLS[protocol]) as server:
        done = check(doctor, lab, server.address, "--starttls", protocol)
        assert done.json["reason"] == reason
        assert done.code == (REJECT if id == "leaf_only" else ACCEPT), done.json
        assert done.json["target"]["starttls"] == protocol
        assert done.json["connection"]["handshake_completed"] is True
        assert server.served == 1


def test_starttls_fix(doctor, lab):
    scene = lab.scenes["leaf_only"]
    with TlsServer(scene.backend.chain, scene.leaf.key_path, tls_server.smtp) as server:
        done = doctor("fix", server.address, "--starttls", "smtp", "--cafile", scene.trust,
                      "--policy", policy_text())
    assert done.code == ACCEPT and done.out.count("BEGIN CERTIFICATE") == 3


def test_starttls_not_offered(doctor, lab):
    scene = lab.scenes["good"]
    with TlsServer(scene.backend.chain, scene.leaf.key_path, tls_server.refusing_smtp) as server:
        done = check(doctor, lab, server.address, "--starttls", "smtp")
    assert (done.code, problems(done)) == (UNKNOWN, ["connect.failed"])


# ---- mutual TLS -------------------------------------------------------------------

@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("chain, code, wanted", [
    (["client", "issuing", "intermediate"], ACCEPT, []),
    (["client"], REJECT, ["client.rejected", "client.refused"]),
    (["leaf_untrusted_root", "stranger_issuing"], REJECT, ["client.rejected", "client.refused"]),
    ([], UNKNOWN, ["client.requested", "client.none_sent"]),
])
def test_mutual(chain, code, wanted, version, doctor, lab):
    scene = lab.scenes["good"]
    args = []
    if chain:
        args = ["--cert", lab.bundle("own", chain), "--key", lab.pki[chain[0]].key_path]
    with TlsServer(scene.backend.chain, scene.leaf.key_path, version=VERSIONS[version],
                   client_ca=lab.pki["root"].cert_path) as server:
        done = check(doctor, lab, server.address, *args)
    assert problems(done) == wanted
    assert done.code == code
    assert done.json["reason"] == "none"
    client = done.json["client"]
    assert client["requested"] is True
    assert client["acceptable_cas"] == [] and client["issuer_listed"] is None
    if chain:
        assert client["diagnosis"]["strict"]["role"] == "client"


@pytest.mark.parametrize("protocol", ["smtp", "ldap"])
@pytest.mark.parametrize("version", VERSIONS)
def test_mutual_behind_starttls(version, protocol, doctor, lab):
    scene = lab.scenes["good"]
    with TlsServer(scene.backend.chain, scene.leaf.key_path, PROTOCOLS[protocol],
                   version=VERSIONS[version], client_ca=lab.pki["root"].cert_path) as server:
        for chain, wanted in ((["client", "issuing", "intermediate"], []),
                              (["client"], ["client.rejected", "client.refused"])):
            done = check(doctor, lab, server.address, "--starttls", protocol, "--cert",
                         lab.bundle("own", chain), "--key", lab.pki["client"].key_path)
            assert problems(done) == wanted


@pytest.mark.parametrize("protocol", ["smtp", "imap"])
@pytest.mark.parametrize("version", VERSIONS)
def test_refused_without_an_alert(version, protocol, doctor, lab):
    """A server that closes with our next command unread resets the connection; its alert is lost."""
    scene = lab.scenes["good"]
    with TlsServer(scene.backend.chain, scene.leaf.key_path, PROTOCOLS[protocol], loses_alert=True,
                   version=VERSIONS[version], client_ca=lab.pki["root"].cert_path) as server:
        done = check(doctor, lab, server.address, "--starttls", protocol, "--cert",
                     lab.bundle("own", ["client"]), "--key", lab.pki["client"].key_path)
    assert problems(done) == ["client.rejected", "client.refused"]


@pytest.mark.parametrize("chain, listed", [
    (["client", "issuing", "intermediate"], True), (["client", "issuing"], False),
    (["leaf_good_direct"], True)])
def test_acceptable_cas(chain, listed, doctor, lab):
    """A server that names the CAs it accepts: does the chain we send lead to one of them?"""
    done = check(doctor, lab, lab.scenes["mutual"].backend.address, "--cert",
                 lab.bundle("own", chain), "--key", lab.pki[chain[0]].key_path)
    client = done.json["client"]
    assert client["acceptable_cas"] == ["CN=Lab Root,O=strict-tls lab"]
    assert client["issuer_listed"] is listed
    assert ("client.issuer_not_listed" in problems(done)) is not listed


def test_client_certificate_nobody_asked_for(doctor, lab):
    own = lab.bundle("own", ["client", "issuing", "intermediate"])
    key = lab.pki["client"].key_path
    done = check(doctor, lab, lab.scenes["good"].backend.address, "--cert", own, "--key", key)
    assert (done.code, problems(done)) == (ACCEPT, ["client.not_asked"])


def test_client_files(doctor, lab):
    address = lab.scenes["good"].backend.address
    own = lab.bundle("own", ["client", "issuing", "intermediate"])
    for args in (["--cert", own], ["--cert", own, "--key", lab.pki["root"].key_path],
                 ["--cert", "/nonexistent", "--key", lab.pki["client"].key_path],
                 ["--key", lab.pki["client"].key_path]):
        assert check(doctor, lab, address, *args).code == USAGE


# ---- ways to get there -----------------------------------------------------------------

def test_connect_to(doctor, lab):
    scene = lab.scenes["good"]
    for args in ((NAME, "--connect-to", scene.backend.address),
                 (f"{NAME}:{scene.backend.port}", "--connect-to", net.HOST),
                 (f"https://{NAME}:{scene.backend.port}/path?x=1", "--connect-to", net.HOST)):
        done = doctor("check", *args, "--cafile", scene.trust, "--policy", policy_text(), "--json")
        assert done.code == ACCEPT, done.err
        assert done.json["strict"]["name"] == NAME
        assert done.json["connection"]["address"] == scene.backend.address


def test_http_proxy(doctor, lab):
    """libcurl's rules, and names that only the proxy can resolve."""
    scene = lab.scenes["leaf_only"]
    with ConnectProxy({NAME: net.HOST}) as proxy:
        target = f"{NAME}:{scene.backend.port}"
        env = {"https_proxy": f"http://{net.HOST}:{proxy.port}"}
        done = doctor("check", target, "--cafile", scene.trust, "--json", "--policy",
                      policy_text(), env=env)
        assert (done.code, done.json["reason"]) == (REJECT, "chain.incomplete")
        assert proxy.asked == [target]
        done = doctor("check", target, "--cafile", scene.trust, "--json",
                      env={**env, "no_proxy": NAME})
        assert (done.code, problems(done)) == (UNKNOWN, ["connect.failed"])


def test_no_network(doctor, lab, tmp_path):
    """Every way out leads nowhere: check says so, file does not mind."""
    nowhere = f"http://{net.HOST}:{lab.refusing.port}"
    env = {"http_proxy": nowhere, "https_proxy": nowhere, "all_proxy": nowhere}
    scene = lab.scenes["good"]
    done = check(doctor, lab, "api.example.com", env=env)
    assert (done.code, problems(done)) == (UNKNOWN, ["connect.failed"])
    assert doctor("file", scene.backend.chain, "--cafile", scene.trust, env=env).code == ACCEPT


def test_offline_asks_nobody(doctor, lab):
    before = len(lab.responder.hits)
    assert check(doctor, lab, lab.scenes["revoked"].backend.address, "--offline").code == ACCEPT
    done = check(doctor, lab, lab.scenes["leaf_only"].backend.address, "--offline")
    assert done.code == REJECT and not done.json["repair"]["possible"]
    gaps = [node for node in done.json["chain"] if node["kind"] == "missing"]
    assert [gap["subject"] for gap in gaps] == ["CN=Lab Issuing CA,O=strict-tls lab"]
    assert gaps[0]["key_id"] and gaps[0]["published_at"]
    assert len(lab.responder.hits) == before


def test_answers_are_remembered(doctor, lab):
    scene = lab.scenes["by_name"]
    before = lab.responder.count(scene.place)
    for _ in range(3):
        assert doctor.check(scene).code == ACCEPT
    assert lab.responder.count(scene.place) == before + 1


# ---- certificates that cannot be decoded -------------------------------------------------------

def garbled_server(listener, certificates):
    """The first flight of TLS 1.2, in clear: ServerHello, Certificate; then whatever comes."""
    def vector(width, body):
        return len(body).to_bytes(width, "big") + body

    def handshake(kind, body):
        message = bytes([kind]) + vector(3, body)
        records = b""
        for at in range(0, len(message), 16000):
            records += b"\x16\x03\x03" + vector(2, message[at:at + 16000])
        return records

    hello = b"\x03\x03" + bytes(range(32)) + b"\0" + b"\xc0\x2f" + b"\0"
    hello += vector(2, b"\xff\x01\0\x01\0")  # secure renegotiation, without which nobody talks
    chain = vector(3, b"".join(vector(3, cert) for cert in certificates))
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        try:
            connection.recv(65536)
            connection.sendall(handshake(2, hello) + handshake(11, chain))
            while connection.recv(65536):
                pass
        except OSError:
            pass


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut", "second"])
def test_undecodable(damage, doctor, lab):
    leaf = lab.scenes["good"].leaf.der
    certificates = {"garbage": [b"\x30\x03abc"], "empty": [b""], "cut": [leaf[:-20]],
                    "second": [leaf, b"no certificate"]}[damage]
    with socket.create_server((net.HOST, 0)) as listener:
        thread = threading.Thread(target=garbled_server, args=(listener, certificates),
                                  daemon=True)
        thread.start()
        done = check(doctor, lab, f"{net.HOST}:{listener.getsockname()[1]}", "--tls", "1.2")
        thread.join(10)
    assert (done.code, done.json["reason"]) == (REJECT, "chain.malformed"), done.json
    assert problems(done) == ["handshake.failed"]


# ---- those that cannot be judged ------------------------------------------------------------

def test_refused(doctor, lab):
    done = check(doctor, lab, f"{net.HOST}:{lab.refusing.port}")
    assert (done.code, problems(done)) == (UNKNOWN, ["connect.failed"])
    assert done.json["verdict"] == "unknown"
    assert done.json["strict"] is None and done.json["lenient"] is None


def test_unknown_host(doctor, lab):
    done = check(doctor, lab, "no-such-host.invalid")
    assert (done.code, problems(done)) == (UNKNOWN, ["connect.failed"])


def test_silent(doctor, lab):
    scene = lab.scenes["good"]
    with TlsServer(scene.backend.chain, scene.leaf.key_path, "silent") as server:
        done = check(doctor, lab, server.address, "--timeout", "1")
    assert (done.code, problems(done)) == (UNKNOWN, ["handshake.failed"])


def test_plain_http(doctor, lab):
    done = check(doctor, lab, f"{net.HOST}:{lab.responder.port}")
    assert (done.code, problems(done)) == (UNKNOWN, ["handshake.failed"])


# ---- what people type --------------------------------------------------------------------------

@pytest.mark.parametrize("host", [
    "", " ", "a b", "a:0", "a:65536", "a:x", "a/b", "user@a", "http://a/", "ftp://a/", "a?b", "a#b",
    "a..b", "a" * 64, "a." * 130, ".", ".a", "[::1", "::1", "[::g]", "a\nb", "a\x1b[31mb", "a\tb",
    "a\x7fb", "a\\b", "a'b", 'a"b', "a;b", "a$b", "a`b", "a%00b", "<b>", "a" * 100000])
def test_hosts_that_are_none(host, doctor):
    done = doctor("check", "--", host)
    assert (done.code, done.out) == (USAGE, "")
    assert done.err and all(" " <= byte <= "~" or byte == "\n" for byte in done.err)
    assert len(done.err) < 1000


@pytest.mark.parametrize("host, name", [
    ("BÜCHER.invalid", "xn--bcher-kva.invalid"), ("xn--bcher-kva.invalid", None),
    ("under_score.invalid", None), ("-dash.invalid", None), ("a" * 63 + ".invalid", None),
    ("invalid.", None)])
def test_unusual_hosts(host, name, doctor):
    done = doctor("check", "--json", "--", host)
    assert done.code == UNKNOWN
    assert errors(done.json) == []
    assert done.json["target"]["name"].lower() == (name or host)


@pytest.mark.parametrize("name", ["127.0.0.1", "[::1]", "::1"])
def test_address_as_name(name, doctor, lab):
    done = doctor("check", lab.scenes["ip_name"].backend.address, "--name", name, "--json",
                  "--cafile", lab.scenes["ip_name"].trust, "--policy", policy_text())
    assert done.json["reason"] == ("none" if name == "127.0.0.1" else "name.mismatch")


@pytest.mark.parametrize("args", [
    [], ["frobnicate"], ["check"], ["check", "a", "b"], ["check", "a", "--frobnicate"],
    ["check", "a", "--name"], ["check", "a", "--json=yes"], ["check", "a", "--timeout", "0"],
    ["check", "a", "--timeout", "x"], ["check", "a", "--online"], ["check", "a", "--starttls", "x"],
    ["check", "a", "--preset", "x"], ["check", "a", "--policy", "x=y"], ["check", "a", "--tls", "1"],
    ["check", "a", "--policy", "revocation=maybe"], ["check", "a", "--name", "b c"],
    ["check", "a", "--connect-to", "b c"], ["check", "a", "--color", "x"],
    ["check", "--hosts", "/nonexistent"], ["check", "a", "--hosts", "/dev/null"],
    ["check", "--hosts", "/dev/null"], ["check", "a", "--rounds", "2"], ["file"], ["fix"],
    ["check", "a", "--watch", "--interval", "-1"], ["fix", "a", "--json"],
    ["check", "--hosts", "/dev/null", "--watch"], ["check", "--hosts", "/dev/null", "--name", "a"],
    ["check", "--hosts", "/dev/null", "--parallel", "0"], ["file", "x", "--starttls", "smtp"]])
def test_usage(args, doctor):
    done = doctor(*args)
    assert (done.code, done.out) == (USAGE, "")
    assert done.err.startswith("strict-tls: ")


def test_policy_from_the_environment(doctor, lab):
    env = {"STRICT_TLS_POLICY": "chain_root=require"}
    scene = lab.scenes["good"]
    assert doctor.check(scene, env=env).json["reason"] == "chain.root_missing"
    # A preset on the command line starts afresh; mode cannot turn the doctor off.
    assert doctor.check(scene, "--preset", "strict", env=env).json["reason"] == "none"
    assert doctor.check(lab.scenes["leaf_only"], env={"STRICT_TLS_POLICY": "mode=off"}
                        ).json["reason"] == "chain.incomplete"
    assert doctor.check(scene, env={"STRICT_TLS_POLICY": "nonsense"}).code == USAGE


def test_trust_store_from_the_environment(doctor, lab):
    scene = lab.scenes["good"]
    args = ["check", scene.backend.address, "--name", NAME, "--policy", policy_text(), "--json"]
    for variable in ("CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        assert doctor(*args, env={variable: str(scene.trust)}).code == ACCEPT
    assert doctor(*args, env={"SSL_CERT_FILE": str(lab.pki["stranger"].cert_path)}).code == REJECT


# ---- the administrator's CRLs --------------------------------------------------------

def test_crl_file(doctor, lab, tmp_path):
    scene, file = lab.scenes["good"], CrlFile(lab, tmp_path / "crls.pem")

    def judged(path, *args):
        return doctor("check", scene.backend.address, "--name", NAME, "--cafile", scene.trust,
                      "--json", "--policy", policy_text(crl_file=path, **{
                          "revocation_sources": "file", "short_lived_s": "0"}), *args)
    assert judged(file.path).json["reason"] == "none"
    file.write(scene.leaf)
    done = judged(file.path)
    assert (done.code, done.json["reason"]) == (REJECT, "crl.revoked")
    assert done.json["strict"]["certs"][0]["revocation"]["revocation_reason"] == "keyCompromise"
    done = judged(tmp_path / "absent")
    assert (done.code, done.out) == (USAGE, "") and "absent" in done.err
