"""nginx -t: the chains that this nginx presents itself, judged before a peer does it."""
import os
import re
import subprocess
from dataclasses import dataclass

import pytest

from tests.lab import net
from tests.lab.lab import Lab
from tests.lab.nginx import BUILD, MODULE, NGINX, ROOT, Nginx, parse_fields

NAME = "www.lab.test"
LINE = re.compile(r"nginx: \[(\w+)\] strict-tls: self_check (.*)")
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True)
class Told:
    """One line of the self-check."""

    level: str
    severity: str
    role: str
    file: str
    reason: str
    detail: str
    remedy: str
    where: str


def told(output):
    """The self-check's lines in what nginx -t printed."""
    lines = []
    for level, text in LINE.findall(output):
        fields = parse_fields(text)
        lines.append(Told(level, where=text.rpartition('", ')[2], **{
            key: fields.get(key, "")
            for key in ("severity", "role", "file", "reason", "detail", "remedy")}))
    return lines


# id: (served chain, reasons at level warn, leaf)
SERVERS = {
    "good": ("leaf issuing intermediate", [], {}),
    "leaf_only": ("leaf", ["chain.incomplete"], {}),
    "gap": ("leaf intermediate", ["chain.incomplete"], {}),
    "misordered": ("leaf intermediate issuing", ["chain.misordered"], {}),
    "extra": ("leaf issuing intermediate stranger_issuing", ["chain.extra"], {}),
    "twice": ("leaf issuing issuing intermediate", ["chain.extra"], {}),
    "expired": ("leaf issuing intermediate", ["chain.expired"], {"starts": -40.0, "days": 30.0}),
    "expiring": ("leaf issuing intermediate", ["chain.expiring"], {"starts": -85.0, "days": 90.0}),
    "future": ("leaf issuing intermediate", ["chain.not_yet_valid"], {"starts": 3.0}),
    "purpose": ("leaf issuing intermediate", ["chain.purpose"], {"usages": ("client",)}),
    "weak": ("leaf issuing intermediate", ["chain.weak"], {"digest": "sha1"}),
    "untrusted": ("leaf stranger_issuing", ["chain.untrusted"], {"issuer": "stranger_issuing"}),
    "self_signed": ("leaf", ["chain.self_signed"], {"issuer": None}),
    "root_presented": ("leaf issuing intermediate root", [], {}),
}

# server_name: (subject alternative names, what is told)
NAMES = {
    "www.lab.test": (["www.lab.test"], []),
    "api.lab.test": (["www.lab.test"], ["name.mismatch"]),
    "a.lab.test b.lab.test": (["*.lab.test"], []),
    "lab.test": (["*.lab.test"], ["name.mismatch"]),
    "*.lab.test": (["*.lab.test"], []),
    "*.deep.lab.test": (["*.lab.test"], ["name.mismatch"]),
    ".lab.test": (["*.lab.test"], ["name.mismatch"]),
    ".wide.test": (["wide.test", "*.wide.test"], []),
    "192.0.2.1": (["192.0.2.1"], []),
    "192.0.2.2": (["192.0.2.1"], ["name.mismatch"]),
    # no certificate can cover these, or nobody asks for them
    '"~^host[0-9]+[.]lab[.]test$"': (["www.lab.test"], []),
    "www.lab.*": (["www.lab.test"], []),
    "_": (["www.lab.test"], []),
    '""': (["www.lab.test"], []),
}


@pytest.fixture(scope="module")
def lab():
    with Lab(scenarios=()) as lab:
        yield lab


@pytest.fixture
def nginx(tmp_path):
    """nginx -t with these lines in http{}: (exit status, output, lines of the self-check)."""

    def run(http, **options):
        front = Nginx(tmp_path / "t", module=MODULE)
        front.configure(http, **options)
        status, output = front.test()
        return status, output, told(output)

    return run


def issue(lab, label, chain, leaf):
    """The chain's file and the key's."""
    issuer = leaf.get("issuer", "issuing")
    fields = {"sans": (NAME,), **{key: leaf[key] for key in leaf if key != "issuer"}}
    if label not in lab.pki.entities:
        if issuer is None:
            lab.pki.issue(label, **fields)
        else:
            lab.issue(label, issuer, ocsp="good", **fields)
    labels = [label if word == "leaf" else word for word in chain.split()]
    return lab.bundle("own", labels), lab.pki[label].key_path


def server(port, certs, names=NAME, extra=""):
    """A TLS server{} with these (chain, key) pairs."""
    lines = "".join(f"ssl_certificate {chain};\nssl_certificate_key {key};\n"
                    for chain, key in certs)
    return (f"server {{\nlisten {net.HOST}:{port} ssl;\nserver_name {names};\n{lines}{extra}\n"
            "location / { return 200; }\n}\n")


def trust(lab):
    return f"strict_tls_trusted_certificate {lab.pki['root'].cert_path};\n"


# ---- servers ----------------------------------------------------------------------------


def test_servers(lab, nginx):
    """Every defect is found in one run, and nothing else; warn does not stop nginx."""
    files = {id: issue(lab, f"own_{id}", chain, leaf)
             for id, (chain, _, leaf) in SERVERS.items()}
    port = net.free_port()
    status, output, lines = nginx(
        "ssl_ciphers DEFAULT:@SECLEVEL=0;\n" + trust(lab)
        + "".join(server(port, [files[id]]) for id in SERVERS))
    assert status == 0, output
    assert "test is successful" in output
    for id, (_, reasons, _) in SERVERS.items():
        about = [line for line in lines if line.file == str(files[id][0])]
        assert [line.reason for line in about] == reasons, (id, output)
        for line in about:
            assert line.level == "warn"
            assert line.role == "server"
            assert line.remedy
            assert line.where.startswith(f'server "{NAME}" in ')


@pytest.mark.parametrize("id, wanted", [
    ("good", 0), ("root_presented", 0), ("expiring", 0), ("extra", 0),  # warnings do not fail
    ("leaf_only", 1), ("misordered", 1), ("expired", 1), ("purpose", 1), ("untrusted", 1),
])
def test_fail(id, wanted, lab, nginx):
    chain, reasons, leaf = SERVERS[id]
    file = issue(lab, f"own_{id}", chain, leaf)
    status, output, lines = nginx("strict_tls_self_check fail;\n" + trust(lab)
                                  + server(net.free_port(), [file]))
    assert status == wanted, output
    assert [line.reason for line in lines] == reasons
    assert {line.level for line in lines} == ({"emerg"} if wanted else {"warn"} if reasons
                                              else set())


def test_remedy_names_the_file_and_repairs(lab, nginx):
    """What the remedy says, done: the same file is silent, with fail as well."""
    file, key = issue(lab, "own_repair", "leaf", {})
    http = "strict_tls_self_check fail;\n" + trust(lab) + server(net.free_port(), [(file, key)])
    status, output, (line,) = nginx(http)
    assert status == 1
    assert line.reason == "chain.incomplete"
    assert "Lab Issuing CA" in line.detail
    assert str(file) in line.remedy
    assert lab.responder.url("ca/issuing.der") in line.remedy
    file.write_bytes(file.read_bytes() + lab.pki["issuing"].pem + lab.pki["intermediate"].pem)
    assert nginx(http)[0::2] == (0, [])


@pytest.mark.parametrize("names", NAMES)
def test_names(names, lab, nginx):
    sans, reasons = NAMES[names]
    label = "own_names_" + "_".join(sans).replace("*", "any")
    file = issue(lab, label, "leaf issuing intermediate", {"sans": sans})
    status, output, lines = nginx(trust(lab) + server(net.free_port(), [file], names))
    assert status == 0, output
    assert [line.reason for line in lines] == reasons
    for line in lines:
        assert names in line.detail  # the name that is not covered


def test_one_file_in_many_servers(lab, nginx):
    """Judged once, told once, with all names that it does not cover."""
    file = issue(lab, "own_shared", "leaf", {"sans": ("*.lab.test",)})
    port = net.free_port()
    status, output, lines = nginx(trust(lab) + "".join(
        server(port, [file], names) for names in
        ("a.lab.test", "b.lab.test elsewhere.test", "c.lab.test other.test", "elsewhere.test")))
    assert status == 0, output
    assert [line.reason for line in lines] == ["chain.incomplete", "name.mismatch"]
    assert "'elsewhere.test', 'other.test'" in lines[1].detail
    assert "'a.lab.test'" not in lines[1].detail


def test_two_key_types(lab, nginx):
    """Each certificate of a server is judged; the one that OpenSSL drops is told, too."""
    good = issue(lab, "own_ec", "leaf issuing intermediate", {})
    bad = issue(lab, "own_rsa", "leaf", {"key": "rsa2048"})
    status, output, lines = nginx(trust(lab) + server(net.free_port(), [good, bad]))
    assert status == 0, output
    assert [(line.file, line.reason) for line in lines] == [(str(bad[0]), "chain.incomplete")]

    dropped = issue(lab, "own_ec_dropped", "leaf issuing intermediate", {})
    status, output, lines = nginx(trust(lab) + server(net.free_port(), [dropped, good]))
    assert status == 0, output
    assert [(line.file, line.reason) for line in lines] == [
        (str(dropped[0]), "chain.not_checkable")]
    assert "never presented" in lines[0].detail


def test_key_of_another_certificate(lab, nginx):
    """nginx itself refuses that before anybody can judge it."""
    file, _ = issue(lab, "own_good", "leaf issuing intermediate", {})
    _, key = issue(lab, "own_other", "leaf issuing intermediate", {})
    status, output, _ = nginx(trust(lab) + server(net.free_port(), [(file, key)]))
    assert status == 1
    assert "key values mismatch" in output


def test_inherited_and_never_presented(lab, nginx):
    """A certificate of http{} is no concern of a server without TLS."""
    file, key = issue(lab, "own_inherited", "leaf", {})
    status, output, lines = nginx(
        f"ssl_certificate {file};\nssl_certificate_key {key};\n{trust(lab)}"
        f"server {{ listen {net.HOST}:{net.free_port()}; }}\n")
    assert (status, lines) == (0, []), output


def test_system_store(lab, nginx):
    """Without anchors of its own: the system's store, which does not know the lab."""
    file = issue(lab, "own_good", "leaf issuing intermediate", {})
    status, output, lines = nginx(server(net.free_port(), [file]))
    assert status == 0, output
    assert [line.reason for line in lines] == ["chain.untrusted"]
    assert "strict_tls_trusted_certificate" in lines[0].remedy


def test_levels(lab, nginx):
    """off, warn and fail per server; a level inherits from above."""
    file = issue(lab, "own_leaf_only", "leaf", {})
    port = net.free_port()
    off, warn = (server(port, [file], extra=f"strict_tls_self_check {word};")
                 for word in ("off", "warn"))
    fail = server(port, [file], extra="strict_tls_self_check fail;")

    def levels(http):
        status, output, lines = nginx(trust(lab) + http)
        return status, [line.level for line in lines]

    assert levels(off) == (0, [])
    assert levels("strict_tls_self_check off;\n" + server(port, [file])) == (0, [])
    assert levels("strict_tls_self_check fail;\n" + warn) == (0, ["warn"])
    assert levels("strict_tls_self_check off;\n" + fail) == (1, ["emerg"])
    assert levels(off + warn) == (0, ["warn"])
    assert levels(warn + fail) == (1, ["warn", "emerg"])


def test_policy_of_the_level(lab, nginx):
    """Keys in effect where the server is apply to its own chain as well."""
    lab.issue("own_sloppy", "sloppy", sans=(NAME,))
    file = (lab.bundle("own", ["own_sloppy", "sloppy"]), lab.pki["own_sloppy"].key_path)
    status, output, lines = nginx(trust(lab) + server(net.free_port(), [file]))
    assert [line.reason for line in lines] == ["chain.profile"], output
    status, output, lines = nginx(trust(lab) + server(net.free_port(), [file],
                                                      extra="strict_tls_preset private;"))
    assert (status, lines) == (0, []), output


@pytest.mark.parametrize("value", ["on", "Warn", '""', "warn fail"])
def test_wrong_values(value, nginx):
    status, output, _ = nginx(f"strict_tls_self_check {value};")
    assert status == 1
    assert "strict_tls_self_check" in output


def test_readme(lab, tmp_path):
    """The README's section, typed in: the fault is found, repaired and gone."""
    name = "www.example.com"
    file, key = issue(lab, "own_readme", "leaf", {"sans": (name,)})
    section = (ROOT / "README.md").read_text().partition("### Your own chains\n")[2]
    conf = re.search(r"^```nginx\n(.*?)^```$", section, re.M | re.S)[1]
    commands = re.findall(r"^    \$ (.*)$", section.partition("\n### ")[0], re.M)
    shown, = re.findall(r"^    (nginx: .*)$", section.partition("\n### ")[0], re.M)
    assert len(commands) == 4

    def own(text):
        return (text.replace(f"/etc/nginx/tls/{name}.pem", str(file))
                .replace(f"/etc/nginx/tls/{name}.key", str(key)))

    tls, plain = net.free_port(), net.free_port()
    front = Nginx(tmp_path / "t", module=MODULE)
    front.configure(trust(lab) + "strict_tls_fetch_deny none;\n" + own(conf)
                    .replace("listen 443", f"listen {net.HOST}:{tls}")
                    .replace("listen 8081", f"listen {net.HOST}:{plain}"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nginx").write_text(
        f"#!/bin/sh\nexec {NGINX} -p {front.folder} -c {front.conf} -e {front.error_log} \"$@\"\n")
    (tmp_path / "bin/nginx").chmod(0o755)
    environment = {"PATH": f"{tmp_path}/bin:{BUILD}/bin:{os.environ['PATH']}",
                   "HOME": str(tmp_path), "STRICT_TLS_POLICY": "fetch_deny=none",
                   "SSL_CERT_FILE": str(lab.pki["root"].cert_path)}

    def run(command):
        return subprocess.run(own(command), shell=True, cwd=tmp_path, env=environment, check=True,
                              capture_output=True, text=True, timeout=60).stderr

    with front.start([tls, plain]):
        assert net.get(plain, "/strict-tls").status == 200
        found, = told(run(commands[0]))
        example, = told(shown)
        assert (found.level, found.severity, found.role, found.reason) == (
            example.level, example.severity, example.role, example.reason)
        assert own(example.file) == found.file
        for command in commands[1:3]:
            run(command)
        assert told(run(commands[3])) == []
        net.wait_until(lambda: '"good"' in net.get(plain, "/strict-tls.json").text,
                       "the repaired chain")
    seen = subprocess.run([f"{BUILD}/bin/strict-tls", "file", file, "--key", key, "--name", name],
                          env=environment, capture_output=True, text=True, timeout=60)
    assert seen.returncode == 0, seen.stdout


# ---- what cannot be judged -----------------------------------------------------------------


@pytest.mark.parametrize("word, wanted", [("warn", 0), ("fail", 1), ("off", 0)])
def test_variables(word, wanted, lab, nginx):
    """Not checkable is not passed."""
    file, key = issue(lab, "own_good", "leaf issuing intermediate", {})
    file = f"{file.parent}/$ssl_server_name.pem"
    status, output, lines = nginx(
        f"strict_tls_self_check {word};\n" + trust(lab)
        + server(net.free_port(), [(file, key)])
        + f"server {{ listen {net.HOST}:{net.free_port()}; location / {{\n"
          f"proxy_pass https://{net.HOST}:1;\nproxy_ssl_certificate {file};\n"
          f"proxy_ssl_certificate_key {key};\n}} }}\n")
    assert status == wanted, output
    assert sorted((line.role, line.file, line.reason) for line in lines) == ([] if word == "off"
        else [(role, file, "chain.not_checkable") for role in ("client", "server")])


def test_key_in_an_engine(lab, nginx, tmp_path, monkeypatch):
    """A PKCS#11 token: the chain is judged, and that the key was not is said."""
    chain, key = issue(lab, "own_engine", "leaf", {})
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n"
                                            "objectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("PKCS11_MODULE_PATH", SOFTHSM)
    for words in (["--init-token", "--free", "--label", "lab", "--so-pin", "1234"],
                  ["--import", key, "--token", "lab", "--label", "key", "--id", "01"]):
        subprocess.run(["softhsm2-util", *map(str, words), "--pin", "1234"], check=True,
                       capture_output=True)
    engine = '"engine:pkcs11:pkcs11:token=lab;object=key;type=private;pin-value=1234"'
    status, output, lines = nginx(trust(lab) + server(net.free_port(), [(chain, engine)]),
                                  main="ssl_engine pkcs11;")
    stock = tmp_path / "stock.conf"
    stock.write_text("ssl_engine pkcs11;\npid stock.pid;\nevents {}\nhttp {\n"
                     + server(net.free_port(), [(chain, engine)]) + "}\n")
    without = subprocess.run([NGINX, "-t", "-p", tmp_path, "-c", stock, "-e", "stderr"],
                             capture_output=True, text=True)
    if without.returncode:  # this nginx cannot use engines at all: 1.26 with OpenSSL 3.5
        assert "ENGINE_load_private_key() failed" in without.stderr and status != 0
        return
    assert status == 0, output
    assert [line.reason for line in lines] == ["chain.incomplete", "chain.not_checkable"], output
    assert "engine" in lines[1].detail
    assert "1234" not in "".join(line.detail + line.remedy for line in lines)


# ---- upstreams -------------------------------------------------------------------------------


KINDS = {"proxy": "https://", "grpc": "grpcs://", "uwsgi": "suwsgi://"}


@pytest.mark.parametrize("kind", KINDS)
def test_upstreams(kind, lab, nginx):
    """What is presented to backends, as clientAuth; once, however many locations inherit it."""
    good = issue(lab, "own_client", "leaf issuing intermediate", {"usages": ("client",)})
    alone = issue(lab, "own_client", "leaf", {})
    server_only = issue(lab, "own_good", "leaf issuing intermediate", {})

    def location(path, chain, key):
        return (f"location {path} {{\n{kind}_pass {KINDS[kind]}{net.HOST}:1;\n"
                f"{kind}_ssl_certificate {chain};\n{kind}_ssl_certificate_key {key};\n"
                f"location {path}/below {{ {kind}_pass {KINDS[kind]}{net.HOST}:2; }}\n}}\n")

    status, output, lines = nginx(
        trust(lab) + f"server {{\nlisten {net.HOST}:{net.free_port()};\n"
        + location("/good", *good) + location("/alone", *alone)
        + location("/server", *server_only) + "}\n")
    assert status == 0, output
    assert [(line.role, line.file, line.reason) for line in lines] == [
        ("client", str(alone[0]), "chain.incomplete"),
        ("client", str(server_only[0]), "chain.purpose")]
    assert 'location "/alone' in lines[0].where
    status, output, lines = nginx(
        trust(lab) + f"server {{\nlisten {net.HOST}:{net.free_port()};\n"
        "strict_tls_self_check fail;\n" + location("/alone", *alone) + "}\n")
    assert status == 1, output
    assert [line.level for line in lines] == ["emerg"]
