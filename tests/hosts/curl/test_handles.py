"""What the library remembers about a handle ends with the handle."""
import subprocess

import pytest

from tests.hosts.curl.conftest import policy_text
from tests.lab.nginx import BUILD, ROOT

NOT_ENABLED = -7


@pytest.mark.parametrize("how", ["free", "reset"])
def test_a_record_ends(how, peers, curls):
    """Cleaned up without stls_curl_disable(): the next handle at that address begins with nothing."""
    if how == "free":
        words = ["free", "a", "new", "b", "ask", "b"]
    else:
        words = ["reset", "a", "ask", "a"]
    told = curls.library(*curls.handle(peers.bad), "strict", "a", policy_text(), "perform", "a",
                         "ask", "a", *words)
    assert told[1]["has_report"] == 1 and told[1]["status"] == 1
    assert told[1]["address"] == told[2]["address"]  # otherwise this proves nothing
    assert (told[2]["has_report"], told[2]["status"]) == (0, NOT_ENABLED)


MANY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>
#include <curl/curl.h>
#ifdef STRICT
#include "strict_tls/curl.h"
#endif
static CURLcode own(CURL *curl, void *ctx, void *data) { (void)curl, (void)ctx, (void)data; return CURLE_OK; }
static size_t held(void) { return mallinfo2().uordblks; }
int main(int argc, char **argv) {
    int num = atoi(argv[1]);
    CURL **all = calloc(num, sizeof(*all));
    CURLM *multi = curl_multi_init();
    (void)argc;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < num; i++) {
            all[i] = curl_easy_init();
#ifdef STRICT
            if (stls_curl_enable(all[i], NULL, NULL) != STLS_CURL_OK
                || stls_curl_set_ssl_ctx_function(all[i], own, &all[i]) != STLS_CURL_OK) return 1;
#else
            curl_easy_setopt(all[i], CURLOPT_SSL_CTX_FUNCTION, own);
            curl_easy_setopt(all[i], CURLOPT_SSL_CTX_DATA, malloc(1));
#endif
            curl_multi_add_handle(multi, all[i]);
        }
        for (int i = 0; i < num; i++) {
            curl_multi_remove_handle(multi, all[i]);
#ifdef STRICT
            stls_curl_disable(all[i]);
#endif
            curl_easy_cleanup(all[i]);
        }
        malloc_trim(0);
        printf("%zu\n", held());
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    (folder / "many.c").write_text(MANY)
    subprocess.run(["cc", "-O1", "-o", folder / "preloaded", folder / "many.c", "-lcurl"],
                   check=True)
    subprocess.run(["cc", "-O1", "-DSTRICT", "-o", folder / "library", folder / "many.c",
                    f"-I{ROOT}/common/include", f"-I{ROOT}/curl_plugin/include", f"-L{BUILD}/lib",
                    "-lstrict_tls_curl", "-lcurl", f"-Wl,-rpath,{BUILD}/lib"], check=True)
    return folder


def instructions(curls, program, num, **env):
    """By valgrind: what a loaded machine measures just the same."""
    out = curls.folder / "callgrind.out"
    done = curls.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, num],
                     env={"PATH": "/usr/bin:/bin", "HOME": str(curls.folder), **env}, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(out.read_text().rsplit("summary:", 1)[1].split()[0])


@pytest.mark.parametrize("how", ["preloaded", "library"])
def test_handles_with_data_of_their_own(how, many, curls):
    """Constant work per handle, however many there are."""
    env = {"LD_PRELOAD": str(BUILD / "lib/libstrict_tls_preload.so")} if how == "preloaded" else {}
    counts = {num: instructions(curls, many / how, num, **env) for num in (10, 200, 2000)}
    few, more = (counts[200] - counts[10]) / 190, (counts[2000] - counts[200]) / 1800
    assert more < 1.5 * few, counts


def test_memory_of_handles_comes_back(many, curls):
    """Under the preloaded library, which hears of every handle's end."""
    done = curls.run([many / "preloaded", 5000],
                     env={"PATH": "/usr/bin:/bin", "HOME": str(curls.folder),
                          "LD_PRELOAD": str(BUILD / "lib/libstrict_tls_preload.so")})
    first, second, third = map(int, done.stdout.split())
    # The program itself leaves 32 bytes per handle.
    assert third - second < 5000 * 64, done.stdout
