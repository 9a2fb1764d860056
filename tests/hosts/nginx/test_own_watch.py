"""Own chains while nginx runs: one worker asks about their revocation and tells of news."""
import json
import os
import signal
from datetime import datetime

import pytest

from tests.lab import crl, net
from tests.lab.nginx import parse_fields

NAME = "own.lab.test"
POLICY = "strict_tls_fetch_deny none;\nstrict_tls_negative_ttl_s 1;\n"


def own_server(stage, label, serve="leaf issuing intermediate", issuer="issuing", **fields):
    """(server{} with a chain of its own, its file) before stage.open()."""
    entity = stage.lab.issue(label, issuer, **{"ocsp": "good", "sans": (NAME,), **fields})
    chain = stage.lab.bundle("own", [label if word == "leaf" else word for word in serve.split()])
    return (f"server {{\nlisten {net.HOST}:{net.free_port()} ssl;\nserver_name {NAME};\n"
            f"ssl_certificate {chain};\nssl_certificate_key {entity.key_path};\n}}\n", chain)


def start(stage, *servers, workers=1, policy=POLICY):
    root = stage.lab.pki["root"].cert_path
    return stage.front(["location /status { strict_tls_status; }\n"],
                       http=f"strict_tls_trusted_certificate {root};\n{policy}"
                       + "".join(servers), workers=workers)


def lines(front):
    """(level, reason or what is said instead) of the self-check so far."""
    found = []
    for line in front.errors().splitlines():
        if "strict-tls: self_check" in line:
            level = line.partition("[")[2].partition("]")[0]
            found.append((level, parse_fields(line).get("reason", line.rpartition('": ')[2])))
    return found


def owns(port):
    return json.loads(net.get(port, "/status.json").text)["own"]


def wait_for(front, wanted, what):
    net.wait_until(lambda: wanted in lines(front), f"{what}\n{front.errors()}")


@pytest.mark.parametrize("ocsp, reason", [
    ("revoked", "ocsp.revoked"), ("refused", "fetch.network"), ("http_500", "fetch.http"),
    ("none", "revocation.no_source"),
])
def test_told(ocsp, reason, stage):
    """nginx -t cannot know; the worker does, and everybody sees it on the page."""
    server, chain = own_server(stage, "told", ocsp=ocsp)
    stage.open()
    front, port = start(stage, server)
    wait_for(front, ("error", reason), reason)
    own, = owns(port)
    assert (own["file"], own["state"], own["reason"]) == (str(chain), "bad", reason)
    # News is told once, however often it is asked about.
    net.wait_until(lambda: owns(port)[0]["checked_at_s"] > own["checked_at_s"], "the next check")
    assert lines(front) == [("error", reason)]


def test_good_and_asked_once(stage):
    """One of the workers asks, all of them show it, and there is nothing to tell."""
    server, chain = own_server(stage, "quiet")
    stage.open()
    front, port = start(stage, server, workers=4)
    net.wait_until(lambda: owns(port)[0]["state"] == "good"
                   and stage.responder.count("quiet") == 1, "the check")
    for _ in range(20):  # whichever worker answers
        own, = owns(port)
        assert (own["file"], own["state"]) == (str(chain), "good")
        assert [cert["revocation"]["status"] for cert in own["report"]["certs"]] == ["good"] * 3
    assert stage.responder.count("quiet") == 1
    assert lines(front) == []


def test_a_whole_chain_is_asked_about(stage):
    """The intermediate's revocation is ours to know as well."""
    server, _ = own_server(stage, "below", issuer="revoked_issuing",
                           serve="leaf revoked_issuing intermediate")
    stage.open()
    front, port = start(stage, server)
    wait_for(front, ("error", "ocsp.revoked"), "the intermediate's revocation")


def test_crl_file(stage, tmp_path):
    """The administrator's CRLs count for own chains as they do for peers."""
    revoked, chain = own_server(stage, "listed", ocsp="none")
    good, _ = own_server(stage, "unlisted", ocsp="none")
    stage.open()
    file = crl.CrlFile(stage.lab, tmp_path / "crls.pem")
    file.write(stage.lab.pki["listed"])
    front, port = start(stage, revoked, good,
                        policy=POLICY + f"strict_tls_crl_file {file.path};\n")
    wait_for(front, ("error", "crl.revoked"), "the revocation")
    net.wait_until(lambda: sorted(own["state"] for own in owns(port)) == ["bad", "good"]
                   and all(own["report"]["certs"][0]["revocation"] for own in owns(port)),
                   "both answers")
    assert [own["file"] for own in owns(port) if own["state"] == "bad"] == [str(chain)]
    assert lines(front) == [("error", "crl.revoked")]


def test_client_certificate(stage):
    """What is presented to backends is looked after just the same."""
    stage.lab.issue("own_client", "issuing", usages=("client",), ocsp="revoked")
    pki = stage.lab.pki
    chain = stage.lab.bundle("own", ["own_client", "issuing", "intermediate"])
    stage.open()
    front, port = start(stage, f"server {{ listen {net.HOST}:{net.free_port()}; location / {{\n"
                        f"proxy_pass https://{net.HOST}:1;\nproxy_ssl_certificate {chain};\n"
                        f"proxy_ssl_certificate_key {pki['own_client'].key_path};\n}} }}\n")
    wait_for(front, ("error", "ocsp.revoked"), "its revocation")
    own, = owns(port)
    assert (own["role"], own["reason"]) == ("client", "ocsp.revoked")


def test_news_in_both_directions(stage):
    server, _ = own_server(stage, "turning", ocsp="http_500")
    stage.open()
    front, port = start(stage, server)
    wait_for(front, ("error", "fetch.http"), "the failure")
    stage.responder.place("turning", "good")
    net.wait_until(lambda: owns(port)[0]["state"] == "good", "the good answer")
    assert [level for level, _ in lines(front)] == ["error", "notice"]
    front.reload()  # the new worker has nothing to add
    net.wait_until(lambda: owns(port)[0]["state"] == "good", "the page after a reload")
    assert len(lines(front)) == 2


@pytest.mark.parametrize("max_age_s", [1, 86400])
def test_threshold(max_age_s, stage):
    """An expiry threshold that is reached while nginx runs is told by the worker, once.

    However long a verdict lives: the chain is looked at again when there is something to tell.
    """
    server, _ = own_server(stage, "ageing", starts=-80.0, days=90.0)
    stage.open()
    cert = stage.lab.pki["ageing"].cert
    left_s = int((cert.not_valid_after - datetime.utcnow()).total_seconds())
    # A threshold applies if it is at most a third of the certificate's life.
    front, port = start(stage, server.replace("server {", "server { strict_tls_expiry_warn_s "
                                              f"{left_s - 15};"),
                        policy=POLICY + f"strict_tls_verdict_max_age_s {max_age_s};\n")
    wait_for(front, ("warn", "chain.expiring"), "the warning")
    line, = (line for line in front.errors().splitlines() if "chain.expiring" in line)
    assert f" {front.worker_pids()[0]}#" in line
    if max_age_s == 1:
        checked_at_s = owns(port)[0]["checked_at_s"]
        net.wait_until(lambda: owns(port)[0]["checked_at_s"] > checked_at_s + 2, "more checks")
    assert lines(front) == [("warn", "chain.expiring")]
    assert owns(port)[0]["state"] == "warning"


def test_failed_reload(stage):
    """With fail a broken chain does not get into service: the old configuration stays."""
    server, chain = own_server(stage, "renewed")
    stage.open()
    front, port = start(stage, server, policy=POLICY + "strict_tls_self_check fail;\n")
    worker, = front.worker_pids()
    chain.write_bytes(stage.lab.pki["renewed"].pem)
    os.kill(front.pid, signal.SIGHUP)
    wait_for(front, ("emerg", "chain.incomplete"), "the refusal")
    assert front.worker_pids() == [worker]
    net.wait_until(lambda: owns(port)[0]["state"] == "good", "the chain's revocation")


def test_off(stage):
    """Nothing is asked, nothing is shown."""
    quiet, _ = own_server(stage, "unwatched", ocsp="revoked")
    seen, _ = own_server(stage, "watched", ocsp="revoked")
    stage.open()
    front, port = start(stage, quiet.replace("server {", "server { strict_tls_self_check off;"),
                        seen)
    wait_for(front, ("error", "ocsp.revoked"), "the other one")
    assert len(owns(port)) == 1
    assert stage.responder.count("unwatched") == 0


def test_restart_and_end_while_asking(stage):
    """A responder that never answers holds up neither a reload nor the end."""
    server, _ = own_server(stage, "silent", ocsp="silent")
    stage.open()
    front, port = start(stage, server, policy=POLICY + "strict_tls_fetch_timeout_ms 60000;\n"
                        "strict_tls_fetch_total_ms 60000;\n")
    net.wait_until(lambda: stage.responder.count("silent"), "the question")
    front.reload()
    net.wait_until(lambda: len(front.worker_pids()) == 1, "the old worker's end")
    assert front.stop() == 0
