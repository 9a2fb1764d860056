"""The CRL rung: certificates that name no responder, as large CAs issue them now."""
import os
import subprocess
from contextlib import ExitStack

import pytest

from tests.hosts.curl.conftest import VERSIONS, environment, policy_text
from tests.lab import crl
from tests.lab.lab import Lab

# The intermediates have a responder; what is looked at here is the leaf.
LEAF = {"revocation_scope": "leaf", "short_lived_s": "0"}

# name: how the CRL differs, policy, reason; None: accepted
ROWS = {
    "good": ({}, {}, None),
    "revoked": ({"serials": True}, {}, "crl.revoked"),
    "stale": ({"next_update_s": -1800}, {}, "crl.stale"),
    "bad_signature": ({"damage": "signature"}, {}, "crl.bad_signature"),
    "truncated": ({"damage": "truncate"}, {}, "fetch.http"),
    "wrong_scope": ({"only_ca": True}, {}, "crl.wrong_scope"),
    "too_large": ({"entries": 100}, {"max_crl_bytes": "1024"}, "fetch.too_large"),
    "large": ({"entries": 400000, "serials": True}, {}, "crl.revoked"),
    "not_asked": ({}, {"revocation_sources": "staple,ocsp"}, "revocation.inconclusive"),
    "soft": ({"next_update_s": -1800}, {"revocation": "soft"}, None),
    "missing": (None, {}, "fetch.http"),
}


@pytest.fixture(scope="module")
def published():
    """(CRL server, peers by row)."""
    with ExitStack() as stack:
        server = stack.enter_context(crl.CrlServer())
        lab = Lab(scenarios=())
        stack.callback(lab.close)
        peers = {}
        for name, (changes, _, _) in ROWS.items():
            peers[name] = lab.peer(name, ocsp="none", extra=[crl.point(server.url(f"{name}.crl"))])
            if changes is not None:
                fields = dict(changes)
                fields["serials"] = [peers[name].leaf.serial] if "serials" in fields else []
                fields["entries"] = crl.many(fields.get("entries", 0))
                server.files[f"{name}.crl"] = crl.build(lab.pki["issuing"], **fields)
        stack.enter_context(lab)
        yield server, peers


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ROWS)
def test_crl(name, version, published, curls):
    server, peers = published
    _, policy, reason = ROWS[name]
    for _ in range(2):
        done, reports = curls.strict_curl(*curls.curl_words(peers[name]), *VERSIONS[version],
                                          policy=policy_text({**LEAF, **policy}))
        assert [report["reason"] for report in reports] == [reason or "none"], reports
        assert done.returncode == (60 if reason else 0)


def test_downloaded_once(published, curls):
    server, peers = published
    for name in ("good", "revoked", "large"):
        before = server.counts.get(f"{name}.crl", 0)
        for _ in range(3):
            curls.strict_curl(*curls.curl_words(peers[name]), policy=policy_text(LEAF))
        assert server.counts[f"{name}.crl"] == before + 1


# ---- crl_file -------------------------------------------------------------------

@pytest.fixture
def crl_file(peers, tmp_path):
    return crl.CrlFile(peers.lab, tmp_path / "crls.pem")


def with_file(crl_file, **policy):
    return policy_text({"short_lived_s": "0", "crl_file": str(crl_file.path), **policy})


@pytest.mark.parametrize("version", VERSIONS)
def test_crl_file(version, peers, curls, crl_file):
    """The first source of all by default, or the only one."""
    for revoked, reason in ((), None), ((peers.good.leaf,), "crl.revoked"):
        crl_file.write(*revoked)
        for policy in {}, {"revocation_sources": "file"}:
            done, reports = curls.strict_curl(*curls.curl_words(peers.good), *VERSIONS[version],
                                              policy=with_file(crl_file, **policy))
            assert [report["reason"] for report in reports] == [reason or "none"], reports
            assert done.returncode == (60 if reason else 0)
            assert reports[0]["certs"][0]["revocation"]["source"] == "file"


def test_crl_file_unusable(peers, curls, tmp_path):
    """Nothing is transferred: the policy cannot be kept."""
    (tmp_path / "text").write_text("no CRL\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("absent", "text", "folder", "fifo"):
        policy = policy_text({"crl_file": str(tmp_path / name)})
        done, reports = curls.strict_curl(*curls.curl_words(peers.good), policy=policy)
        assert done.returncode not in (0, 60) and reports == [], name
        assert "crl_file" in done.stderr and name in done.stderr, done.stderr
        told = curls.library(*curls.handle(peers.good), "strict", "a", policy)
        assert f"crl_file '{tmp_path / name}': " in told[0]["failed"], told  # which, and why


def test_crl_file_changes(peers, curls, crl_file):
    """The next transfer knows, over the connection that is kept, too."""
    same, revoked = crl_file.stage(next_update_s=7200), crl_file.stage(peers.good.leaf)
    handle = [*curls.handle(peers.good), "strict", "a", with_file(crl_file)]
    told = curls.library(*handle, "perform", "a", "perform", "a", "replace", crl_file.path, same,
                         "perform", "a", "replace", crl_file.path, revoked, "perform", "a",
                         "perform", "a")
    assert [line["report"]["reason"] for line in told] == ["none"] * 3 + ["crl.revoked"] * 2
    assert [line["code"] for line in told[:3]] == [0, 0, 0]
    assert [line["new_connections"] for line in told[:4]] == [1, 0, 0, 0]
    assert all(line["code"] != 0 and line["status"] == 0 for line in told[3:]), told


def test_crl_file_becomes_unusable(peers, curls, crl_file, tmp_path):
    """What was read before stays."""
    (tmp_path / "spoiled").write_text("-----BEGIN X509 CRL-----\n")
    crl_file.write(peers.good.leaf)
    handle = [*curls.handle(peers.good), "strict", "a", with_file(crl_file)]
    told = curls.library(*handle, "perform", "a", "replace", crl_file.path, tmp_path / "spoiled",
                         "perform", "a")
    assert [line["report"]["reason"] for line in told] == ["crl.revoked"] * 2


# read(2) and malloc(3) of a process that fail for large pieces while this file is there.
FAILING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(size_t len) { return len >= 1000000 && access(getenv("FAIL_WHILE"), F_OK) == 0; }
#ifdef READ
ssize_t read(int fd, void *to, size_t len) {
    ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    if (fails(len)) { errno = EIO; return -1; }
    return real(fd, to, len);
}
#else
extern void *__libc_malloc(size_t);
void *malloc(size_t len) { return len >= 1000000 && fails(len) ? NULL : __libc_malloc(len); }
#endif
"""


@pytest.mark.parametrize("what", ["READ", "MALLOC"])
def test_a_changed_file_that_could_not_be_read_is_tried_again(what, crl_file, peers, curls,
                                                              tmp_path):
    """Though it does not change any more."""
    (tmp_path / "failing.c").write_text(FAILING)
    subprocess.run(["cc", "-shared", "-fPIC", f"-D{what}", "-o", tmp_path / "failing.so",
                    tmp_path / "failing.c", "-ldl"], check=True)
    large = crl_file.stage(peers.good.leaf, entries=crl.many(40000))
    flag, other = tmp_path / "flag", tmp_path / "other"
    other.touch()
    told = curls.library(
        *curls.handle(peers.good), "strict", "a", with_file(crl_file), "perform", "a",
        "replace", flag, other, "replace", crl_file.path, large, "perform", "a",
        "replace", other, flag, "perform", "a",
        env=environment(curls.folder, LD_PRELOAD=str(tmp_path / "failing.so"),
                        FAIL_WHILE=str(flag)))
    assert [line["report"]["reason"] for line in told] == ["none", "none", "crl.revoked"]
