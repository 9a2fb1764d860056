"""nginx -t: wrong values name file, line and the alternatives; documented examples are valid."""
import re

import pytest

from tests.lab import fronts, inbound_fronts, net
from tests.lab.nginx import MODULE, ROOT, STREAM_HOST, STREAM_MODULE, Nginx
from tests.lab.tls_client import Client

KEYS = re.findall(r'^    X\(\w+, "(\w+)", (\w+), "([^"]*)", "([^"]*)"',
                  (ROOT / "common/include/strict_tls/policy_keys.h").read_text(), re.M)
# mode is strict_tls itself; what crl_file takes is test_crl_file.py's matter.
DIRECTIVE_KEYS = [key for key in KEYS if key[0] not in ("mode", "crl_file")]


@pytest.fixture
def try_conf(tmp_path):
    """(status, output, path of the file) of nginx -t with these lines in http or in a location."""

    def run(lines="", *, http="", trust=None, module=MODULE):
        nginx = Nginx(tmp_path / "t", module=module)
        trust = "" if trust == "" else f"strict_tls_trusted_certificate {trust};" if trust else ""
        nginx.configure(f"{http}\nserver {{\nlisten {net.HOST}:{net.free_port()};\n"
                        f"location / {{\nproxy_pass https://{net.HOST}:1;\n{trust}\n{lines}\n"
                        "}\n}\n")
        status, output = nginx.test()
        return status, output, nginx.conf

    return run


def line_of(conf, text):
    return conf.read_text().splitlines().index(text) + 1


def assert_refused(result, line, *words):
    status, output, conf = result
    assert status != 0, output
    assert f"{conf}:{line_of(conf, line)}" in output
    for word in words:
        assert word in output


@pytest.mark.parametrize("value", ["on", "off", "report"])
def test_modes(value, try_conf):
    status, output, _ = try_conf(f"strict_tls {value};")
    assert status == 0, output


@pytest.mark.parametrize("value", ["maybe", "On", "enforce", '""'])
def test_wrong_mode(value, try_conf):
    line = f"strict_tls {value};"
    assert_refused(try_conf(line), line, "strict_tls", "on", "off", "report")


def good_value(type, default, values):
    if default:
        return default
    return {"OID,...": "2.5.29.32.0"}.get(values, "http://127.0.0.1:1/x")


def bad_values(type, values):
    if type == "INT":
        low, high = values.split("..")
        return [str(int(high) + 1), "many", "1x", '""', str(int(low) - 1)]
    if type == "STR":
        return ["a b"] if values == "OID,..." else ["ftp://x/", "responder"]
    return ["nonsense", '""', values.split(",")[0] + ",nonsense"]


@pytest.mark.parametrize("key, type, default, values", DIRECTIVE_KEYS,
                         ids=[key[0] for key in DIRECTIVE_KEYS])
def test_key(key, type, default, values, try_conf, tmp_path):
    """Each key is a directive; a wrong value is refused where it was written."""
    status, output, _ = try_conf(f"strict_tls on;\nstrict_tls_{key} "
                                 f"{good_value(type, default, values)};")
    assert status == 0, output
    for value in bad_values(type, values):
        value = f'"{value}"' if " " in value else value
        line = f"strict_tls_{key} {value};"
        alternatives = values.split(",") if type in ("ENUM", "LIST") else []
        assert_refused(try_conf(f"strict_tls on;\n{line}"), line, f"strict_tls_{key}",
                       *alternatives)


@pytest.mark.parametrize("lines, words", [
    ("strict_tls on;\nstrict_tls on; # twice", ["duplicate"]),
    ("strict_tls_chain_root allow;\nstrict_tls_chain_root require; # twice", ["duplicate"]),
    ("strict_tls_chain_roots allow;", ["unknown directive"]),
    ("strict_tls_mode off;", ["unknown directive"]),
    ("strict_tls;", ["invalid number of arguments"]),
    ("strict_tls_chain_root;", ["invalid number of arguments"]),
    ("strict_tls_http_proxy nowhere;", ["strict_tls_http_proxy", "HOST:PORT"]),
    ("strict_tls_http_proxy off;\nstrict_tls_http_proxy off; # twice", ["duplicate"]),
    ("strict_tls_cache_zone z 1m;", ["not allowed here"]),
])
def test_wrong_lines(lines, words, try_conf):
    assert_refused(try_conf(lines), lines.splitlines()[-1], *words)


@pytest.mark.parametrize("lines, words", [
    ("strict_tls_cache_zone z;", ["invalid number of arguments"]),
    ("strict_tls_cache_zone z tiny;", ["invalid zone size"]),
    ("strict_tls_cache_zone z 1k;", ["too small"]),
    ("strict_tls_cache_zone z 1m;\nstrict_tls_cache_zone y 1m;", ["duplicate"]),
    ("strict_tls_max_verdicts none;", ["strict_tls_max_verdicts"]),
    ("strict_tls_max_sessions none;", ["strict_tls_max_sessions"]),
])
def test_wrong_http_lines(lines, words, try_conf):
    assert_refused(try_conf(http=lines), lines.splitlines()[-1], *words)


@pytest.mark.parametrize("http", [
    "strict_tls on;\nstrict_tls_preset private;",
    "strict_tls_cache_zone answers 1m;\nstrict_tls_max_verdicts 10;\nstrict_tls_max_sessions 10;",
    "strict_tls_http_proxy 127.0.0.1:3128;",
])
def test_good_http_lines(http, try_conf):
    status, output, _ = try_conf("strict_tls on;", http=http)
    assert status == 0, output


@pytest.mark.parametrize("content, words", [
    (None, ["trust.pem"]),
    ("", ["trust.pem"]),
    ("no certificate\n", ["trust.pem"]),
    ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ["trust.pem"]),
    ("intermediate", ["trust.pem"]),
])
def test_wrong_trust(content, words, try_conf, tmp_path, lab):
    """A missing file, an empty one, garbage, and one that holds no anchor."""
    trust = tmp_path / "trust.pem"
    if content == "intermediate":
        content = lab.pki["intermediate"].pem.decode()
    if content is not None:
        trust.write_text(content)
    status, output, _ = try_conf("strict_tls on;", trust=trust)
    assert status != 0
    for word in words:
        assert word in output


def test_without_trust_the_system_is_trusted(try_conf):
    status, output, _ = try_conf("strict_tls on;")
    assert status == 0, output


def test_off_needs_nothing(try_conf, tmp_path):
    """Where nothing is judged, nothing is loaded."""
    status, output, _ = try_conf("strict_tls off;")
    assert status == 0, output


def documented_blocks():
    """(file:line, text) of every nginx block in the documentation."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if not path.exists():
            continue
        text = path.read_text()
        for found in re.finditer(r"^```nginx\n(.*?)^```$", text, re.M | re.S):
            yield f"{path.name}:{text.count(chr(10), 0, found.start()) + 1}", found[1]


def as_whole(block):
    """A complete configuration out of a fragment."""
    block = re.sub(r"load_module [^;]*;", "", block)
    if re.search(r"^\s*(http|stream)\s*{", block, re.M):
        return block if "events {" in block else f"events {{}}\n{block}"
    if not re.search(r"^\s*server\s*{", block, re.M):
        block = f"server {{\n{block}\n}}"
    return f"events {{}}\nhttp {{\n{block}\n}}"


@pytest.mark.parametrize("where, block", list(documented_blocks()),
                         ids=[where for where, _ in documented_blocks()])
def test_documented_example(where, block, lab, tmp_path):
    text = as_whole(block)
    # No name of an example resolves, and its paths are another machine's.
    text = re.sub(r"https://[\w.-]+\.example(\.\w+)?", "https://127.0.0.1:1", text)
    text = re.sub(r"https://api\.example\.com", "https://127.0.0.1:1", text)
    text = re.sub(r"listen \d+", lambda _: f"listen {net.HOST}:{net.free_port()}", text)
    # What the examples present here is judged by tests of its own.
    text = text.replace("strict_tls_self_check fail;", "strict_tls_self_check warn;")
    text = re.sub(r"(proxy_pass|server) [\w.-]+\.example(\.\w+)?:\d+", r"\1 127.0.0.1:1", text)
    text = text.replace("/var/log/nginx/", f"{tmp_path}/")
    # Each file of the example holds the lab's certificate or its key.
    entity = lab.pki["client"]
    for file in re.findall(r"/etc/nginx/tls/[^;]+[.](?:pem|key)", text):
        path = entity.key_path if file.endswith(".key") else entity.cert_path
        path = lab.pki["root"].cert_path if "root" in file else path
        if "$" not in file:
            text = text.replace(file, str(path))
    nginx = Nginx(tmp_path / "t")
    load = "".join(f"load_module {path};\n" for path in (*STREAM_HOST, STREAM_MODULE, MODULE))
    nginx.conf.write_text(f"{load}pid {tmp_path}/pid;\n{text}")
    status, output = nginx.test()
    assert status == 0, output


def test_readme_has_an_example():
    assert any(where.startswith("README.md") for where, _ in documented_blocks())


# ---- remedies ------------------------------------------------------------------------------------


def test_remedies_name_directives_of_nginx(stage):
    """What the administrator is told to set is what nginx takes, about upstreams and about clients."""
    peer = stage.peer("sourceless", ocsp="none")
    scene = stage.lab.visitor("sourceless", ocsp="none")
    denied = stage.peer("denied")
    stage.open()
    front, port = stage.front([
        fronts.location("/sourceless", peer, strict=True),
        fronts.location("/denied", denied, strict=True, policy={"fetch_deny": "loopback"})])
    for path, words in [("/sourceless", ["strict_tls_no_revocation_source allow"]),
                        ("/denied", ["strict_tls_fetch_deny", "loopback"])]:
        front.mark()
        assert net.get(port, path).status == 502
        line, = front.verdicts()
        for word in words:
            assert word in line.line, line.line
    front, port = stage.inbound(lambda port: [inbound_fronts.server(
        stage.lab, port, "a.inbound.lab.test", stage.lab.pki["root"].cert_path, strict=True)])
    assert Client(scene.chain, scene.key).get(port, "a.inbound.lab.test").status == 400
    line, = front.verdicts()
    assert "strict_tls_client_no_revocation_source allow" in line.line, line.line
