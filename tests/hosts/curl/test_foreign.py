"""The preloaded library in programs that know nothing of it: plugins, forks, closed descriptors."""
import subprocess

import pytest

from tests.hosts.curl.conftest import PRELOAD, environment, policy_text, url_of
from tests.hosts.curl.test_cache import cache_of
from tests.lab.nginx import ROOT


def preloaded(curls, **more):
    return environment(curls.folder, LD_PRELOAD=str(PRELOAD), STRICT_TLS_POLICY=policy_text(),
                       STRICT_TLS_REPORT=str(curls.reports), **more)


def build(folder, name, text, *flags):
    (folder / f"{name}.c").write_text(text)
    subprocess.run(["cc", "-g", "-o", folder / name, folder / f"{name}.c", *map(str, flags)],
                   check=True)
    return folder / name


# A TLS library of another making, whose objects are nothing that OpenSSL 3 could look into.
PRIVATE = """
int *SSL_private_new(void) { static int state[1]; return state; }
int SSL_connect(void *ssl) { return *(int *)ssl = 42; }
void *SSL_get_rbio(void *ssl) { (void)ssl; return 0; }
"""
PLUGIN = """
int *SSL_private_new(void);
int SSL_connect(void *ssl);
int plugin(void) { return SSL_connect(SSL_private_new()); }
"""
HOST = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <curl/curl.h>
int main(int argc, char **argv) {
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, argv[argc - 1]);
    curl_easy_perform(curl);
    void *object = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    int (*plugin)(void) = object ? (int (*)(void))dlsym(object, "plugin") : NULL;
    printf("%d", plugin ? plugin() : -1);
    curl_easy_cleanup(curl);
    return 0;
}"""


def test_a_plugin_with_a_tls_library_of_its_own(peers, curls, tmp_path):
    """Of another version, as OpenSSL 1.1 is; the loader keeps such apart."""
    (tmp_path / "map").write_text("OPENSSL_1_1_0 { global: *; };\n")
    build(tmp_path, "libprivate.so", PRIVATE, "-shared", "-fPIC",
          f"-Wl,--version-script={tmp_path / 'map'}")
    build(tmp_path, "plugin.so", PLUGIN, "-shared", "-fPIC", f"-L{tmp_path}", "-lprivate",
          f"-Wl,-rpath,{tmp_path}")
    host = build(tmp_path, "host", HOST, "-lcurl")
    argv = [host, tmp_path / "plugin.so", "http://127.0.0.1:1/"]
    assert curls.run(argv).stdout == "42"  # the control
    done = curls.run(argv, preloaded(curls))
    assert (done.returncode, done.stdout) == (0, "42"), done.stderr


# A plugin that brings libcurl-gnutls after libcurl.so.4 was used.
OTHER_LIBCURL = r"""
#include <curl/curl.h>
int plugin(const char *url) {
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    int code = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return code;
}"""
OTHER_HOST = HOST.replace("(*plugin)(void)", "(*plugin)(const char *)").replace(
    "(int (*)(void))", "(int (*)(const char *))").replace("plugin()", "plugin(argv[2])")


@pytest.mark.parametrize("library, told", [("libcurl-gnutls.so.4", "GnuTLS")])
def test_a_plugin_with_another_libcurl(library, told, peers, curls, tmp_path):
    build(tmp_path, "plugin.so", OTHER_LIBCURL, "-shared", "-fPIC",
          f"/usr/lib/x86_64-linux-gnu/{library}")
    host = build(tmp_path, "host", OTHER_HOST, "-lcurl")
    argv = [host, tmp_path / "plugin.so", url_of(peers.bad_ip, "127.0.0.1"), "http://127.0.0.1:1/"]
    assert curls.run(argv).stdout.endswith("\n0")  # the control: the page, and no error
    done = curls.run(argv, preloaded(curls))
    assert done.returncode == 0 and done.stdout not in ("", "0"), done
    assert "backend" not in done.stdout
    assert library in done.stderr and told in done.stderr


CLOSES = r"""
#define _GNU_SOURCE
#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
static int ask(const char *url, const char *trust) {
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, trust);
    int code = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return code;
}
int main(int argc, char **argv) {
    (void)argc;
    int first = ask(argv[1], argv[2]);
    close_range(3, ~0U, 0);
    for (int i = 0; i < 40; i++) open(argv[3], O_RDWR | O_CREAT, 0600);
    int folder = open(argv[4], O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 40; i++) dup(folder);
    int second = ask(argv[1], argv[2]);
    printf("\n%d %d", first, second);
    return 0;
}"""


@pytest.mark.parametrize("order", ["files", "folders"])
def test_a_program_that_closes_all_descriptors(order, peers, curls, tmp_path):
    """Nothing gets into what it opens afterwards, and both reports are there."""
    text = CLOSES
    if order == "folders":  # the descriptor of the cache's folder is one, too
        text = text.replace("for (int i = 0; i < 40; i++) open(argv[3]", "if (0) open(argv[3]")
    program = build(tmp_path, "closes", text, "-lcurl")
    (tmp_path / "folder").mkdir()
    peer = peers.good_ip
    env = preloaded(curls)
    env["STRICT_TLS_POLICY"] = policy_text({"verdict_max_age_s": "1"})
    done = curls.run([program, url_of(peer, "127.0.0.1"), peer.trust, tmp_path / "file",
                      tmp_path / "folder"], env)
    assert done.stdout.endswith("\n0 0"), done
    assert not (tmp_path / "file").exists() or (tmp_path / "file").read_bytes() == b""
    assert list((tmp_path / "folder").iterdir()) == []
    assert [report["reason"] for report in curls.read_reports()] == ["none", "none"]
    assert cache_of(curls).is_dir()


FORKS = r"""
#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static const char *url, *trust;
static volatile int over;
static void use(int times) {
    for (int i = 0; i < times && !over; i++) {
        CURL *curl = curl_easy_init();
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_CAINFO, trust);
        CURLM *multi = curl_multi_init();
        curl_multi_add_handle(multi, curl);
        curl_multi_remove_handle(multi, curl);
        curl_multi_cleanup(multi);
        curl_easy_cleanup(curl);
    }
}
static void *work(void *arg) { while (!over) use(100); return arg; }
int main(int argc, char **argv) {
    pthread_t threads[4];
    int hung = 0;
    url = argv[1], trust = argv[2];
    (void)argc;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    use(1);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child == 0) { use(3); _exit(0); }
        int status = 0, waited = 0;
        for (int ms = 0; ms < 20000 && (waited = waitpid(child, &status, WNOHANG)) == 0; ms += 5)
            nanosleep(&(struct timespec){0, 5000000}, NULL);
        if (waited == 0) { hung++; kill(child, SIGKILL); waitpid(child, NULL, 0); }
    }
    over = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    printf("%d", hung);
    return 0;
}"""


def test_forks_while_threads_are_at_work(peers, curls, tmp_path):
    """Handles are made, added and cleaned up, without a network: libcurl's own locks stay free."""
    program = build(tmp_path, "forks", FORKS, "-lcurl", "-pthread")
    done = curls.run([program, "https://127.0.0.1:1/", peers.good.trust], preloaded(curls),
                     timeout=300)
    assert (done.returncode, done.stdout) == (0, "0"), done.stderr


LOADS = r"""
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *object = dlopen("libbeside.so", RTLD_NOW | RTLD_DEEPBIND);
    printf("%s", object != NULL ? "found" : dlerror());
    return 0;
}"""


@pytest.mark.parametrize("optimize", ["-O0", "-O2"])
def test_the_caller_of_dlopen_is_known(optimize, curls, tmp_path):
    """Its RUNPATH is where the loader looks, however the library was compiled."""
    subprocess.run(["make", "-s", f"B={tmp_path}/build", f"CFLAGS={optimize}",
                    f"{tmp_path}/build/lib/libstrict_tls_preload.so"],
                   cwd=ROOT, check=True, timeout=600, stdout=subprocess.DEVNULL)
    (tmp_path / "beside").mkdir()
    build(tmp_path / "beside", "libbeside.so", "int beside;", "-shared", "-fPIC")
    program = build(tmp_path, "loads", LOADS, f"-Wl,-rpath,{tmp_path}/beside,--enable-new-dtags",
                    "-Wl,--no-as-needed", "-lcurl")
    env = environment(curls.folder, LD_PRELOAD=f"{tmp_path}/build/lib/libstrict_tls_preload.so")
    done = curls.run([program], env)
    assert done.stdout == "found", done.stdout
