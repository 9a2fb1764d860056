"""The scenario table: what a peer serves, and what stock and strict hosts must make of it.

The demo and the tests of every host read this one table.  A row tells how it
differs from the good one; lab.py builds what it names.
"""
from dataclasses import dataclass, field

NAME = "backend.lab.test"  # what clients want, unless a row says otherwise

# What a backend serves, by certificate label; "leaf" is the row's own.
FULL = "leaf issuing intermediate"


@dataclass(frozen=True)
class Scenario:
    id: str
    title: str
    reason: str = None  # the strict host's primary reason; None: it accepts
    stock: int = 200  # status from stock nginx, configured as a careful admin would today
    issuer: str = "issuing"
    leaf: dict = field(default_factory=dict)  # how the leaf differs: arguments of Pki.issue
    serve: str = FULL
    trust: str = "root"  # the hosts' trust bundle, by certificate label
    name: str = NAME
    # Who answers about the leaf: "real" (OpenSSL's responder), "refused" (nobody listens),
    # "none" (the leaf names no responder) or a place of the programmable responder.
    ocsp: str = "real"
    revoked: bool = False  # in the real responder's index
    staple: str = ""  # the behaviour whose answer the backend staples
    policy: dict = field(default_factory=dict)  # key -> value; {url} is the programmable responder
    client: str = ""  # the host's own client chain, served to a backend that demands one
    backend_status: int = 200  # what the backend itself answers
    finding: str = ""  # a reason that the report must carry beside the primary one
    asked: bool = None  # whether the leaf's place at the programmable responder is asked at all
    demo: bool = False

    @property
    def strict(self):
        """Status from strict nginx."""
        return 502 if self.reason else self.backend_status

    def asked_as_told(self, before, after):
        """By these counts of the leaf's place; others may have asked about the leaf before."""
        return self.asked is None or (after > 0 if self.asked else after == before)


def row(id, title, reason=None, **fields):
    return Scenario(id, title, reason, **fields)


CHAIN = [
    row("good", "good chain", demo=True),
    row("good_short", "good chain, one intermediate", issuer="intermediate",
        serve="leaf intermediate"),
    row("good_direct", "leaf issued by the root itself", issuer="root", serve="leaf"),
    row("good_rsa", "good chain, RSA leaf", leaf={"key": "rsa2048"}),
    row("leaf_only", "intermediates missing", "chain.incomplete", serve="leaf", stock=502, demo=True),
    row("one_missing", "upper intermediate missing", "chain.untrusted", serve="leaf issuing",
        stock=502),
    row("one_missing_in_bundle", "intermediate missing but in the trust bundle", "chain.incomplete",
        serve="leaf issuing", trust="root intermediate", demo=True),
    row("all_missing_in_bundle", "all intermediates missing but in the trust bundle",
        "chain.incomplete", serve="leaf", trust="root intermediate issuing"),
    row("gap", "gap in the middle of the chain", "chain.incomplete", serve="leaf intermediate",
        stock=502, demo=True),
    row("gap_in_bundle", "gap in the middle, filled by the trust bundle", "chain.incomplete",
        serve="leaf intermediate", trust="root intermediate issuing", demo=True),
    row("misordered", "misordered chain", "chain.misordered", serve="leaf intermediate issuing",
        demo=True),
    row("misordered_any", "misordered chain, chain_order any", serve="leaf intermediate issuing",
        policy={"chain_order": "any"}, finding="chain.misordered"),
    row("extra", "superfluous certificate", serve="leaf stranger issuing intermediate",
        finding="chain.extra", demo=True),
    row("extra_deny", "superfluous certificate, chain_extra deny", "chain.extra",
        serve="leaf stranger issuing intermediate", policy={"chain_extra": "deny"}, demo=True),
    row("duplicate", "duplicate certificate", serve="leaf issuing issuing intermediate",
        finding="chain.extra"),
    row("duplicate_leaf_deny", "duplicate leaf, chain_extra deny", "chain.extra",
        serve="leaf leaf issuing intermediate", policy={"chain_extra": "deny"}),
    row("root_presented", "root presented", serve="leaf issuing intermediate root"),
    row("root_presented_extra_deny", "root presented, chain_extra deny",
        serve="leaf issuing intermediate root", policy={"chain_extra": "deny"}),
    row("root_require", "root missing, chain_root require", "chain.root_missing",
        policy={"chain_root": "require"}, demo=True),
    row("root_require_ok", "root presented, chain_root require",
        serve="leaf issuing intermediate root", policy={"chain_root": "require"}),
    row("root_forbid", "root presented, chain_root forbid", "chain.root_presented",
        serve="leaf issuing intermediate root", policy={"chain_root": "forbid"}, demo=True),
    row("root_forbid_ok", "root not presented, chain_root forbid",
        policy={"chain_root": "forbid"}),
    row("untrusted_root", "untrusted root", "chain.untrusted", issuer="stranger_issuing",
        serve="leaf stranger_issuing stranger", stock=502, asked=False, demo=True),
    row("untrusted_root_absent", "untrusted root, not presented", "chain.untrusted",
        issuer="stranger_issuing", serve="leaf stranger_issuing", stock=502, asked=False),
    row("self_signed", "self-signed leaf", "chain.self_signed", issuer="", serve="leaf", stock=502,
        demo=True),
    row("self_signed_trusted", "self-signed leaf that is the trust anchor", issuer="", serve="leaf",
        trust="root leaf"),
    row("cross_signed", "chain to an old root through a cross-certificate", issuer="young_issuing",
        serve="leaf young_issuing young_cross"),
    row("cross_redundant", "cross-certificate beside the root that is trusted",
        issuer="young_issuing", serve="leaf young_issuing young_cross", trust="young"),
    row("cross_both", "both roots of a cross-signed chain trusted", issuer="young_issuing",
        serve="leaf young_issuing young_cross", trust="root young"),
    row("altered_leaf", "leaf with an altered signature", "chain.bad_signature",
        serve="altered_leaf issuing intermediate", stock=502),
    row("altered_intermediate", "intermediate with an altered signature", "chain.bad_signature",
        serve="leaf issuing altered_intermediate", stock=502),
    row("path_length", "path length constraint violated", "chain.constraint", issuer="too_deep",
        serve="leaf too_deep narrow", stock=502),
    row("name_constraint", "name constraint violated", "chain.constraint", issuer="elsewhere",
        serve="leaf elsewhere", stock=502),
    row("not_a_ca", "issued by a leaf", "chain.constraint", issuer="not_a_ca",
        serve="leaf not_a_ca issuing intermediate", stock=502, finding="chain.purpose"),
    row("client_purpose", "certificate for clients only", "chain.purpose",
        leaf={"usages": ("client",)}, stock=502),
    row("weak_key", "RSA key of 1024 bits", "chain.weak", leaf={"key": "rsa1024"}, stock=502),
    row("weak_digest", "certificate signed with SHA-1", "chain.weak", leaf={"digest": "sha1"},
        stock=502),
    row("profile", "authority key identifier missing", "chain.profile", leaf={"drop": ("aki",)}),
    row("profile_ca", "CA with non-critical basic constraints", "chain.profile", issuer="sloppy",
        serve="leaf sloppy"),
    row("profile_off", "authority key identifier missing, x509_strict off",
        leaf={"drop": ("aki",)}, policy={"x509_strict": "off"}),
    row("too_many", "chain of 100 certificates", "chain.too_long", issuer="long98",
        serve="leaf " + " ".join(f"long{i}" for i in range(98, 0, -1)) + " root", stock=502),
    row("too_big", "leaf with 10,000 names", "chain.too_long",
        leaf={"sans": (NAME, *(f"{i:05}.lab.test" for i in range(9999)))}, stock=502),
    row("too_big_allowed", "leaf with 10,000 names, max_chain_bytes raised",
        leaf={"sans": (*(f"{i:05}.lab.test" for i in range(9999)), NAME)}, stock=502,
        policy={"max_chain_bytes": "1048576"}),
]

DATES = [
    row("expired", "expired leaf", "chain.expired", leaf={"starts": -60, "days": 30}, stock=502,
        demo=True),
    row("expired_intermediate", "expired intermediate", "chain.expired", issuer="outdated",
        serve="leaf outdated", stock=502),
    row("not_yet_valid", "leaf not yet valid", "chain.not_yet_valid",
        leaf={"starts": 30, "days": 60}, ocsp="good", asked=False, stock=502),
]

NAMES = [
    row("wrong_name", "wrong name", "name.mismatch", leaf={"sans": ("other.lab.test",)}, stock=502,
        demo=True),
    row("wrong_name_cn", "wrong name, common name fits", "name.mismatch",
        leaf={"sans": ("other.lab.test",), "cn": NAME}, ocsp="good", asked=False, stock=502),
    row("wrong_name_off", "wrong name, name off", leaf={"sans": ("other.lab.test",)}, stock=502,
        policy={"name": "off"}),
    row("cn_only", "common name only", "name.no_identity", leaf={"sans": (), "cn": NAME},
        demo=True),
    row("cn_only_fallback", "common name only, name_cn_fallback on",
        leaf={"sans": (), "cn": NAME}, policy={"name_cn_fallback": "on"}),
    row("cn_beside_ip", "common name beside an IP name, name_cn_fallback on", "name.mismatch",
        leaf={"sans": ("192.0.2.1",), "cn": NAME}, policy={"name_cn_fallback": "on"}),
    row("wildcard", "wildcard name", leaf={"sans": ("*.lab.test",)}),
    row("wildcard_deep", "wildcard does not reach two labels deep", "name.mismatch",
        leaf={"sans": ("*.test",)}, stock=502),
    row("wildcard_partial", "partial wildcard", "name.mismatch", leaf={"sans": ("back*.lab.test",)},
        demo=True),
    # Stock nginx compares an address with DNS names only.
    row("ip_name", "IP address name", leaf={"sans": ("127.0.0.1",)}, name="127.0.0.1", stock=502),
    row("ip_as_dns", "IP address in a DNS name", "name.mismatch", name="127.0.0.1",
        leaf={"sans": ("dns:127.0.0.1",)}),
    row("trailing_dot", "wanted name with a trailing dot", name=NAME + ".", stock=502),
]

# Where nothing else ends a wait for an answer.
SHORT = {"fetch_timeout_ms": "700"}

REVOCATION = [
    row("revoked", "leaf revoked (fetched)", "ocsp.revoked", revoked=True, demo=True),
    row("revoked_stapled", "leaf revoked (stapled)", "ocsp.revoked", ocsp="good", staple="revoked",
        asked=False, demo=True),
    row("revoked_intermediate", "intermediate revoked", "ocsp.revoked", issuer="revoked_issuing",
        serve="leaf revoked_issuing intermediate", demo=True),
    row("revoked_off", "leaf revoked, revocation off", revoked=True, policy={"revocation": "off"}),
    row("revoked_soft", "leaf revoked, revocation soft", "ocsp.revoked", revoked=True,
        policy={"revocation": "soft"}),
    row("revoked_behind_other", "revoked, behind another certificate's answer", "ocsp.revoked",
        ocsp="revoked_behind_other"),
    row("silent", "responder silent", "fetch.timeout", ocsp="silent", demo=True, policy=SHORT),
    row("silent_soft", "responder silent, revocation soft", ocsp="silent",
        policy={"revocation": "soft", **SHORT}, finding="fetch.timeout"),
    row("silent_intermediate", "responder of the intermediate silent", "fetch.timeout",
        issuer="silent_issuing", serve="leaf silent_issuing intermediate", policy=SHORT),
    row("silent_scope_leaf", "responder of the intermediate silent, revocation_scope leaf",
        issuer="silent_issuing", serve="leaf silent_issuing intermediate",
        policy={"revocation_scope": "leaf"}),
    row("wrong_certificate", "responder answers for another certificate", "ocsp.wrong_certificate",
        ocsp="wrong_certificate", demo=True),
    row("other_first", "another certificate's answer comes first", ocsp="other_first"),
    row("empty_list", "responder answers about nothing", "ocsp.wrong_certificate",
        ocsp="empty_list"),
    row("stale", "stale answer", "ocsp.stale", ocsp="stale", demo=True),
    row("future", "answer from the future", "ocsp.future", ocsp="future"),
    row("no_next_update", "answer without nextUpdate", ocsp="no_next_update"),
    row("old_no_next_update", "old answer without nextUpdate", "ocsp.stale",
        ocsp="old_no_next_update"),
    row("unknown", "responder does not know the certificate", "ocsp.unknown", ocsp="unknown",
        demo=True),
    row("try_later", "responder says try later", "ocsp.error_status", ocsp="try_later", demo=True),
    row("unauthorized", "responder says unauthorized", "ocsp.error_status", ocsp="unauthorized"),
    row("delegated", "delegated responder", ocsp="delegated", demo=True),
    row("by_name", "responder identified by name", ocsp="good_by_name"),
    row("unauthorized_usage", "responder lacks the OCSPSigning usage",
        "ocsp.unauthorized_responder", ocsp="unauthorized_usage", demo=True),
    row("unauthorized_ca", "responder authorized by another CA", "ocsp.unauthorized_responder",
        ocsp="unauthorized_ca"),
    row("self_vouching", "certificate vouches for itself", "ocsp.unauthorized_responder",
        ocsp="self_vouching"),
    row("bad_signature", "answer with a bad signature", "ocsp.bad_signature", ocsp="bad_signature"),
    row("malformed", "answer cannot be decoded", "ocsp.malformed", ocsp="malformed"),
    # DER tells its own length, so these three are found out before the answer is decoded.
    row("truncated", "answer truncated", "fetch.http", ocsp="truncated"),
    row("garbage", "answer is not DER", "fetch.http", ocsp="garbage"),
    row("trailing", "answer with bytes behind it", "fetch.http", ocsp="trailing"),
    row("oversize", "answer of 10 megabytes", "fetch.too_large", ocsp="oversize"),
    row("http_500", "responder fails with HTTP 500", "fetch.http", ocsp="http_500"),
    row("http_404", "responder fails with HTTP 404", "fetch.http", ocsp="http_404"),
    row("redirect", "responder redirects", "fetch.http", ocsp="redirect"),
    row("refused", "responder refuses connections", "fetch.network", ocsp="refused", demo=True),
    row("denied", "responder on loopback, fetch_deny by default", "fetch.denied", ocsp="good",
        policy={"fetch_deny": "loopback,link-local"}, asked=False),
    row("late", "responder answers late but in time", ocsp="late"),
    row("http_1_0", "responder speaks HTTP/1.0", ocsp="http_1_0"),
    row("chunked", "responder answers in chunks", ocsp="chunked"),
    row("text", "answer labelled text/html", ocsp="text"),
    row("interim", "responder sends an interim reply first", ocsp="interim"),
    row("large_header", "answer with a header of 20 kilobytes", "fetch.too_large",
        ocsp="large_header"),
    row("large_header_allowed", "header of 20 kilobytes, max_reply_header_bytes 32768",
        ocsp="large_header", policy={"max_reply_header_bytes": "32768"}),
    row("until_close", "responder ends its answer by closing", ocsp="until_close"),
    row("override", "ocsp_responder replaces the named one", ocsp="refused",
        policy={"ocsp_responder": "{url}/good"}),
    row("nonce", "nonce comes back", ocsp="good", policy={"ocsp_nonce": "on"}),
    row("nonce_missing", "nonce does not come back", "ocsp.nonce_mismatch", ocsp="nonce_none",
        policy={"ocsp_nonce": "on"}),
    row("nonce_wrong", "another nonce comes back", "ocsp.nonce_mismatch", ocsp="nonce_wrong",
        policy={"ocsp_nonce": "on"}),
    row("second_url", "first responder refuses, second answers", ocsp="refused good",
        finding="fetch.network"),
    row("no_source", "no responder named", "revocation.no_source", ocsp="none", demo=True),
    row("no_source_allow", "no responder named, no_revocation_source allow", ocsp="none",
        policy={"no_revocation_source": "allow"}),
    row("private", "company CA with preset private", ocsp="none", leaf={"drop": ("aki",)},
        policy={"preset": "private"}),
    row("short_lived", "short-lived leaf that names no responder", ocsp="none",
        leaf={"days": 5.0}),
    row("short_lived_0", "short-lived leaf, short_lived_s 0", "revocation.no_source", ocsp="none",
        leaf={"days": 5.0}, policy={"short_lived_s": "0"}),
]

STAPLES = [
    row("stapled", "stapled answer, responder silent", ocsp="silent", staple="good", asked=False,
        demo=True),
    row("stapled_stale", "stale staple, responder good", ocsp="good", staple="stale",
        finding="ocsp.stale", asked=True),
    row("stapled_stale_silent", "stale staple, responder silent", "ocsp.stale", ocsp="silent",
        staple="stale", asked=True, policy=SHORT, finding="fetch.timeout"),
    row("stapled_bad_signature", "staple with a bad signature, responder good", ocsp="good",
        staple="bad_signature", finding="ocsp.bad_signature", asked=True),
    row("stapled_wrong", "staple of another certificate, responder good", ocsp="good",
        staple="wrong_certificate", finding="ocsp.wrong_certificate", asked=True),
    row("stapled_delegated", "staple signed by a delegated responder", ocsp="silent",
        staple="delegated", asked=False),
    row("must_staple", "must-staple leaf with a staple", ocsp="silent", staple="good",
        leaf={"must_staple": True}),
    row("must_staple_missing", "must-staple leaf without a staple", "staple.missing",
        leaf={"must_staple": True}, demo=True),
    row("must_staple_ignore", "must-staple leaf without a staple, must_staple ignore",
        leaf={"must_staple": True}, policy={"must_staple": "ignore"}),
]

MUTUAL = [
    row("mutual", "mutual TLS, good chains", client="client issuing intermediate", demo=True),
    # The backend's refusal: nginx answers 400 where no path to its CA can be built.
    row("mutual_incomplete_client", "mutual TLS, our client chain incomplete", client="client",
        stock=400, backend_status=400, demo=True),
    row("mutual_none", "mutual TLS, no client certificate sent", client="nobody", stock=400,
        backend_status=400),
    row("mutual_incomplete_backend", "mutual TLS, backend's chain incomplete", "chain.incomplete",
        client="client issuing intermediate", serve="leaf", stock=502, demo=True),
    row("mutual_incomplete_in_bundle", "mutual TLS, backend's missing links in the trust bundle",
        "chain.incomplete", client="client issuing intermediate", serve="leaf",
        trust="root intermediate issuing", demo=True),
]

SCENARIOS = CHAIN + DATES + NAMES + REVOCATION + STAPLES + MUTUAL
BY_ID = {scenario.id: scenario for scenario in SCENARIOS}
assert len(BY_ID) == len(SCENARIOS)
