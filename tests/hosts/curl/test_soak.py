"""A shell loop of many calls asks a responder once.

CI runs the short form; ./build.sh test soak the thousand of the long one.
"""
import os
import subprocess

import pytest

from tests.hosts.curl.conftest import STRICT_CURL, VERSIONS, environment, policy_text
from tests.hosts.curl.test_cache import cache_of, entries

CALLS = 1000 if "STRICT_TLS_SOAK" in os.environ else 100


@pytest.mark.parametrize("version", VERSIONS)
def test_a_loop_asks_once(version, peers, curls):
    peers.responder.forget()
    words = curls.curl_words(peers.good, "backend.lab.test", *VERSIONS[version])
    done = subprocess.run(
        ["bash", "-c", f'for ((i = 0; i < {CALLS}; i++)); do "$@" || exit; echo; done', "loop",
         *map(str, [STRICT_CURL, *words])],
        env=environment(curls.folder, STRICT_TLS_POLICY=policy_text(),
                        STRICT_TLS_REPORT=str(curls.reports)),
        capture_output=True, text=True, timeout=3600)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "200\n" * CALLS
    reasons = [report["reason"] for report in curls.read_reports()]
    assert reasons == ["none"] * CALLS
    assert peers.responder.count(peers.good.place) == 1
    assert len(entries(curls)) == 3
    assert cache_of(curls).stat().st_mode & 0o777 == 0o700
