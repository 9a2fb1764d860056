"""Both servers, nginx's stream among them, under valgrind, over the scenario table both ways.

Wrong accesses and leaks count wherever they happen: what OpenSSL allocated may
be ours to free.  STRICT_TLS_VALGRIND=short tries a few rows only.
"""
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import fronts, httpd_fronts, httpd_inbound, inbound_fronts, net, stream_fronts
from tests.lab.inbound import INBOUND_BY_ID, server_name
from tests.lab.lab import Lab
from tests.lab.scenarios import BY_ID
from tests.lab.tls_client import VERSIONS, Client

SHORT = ("good", "leaf_only", "extra_deny", "revoked", "silent", "second_url", "oversize",
         "delegated")
IS_SHORT = os.environ.get("STRICT_TLS_VALGRIND") == "short"

# Nothing here is quick.
PATIENT = {"fetch_timeout_ms": "8000", "fetch_total_ms": "30000"}

LEAKY = ("libnss_wrapper", "ngx_set_environment")  # not ours to mend
HEADS = ("Invalid ", "Conditional jump", "Use of uninitialised", "Syscall param", "Mismatched free",
         "Source and destination overlap", "Argument ", "Process terminating")


def words(folder):
    """Before the server's own; what valgrind finds goes into `folder`."""
    return ["valgrind", "--leak-check=full", "--show-leak-kinds=definite,indirect",
            "--num-callers=40", "--keep-debuginfo=yes", f"--log-file={folder}/valgrind.%p"]


def complaints(folder):
    found = []
    logs = sorted(folder.glob("valgrind.*"))
    assert len(logs) >= 2, "valgrind followed no child"
    for log in logs:
        text = re.sub(r"^==\d+== ?", "", log.read_text(errors="replace"), flags=re.M)
        for block in text.split("\n\n"):
            block = block.strip()
            if block.startswith(HEADS) or (
                    "definitely lost in loss record" in block
                    and not any(name in block for name in LEAKY)):
                found.append(f"{log.name}\n{block}")
    return found


def rows(table):
    return [row for id, row in table.items() if id in SHORT or not IS_SHORT]


@pytest.fixture(scope="module")
def both():
    """A lab with the rows that are tried."""
    with Lab(scenarios=rows(BY_ID), inbound=rows(INBOUND_BY_ID)) as lab:
        yield lab


def try_all(try_row, table):
    """Each row's failure."""
    tasks = [(row, version) for row in table for version in VERSIONS]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda task: try_row(*task), tasks))
    return [(row.id, version, said) for (row, version), said in zip(tasks, found) if said]


def end(front, folder, sig):
    assert front.alive()
    assert front.stop(sig, 120) == 0
    assert complaints(folder) == []


def test_nginx_outbound(both, tmp_path):
    versions = tuple((f"/{version}", f"TLSv1.{version[-1]}") for version in VERSIONS)
    front, port = fronts.scenario_front(both, tmp_path / "nginx", strict=True, policy=PATIENT,
                                        versions=versions, ready_s=180, wrap=words(tmp_path))

    def try_row(row, version):
        answer = net.get(port, f"/{version}/{row.id}", timeout_s=120)
        reason = answer.headers.get("x-strict-tls-reason")
        return None if (answer.status, reason) == (row.strict, row.reason or "none") else answer

    try:
        assert try_all(try_row, both.scenarios) == []
        end(front, tmp_path, signal.SIGQUIT)
    finally:
        front.stop()


def test_httpd_outbound(both, tmp_path):
    front, ports = httpd_fronts.scenario_front(
        both, tmp_path / "httpd", strict=True, policy=PATIENT, ready_s=180, wrap=words(tmp_path),
        versions=tuple(f"TLSv1.{version[-1]}" for version in VERSIONS))
    ports = dict(zip(VERSIONS, ports))

    def try_row(row, version):
        answer = net.get(ports[version], f"/{row.id}", timeout_s=120)
        reason = answer.headers.get("x-strict-tls-reason")
        return None if (answer.status, reason) == (row.strict, row.reason or "none") else answer

    try:
        assert try_all(try_row, both.scenarios) == []
        end(front, tmp_path, signal.SIGTERM)
    finally:
        front.stop()


def connect(port, scene, id, version):
    """In TLS 1.2 without tickets, which OpenSSL cannot make of the largest certificates."""
    return Client(scene.chain, scene.key, version=version, timeout_s=120,
                  tickets=id != "too_big_allowed").get(port, server_name(id))


def test_httpd_inbound(both, tmp_path):
    front, port = httpd_inbound.inbound_front(both, tmp_path / "httpd", policy=PATIENT,
                                              ready_s=180, wrap=words(tmp_path))

    def try_row(row, version):
        answer = connect(port, both.client_scenes[row.id], row.id, version)
        good = row.reason is None and row.id != "server_purpose_any"  # mod_ssl's opinion
        return None if (answer.status == 200) == good else answer

    try:
        assert try_all(try_row, both.inbound) == []
        assert {row.reason for row in both.inbound} - {None} == {
            line.reason for line in front.verdicts()}
        end(front, tmp_path, signal.SIGTERM)
    finally:
        front.stop()


def test_nginx_inbound(both, tmp_path):
    front, port = inbound_fronts.inbound_front(both, tmp_path / "nginx", policy=PATIENT,
                                               ready_s=180, wrap=words(tmp_path))

    def try_row(row, version):
        answer = connect(port, both.client_scenes[row.id], row.id, version)
        reason = answer.headers.get("x-strict-tls-reason")
        return None if reason == (row.reason or "none") else answer

    try:
        assert try_all(try_row, both.inbound) == []
        end(front, tmp_path, signal.SIGQUIT)
    finally:
        front.stop()


def test_stream_outbound(both, tmp_path):
    front = stream_fronts.scenario_front(
        both, tmp_path / "stream", policy=PATIENT, ready_s=180, wrap=words(tmp_path),
        versions=tuple((f"{version}-", f"TLSv1.{version[-1]}") for version in VERSIONS))

    def try_row(row, version):
        answer = front.get(f"{version}-{row.id}", timeout_s=120)
        return None if answer.reason == (row.reason or "none") else answer

    try:
        assert try_all(try_row, both.scenarios) == []
        end(front, tmp_path, signal.SIGQUIT)
    finally:
        front.stop()


def test_stream_inbound(both, tmp_path):
    front = stream_fronts.inbound_front(both, tmp_path / "stream", policy=PATIENT, ready_s=180,
                                        wrap=words(tmp_path))

    def try_row(row):
        scene = both.client_scenes[row.id]
        said = [front.visit(row.id, Client(scene.chain, scene.key, version=version),
                            timeout_s=120).reason for version in VERSIONS]
        return said if set(said) != {row.reason or "none"} else None

    try:
        with ThreadPoolExecutor(3) as pool:
            assert [said for said in pool.map(try_row, both.inbound) if said] == []
        end(front, tmp_path, signal.SIGQUIT)
    finally:
        front.stop()
