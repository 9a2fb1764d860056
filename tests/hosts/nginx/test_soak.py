"""Many rejected handshakes: a worker's memory does not grow.

CI runs the short form; ./build.sh test soak the long one (STRICT_TLS_SOAK says
how many).
"""
import http.client
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import fronts, net

HANDSHAKES = int(os.environ.get("STRICT_TLS_SOAK", "5000"))
CLIENTS = 4
WARM_UP = 1000
GROWTH_KIB = 2048


def reject(port, path, number):
    """This many requests over one client connection; the statuses seen."""
    connection = http.client.HTTPConnection(net.HOST, port, timeout=30)
    statuses = set()
    for _ in range(number):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        statuses.add((answer.status, answer.getheader("X-Strict-TLS-Reason")))
    connection.close()
    return statuses


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
    front, port = stage.front([fronts.location("/", peer, strict=True, policy=policy)],
                              level="emerg", http="keepalive_requests 1000000;\n")
    share = HANDSHAKES // len(KINDS) // CLIENTS

    def round_of(number):
        with ThreadPoolExecutor(CLIENTS) as pool:
            runs = [pool.submit(reject, port, "/", number) for _ in range(CLIENTS)]
            return set().union(*(run.result() for run in runs))

    workers = front.worker_pids()
    seen = round_of(min(WARM_UP, share * CLIENTS // 2) // CLIENTS)
    before = front.rss_kib()
    seen |= round_of(share)
    growth = front.rss_kib() - before
    print(f"\n{kind}: {share * CLIENTS} rejected handshakes, "
          f"{growth} KiB more of {before} KiB")
    assert seen == {(502, reason)}
    assert front.worker_pids() == workers
    assert growth < GROWTH_KIB
