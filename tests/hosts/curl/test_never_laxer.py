"""What stock libcurl refuses because of what the program has set is refused by a strict one, too.

Each row is run by stock libcurl first: it must refuse as the row says. Rows with None are what
the same option looks like when the peer satisfies it: accepted by all.
"""
import hashlib
import base64
import subprocess

import pytest

from tests.hosts.curl.conftest import PLAIN_CLIENT, PRELOAD, environment, policy_text, url_of
from tests.hosts.curl.https_proxy import HttpsProxy
from tests.lab import crl
from tests.lab.scenarios import NAME

REFUSED, BAD_CRL, BAD_ISSUER, BAD_PIN, BAD_STATUS = 60, 82, 83, 90, 91
CRL_CHECK, CRL_CHECK_ALL = 0x4, 0x8

LIMITS = {
    "crl_flags": ([("crl", "{revoking}"), ("flags", CRL_CHECK)], REFUSED),
    "crl_flags_good": ([("crl", "{clean}"), ("flags", CRL_CHECK | CRL_CHECK_ALL)], None),
    "crl_flags_of_the_store": ([("crl", "{revoking}"), ("store_flags", CRL_CHECK)], REFUSED),
    "no_crl_at_hand": ([("flags", CRL_CHECK)], REFUSED),
    "stale_crl": ([("crl", "{stale}"), ("flags", CRL_CHECK)], REFUSED),
    "host": ([("host", "elsewhere.lab.test")], REFUSED),
    "host_good": ([("host", NAME)], None),
    "ip": ([("ip", "192.0.2.1")], REFUSED),
    "email": ([("email", "a@lab.test")], REFUSED),
    "depth": ([("depth", 1)], REFUSED),
    "depth_good": ([("depth", 3)], None),
    "ctx_depth": ([("ctx_depth", 1)], REFUSED),
    "store_depth": ([("store_depth", 1)], REFUSED),
    "auth_level": ([("auth_level", 5)], REFUSED),
    "time_before": ([("time", 946684800)], REFUSED),
    "purpose": ([("purpose", 4)], REFUSED),  # S/MIME signatures
    "policy": ([("policy", "1.3.6.1.4.1.99999.1")], REFUSED),
    "callback": ([("callback", 0)], REFUSED),
    "store_callback": ([("store_callback", 0)], REFUSED),
    "instead": ([("instead", 0)], REFUSED),
    "other_store": ([("verify_store", "{stranger}")], REFUSED),
    "other_store_good": ([("verify_store", "{trust}")], None),
}

OPTIONS = {
    "crlfile": ("CRLFILE", "{revoking}", REFUSED),
    "crlfile_stale": ("CRLFILE", "{stale}", REFUSED),
    "crlfile_missing": ("CRLFILE", "/nowhere.pem", BAD_CRL),
    "crlfile_good": ("CRLFILE", "{clean}", None),
    "issuercert": ("ISSUERCERT", "{stranger}", BAD_ISSUER),
    "issuercert_good": ("ISSUERCERT", "{issuer}", None),
    "issuercert_blob": ("ISSUERCERT_BLOB", "{stranger}", BAD_ISSUER),
    "issuercert_blob_good": ("ISSUERCERT_BLOB", "{issuer}", None),
    "pinned": ("PINNEDPUBLICKEY", "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", BAD_PIN),
    "pinned_good": ("PINNEDPUBLICKEY", "{pin}", None),
    "cainfo": ("CAINFO", "{stranger}", REFUSED),
    "cainfo_blob": ("CAINFO_BLOB", "{stranger}", REFUSED),
    "capath": ("CAPATH", "/nowhere", None),  # beside CAINFO
    "status": ("SSL_VERIFYSTATUS", "1", BAD_STATUS),
}
# What libcurl has counterparts of for HTTPS proxies.
PROXY_OPTIONS = [name for name, (option, *_) in OPTIONS.items()
                 if option != "SSL_VERIFYSTATUS" and name != "pinned_good"]  # the origin's pin


@pytest.fixture(scope="module")
def values(peers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    files = crl.CrlFile(peers.lab, folder / "clean.pem")
    leaf = peers.good.leaf.cert_path
    key = subprocess.run(["openssl", "x509", "-in", leaf, "-pubkey", "-noout"],
                         capture_output=True, check=True).stdout
    spki = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key,
                          capture_output=True, check=True).stdout
    return {"clean": files.path, "stale": files.stage(next_update_s=-1800),
            "revoking": files.stage(peers.good.leaf, peers.proxy.leaf),
            "trust": peers.good.trust,
            "stranger": peers.lab.pki["stranger"].cert_path,
            "issuer": peers.lab.pki["issuing"].cert_path,
            "pin": "sha256//" + base64.b64encode(hashlib.sha256(spki).digest()).decode()}


def told(curls, how, words):
    """What the transfer ended with: stock, with the library, under the preloaded library."""
    if how == "library":
        at = words.index("limit") if "limit" in words else len(words)
        words = [*words[:at], "strict", "a", policy_text(), *words[at:]]
        (line,) = curls.library(*words, "perform", "a")
        return line["code"]
    env = environment(curls.folder)
    if how == "preloaded":
        env = environment(curls.folder, LD_PRELOAD=str(PRELOAD), STRICT_TLS_POLICY=policy_text())
    (line,) = curls.library(*words, "perform", "a", client=PLAIN_CLIENT, env=env)
    return line["code"]


HOSTS = pytest.mark.parametrize("how", ["stock", "library", "preloaded"])
VERSION = {"tls12": 6 | 6 << 16, "tls13": 7 | 7 << 16}


@HOSTS
@pytest.mark.parametrize("version", VERSION)
@pytest.mark.parametrize("row", LIMITS)
def test_in_the_context_function(row, version, how, peers, values, curls):
    limits, code = LIMITS[row]
    words = curls.handle(peers.good, version=version)
    for what, value in limits:
        words += ["limit", "a", what, str(value).format(**values)]
    assert told(curls, how, words) == (code or 0)


@HOSTS
@pytest.mark.parametrize("row", OPTIONS)
def test_as_an_option(row, how, peers, values, curls):
    option, value, code = OPTIONS[row]
    words = curls.handle(peers.good, **({"CAINFO": "-"} if option == "CAINFO_BLOB" else {}))
    words += ["blob" if option.endswith("_BLOB") else "set", "a", option, value.format(**values)]
    assert told(curls, how, words) == (code or 0)


@HOSTS
@pytest.mark.parametrize("row", PROXY_OPTIONS)
def test_as_an_option_for_proxies(row, how, peers, values, curls):
    """The origin is good, and satisfies none of what is set for the proxy."""
    option, value, code = OPTIONS[row]
    with HttpsProxy(peers.proxy.backend.chain, peers.proxy.backend.key,
                    peers.good.backend.port) as proxy:
        words = ["new", "a", "set", "a", "URL", url_of(peers.good),
                 "set", "a", "CAINFO", peers.good.trust, "set", "a", "CAPATH", "-",
                 "set", "a", "PROXY_CAPATH", "-",
                 "list", "a", "RESOLVE", f"proxy.lab.test:{proxy.port}:127.0.0.1",
                 "set", "a", "PROXY", f"https://proxy.lab.test:{proxy.port}"]
        if not option.startswith("CAINFO"):
            words += ["set", "a", "PROXY_CAINFO", peers.proxy.trust]
        words += ["blob" if option.endswith("_BLOB") else "set", "a", f"PROXY_{option}",
                  value.format(**values)]
        assert told(curls, how, words) == (code or 0)
        assert len(proxy.asked) == (code is None)


@pytest.mark.parametrize("row", LIMITS)
def test_with_anchors_of_the_program(row, peers, values, curls):
    """They replace libcurl's anchors and nothing else of its verification."""
    limits, code = LIMITS[row]
    words = [*curls.handle(peers.good, CAINFO=values["stranger"]), "strict", "a", policy_text(),
             "anchors", "a", peers.good.trust]
    for what, value in limits:
        words += ["limit", "a", what, str(value).format(**values)]
    (line,) = curls.library(*words, "perform", "a")
    assert line["code"] == (0 if row == "other_store" else code or 0)


def test_the_command(peers, values, curls):
    """As options of the curl command, --insecure or not."""
    for words, code in ((["--crlfile", values["revoking"]], REFUSED),
                        (["--crlfile", values["clean"]], 0),
                        (["--pinnedpubkey", OPTIONS["pinned"][1]], BAD_PIN),
                        (["--cert-status"], BAD_STATUS)):
        for insecure in ([], ["-k"]):
            done, _ = curls.strict_curl(*curls.curl_words(peers.good), *words, *insecure)
            assert done.returncode == code, (words, done.stderr)
