"""The CRL rung: certificates that name no responder, as large CAs issue them now."""
from contextlib import ExitStack

import pytest

from tests.hosts.curl.conftest import VERSIONS, policy_text
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
    "large": ({"entries": 300000, "serials": True}, {}, "crl.revoked"),
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
    for name in ("good", "revoked"):
        before = server.counts.get(f"{name}.crl", 0)
        for _ in range(3):
            curls.strict_curl(*curls.curl_words(peers[name]), policy=policy_text(LEAF))
        assert server.counts[f"{name}.crl"] == before + 1
