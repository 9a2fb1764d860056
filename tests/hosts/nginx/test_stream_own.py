"""Chains that stream servers present: judged by nginx -t, and watched while nginx runs."""
import re

import pytest

from tests.lab import net
from tests.lab.nginx import STREAM_HOST, STREAM_MODULE, Nginx, parse_fields
from tests.lab.scenarios import BY_ID

LINE = re.compile(r"nginx: \[(\w+)\] strict-tls: self_check (.*)")

# Rows of the table whose fault is in the chain itself, with the reason for their owner.
CHAINS = {"good": [], "leaf_only": ["chain.incomplete"], "gap": ["chain.incomplete"],
          "misordered": ["chain.misordered"], "expired": ["chain.expired"],
          "untrusted_root": ["chain.untrusted"]}


def listening(scene):
    return (f"listen {net.HOST}:{net.free_port()} ssl;\nssl_certificate {scene.backend.chain};\n"
            f"ssl_certificate_key {scene.backend.key};\nproxy_pass {net.HOST}:1;\n")


def proxying(chain, key):
    return (f"listen {net.HOST}:{net.free_port()};\nproxy_pass {net.HOST}:1;\nproxy_ssl on;\n"
            f"proxy_ssl_certificate {chain};\nproxy_ssl_certificate_key {key};\n")


@pytest.fixture
def check(lab, tmp_path):
    """nginx -t with this stream server: (exit status, output, [(level, role, reason)])."""

    def run(server, extra=""):
        nginx = Nginx(tmp_path / "t", module=[*STREAM_HOST, STREAM_MODULE])
        nginx.configure("", main="stream {\nssl_ciphers DEFAULT:@SECLEVEL=0;\n"
                        f"strict_tls_trusted_certificate {lab.pki['root'].cert_path};\n"
                        f"server {{\n{server}{extra}}}\n}}\n")
        status, output = nginx.test()
        return status, output, [
            (level, parse_fields(text)["role"], parse_fields(text)["reason"])
            for level, text in LINE.findall(output)]

    return run


@pytest.mark.parametrize("id", CHAINS)
def test_of_a_server(id, lab, check):
    scene = lab.scenes[id]
    status, output, told = check(listening(scene))
    assert status == 0, output
    assert told == [("warn", "server", reason) for reason in CHAINS[id]]
    assert all(f'file="{scene.backend.chain}"' in line for line in output.splitlines()
               if "self_check" in line)
    assert not told or "stream server in " in output


@pytest.mark.parametrize("serve, reasons", [
    ("client issuing intermediate", []), ("client", ["chain.incomplete"]),
    ("leaf_good issuing intermediate", ["chain.purpose"])])
def test_of_proxy_ssl_certificate(serve, reasons, lab, check):
    assert BY_ID["good"].strict == 200
    labels = serve.split()
    status, output, told = check(proxying(lab.bundle("own", labels),
                                          lab.pki[labels[0]].key_path))
    assert status == 0, output
    assert told == [("warn", "client", reason) for reason in reasons]


@pytest.mark.parametrize("make", [
    lambda lab: listening(lab.scenes["leaf_only"]),
    lambda lab: proxying(lab.bundle("own", ["client"]), lab.pki["client"].key_path)],
    ids=["server", "client"])
def test_fail_and_off(make, lab, check):
    status, output, told = check(make(lab), "strict_tls_self_check fail;\n")
    assert status != 0
    assert [(level, reason) for level, _, reason in told] == [("emerg", "chain.incomplete")]
    status, output, told = check(make(lab), "strict_tls_self_check off;\n")
    assert (status, told) == (0, []), output


def test_variables_are_not_checkable(lab, check):
    """Said so, and not passed."""
    scene = lab.scenes["good"]
    server = listening(scene).replace(f"ssl_certificate {scene.backend.chain}",
                                      "ssl_certificate $protocol.pem")
    status, output, told = check(server)
    assert status == 0, output
    assert len(LINE.findall(output)) == 1
    assert "variables" in output


def test_a_revoked_one_is_told(stage, lab):
    """nginx -t cannot know; a worker asks, and the log tells."""
    peer = stage.peer("own_revoked", ocsp="revoked")
    stage.open()
    front = stage.stream({"tcp": f"proxy_pass {net.HOST}:1;\n"}, extra=(
        f"strict_tls_fetch_deny none;\nstrict_tls_trusted_certificate {peer.trust};\n"
        f"server {{\n{listening(peer)}}}\n"))
    net.wait_until(lambda: "reason=ocsp.revoked" in front.errors(), "the news")
    line, = [line for line in front.errors().splitlines() if "self_check" in line]
    assert "[error]" in line and f'file="{peer.backend.chain}"' in line
