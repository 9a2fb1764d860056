"""Options that a program sets once its handle is in a multi handle count, as with stock libcurl."""
import pytest

from tests.hosts.curl.conftest import PLAIN_CLIENT, PRELOAD, environment, policy_text

REFUSED, ABORTED = 60, 42


def run(curls, how, *words):
    env = environment(curls.folder)
    if how == "preloaded":
        env = environment(curls.folder, LD_PRELOAD=str(PRELOAD), STRICT_TLS_POLICY=policy_text(),
                          STRICT_TLS_REPORT=str(curls.reports))
    (line,) = curls.library(*words, "run", client=PLAIN_CLIENT, env=env)
    return line


HOSTS = pytest.mark.parametrize("how", ["stock", "preloaded"])


@HOSTS
@pytest.mark.parametrize("late", [
    ["limit", "a", "instead", 0], ["limit", "a", "callback", 0], ["limit", "a", "depth", 1],
    ["pinfn", "a"], ["set", "a", "CAINFO", "{stranger}"], ["set", "a", "CRLFILE", "/nowhere"],
], ids=lambda words: "-".join(map(str, words[::2])).replace("{stranger}", ""))
def test_what_refuses(late, how, peers, curls):
    stranger = peers.lab.pki["stranger"].cert_path
    words = [str(word).format(stranger=stranger) for word in late]
    line = run(curls, how, *curls.handle(peers.good), "add", "a", *words)
    assert line["code"] == (82 if "CRLFILE" in words else REFUSED), line


@HOSTS
def test_callbacks_are_called(how, peers, curls):
    line = run(curls, how, *curls.handle(peers.good), "add", "a", "prereq", "a", "limit", "a",
               "depth", 5)
    assert (line["code"], line["own_prereq"], line["own_ctx"]) == (0, 1, 1)


@HOSTS
def test_the_folder_of_anchors(how, peers, curls, tmp_path):
    """--cacert FILE means that file: the folder that libcurl was built with is not looked at."""
    line = run(curls, how, "new", "a", *curls.handle(peers.good)[2:-4], "add", "a", "set", "a",
               "CAINFO", peers.lab.pki["stranger"].cert_path)
    assert line["code"] == REFUSED


def test_the_error_buffer(peers, curls):
    line = run(curls, "preloaded", *curls.handle(peers.bad), "add", "a", "buffer", "a")
    assert line["code"] == REFUSED and "reason=chain.incomplete " in line["error"]


def test_reset(peers, curls):
    """What it takes away it takes away of the program's options only."""
    again = curls.handle(peers.bad, SSL_VERIFYPEER=0, SSL_VERIFYHOST=0)[2:]
    words = [*curls.handle(peers.bad), "add", "a", "reset", "a", *again]
    assert run(curls, "stock", *words)["code"] == 0
    assert run(curls, "preloaded", *words)["code"] == REFUSED
    assert [report["reason"] for report in curls.read_reports()] == ["chain.incomplete"]
    (line,) = [*curls.library(*curls.handle(peers.good), "add", "a", "reset", "a",
                              *curls.handle(peers.good)[2:], "run", client=PLAIN_CLIENT,
                              env=environment(curls.folder, LD_PRELOAD=str(PRELOAD),
                                              STRICT_TLS_POLICY=policy_text()))]
    assert line["code"] == 0


@pytest.mark.parametrize("seconds, connections", [(1, [1, 1]), (100, [1, 0])])
def test_the_lifetime_of_connections(seconds, connections, peers, curls):
    """The program's own is kept where it is the shorter one."""
    told = curls.library(
        *curls.handle(peers.good, MAXLIFETIME_CONN=seconds), "perform", "a", "sleep", 2500,
        "perform", "a", client=PLAIN_CLIENT,
        env=environment(curls.folder, LD_PRELOAD=str(PRELOAD), STRICT_TLS_POLICY=policy_text()))
    assert [line["new_connections"] for line in told] == connections


def test_parallel(peers, curls):
    """The curl command's --parallel tells reason and remedy."""
    done, _ = curls.strict_curl(*curls.curl_words(peers.bad), "--parallel")
    assert done.returncode == REFUSED
    assert "reason=chain.incomplete " in done.stderr and "remedy=" in done.stderr
