"""Many rejected handshakes: memory does not grow.

CI runs the short form; ./build.sh test soak the long one (STRICT_TLS_SOAK says
how many).
"""
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import net

HANDSHAKES = int(os.environ.get("STRICT_TLS_SOAK", "5000"))
CLIENTS = 4
GROWTH_KIB = 2048

# What is remembered between handshakes and what is not: each takes another way through the code.
KINDS = {
    "chain": ({"serve": "leaf"}, {}, "chain.incomplete"),
    "chain_uncached": ({"serve": "leaf"}, {"negative_ttl_s": "0"}, "chain.incomplete"),
    "revoked": ({"ocsp": "revoked"}, {}, "ocsp.revoked"),
    "stapled": ({"ocsp": "good", "staple": "revoked"}, {"negative_ttl_s": "0"}, "ocsp.revoked"),
    "failing": ({"ocsp": "refused"}, {"negative_ttl_s": "0", "revocation_scope": "leaf"},
                "fetch.network"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rejections_leave_nothing_behind(kind, stage):
    fields, policy, reason = KINDS[kind]
    peer = stage.peer(kind, **fields)
    stage.open()
    front, port = stage.front([where(peer, policy=policy)], level="emerg", threads=CLIENTS,
                              env={"MALLOC_ARENA_MAX": "2"})

    def one(_):
        answer = net.get(port)
        return answer.status, answer.headers.get("x-strict-tls-reason")

    def round_of(number):
        with ThreadPoolExecutor(CLIENTS) as pool:
            return set(pool.map(one, range(number)))

    share = HANDSHAKES // len(KINDS)
    seen = round_of(share // 2)
    before = front.rss_kib()
    seen |= round_of(share)
    after = front.rss_kib()
    assert seen == {(502, reason)}
    assert front.alive()
    assert after - before < GROWTH_KIB, (before, after)
