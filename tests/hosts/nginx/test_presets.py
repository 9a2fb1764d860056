"""docs/presets/: what each page says is accepted and rejected is what nginx does under that preset."""
import json
import re

import pytest

from tests.lab import fronts, net
from tests.lab.nginx import MODULE, ROOT, Nginx
from tests.lab.scenarios import BY_ID

PRESETS = ("strict", "private", "servicenow")

# In the order of the pages' tables.
ROWS = [
    "good", "leaf_only", "one_missing", "one_missing_in_bundle", "gap", "misordered", "extra",
    "root_presented", "untrusted_root", "self_signed", "self_signed_trusted", "cross_signed",
    "altered_leaf", "path_length", "client_purpose", "weak_key", "weak_digest", "profile",
    "profile_ca", "too_many", "expired", "expired_intermediate", "not_yet_valid",
    "wrong_name", "wrong_name_cn", "cn_only", "wildcard", "wildcard_deep", "ip_name",
    "revoked", "revoked_stapled", "revoked_intermediate", "silent", "refused", "http_500",
    "unknown", "try_later", "stale", "wrong_certificate", "unauthorized_usage", "bad_signature",
    "no_source", "short_lived", "stapled", "stapled_stale_silent", "must_staple",
    "must_staple_missing",
]


def rows_of(preset):
    """{title: reason} of the page's table."""
    text = (ROOT / f"docs/presets/{preset}.md").read_text()
    found = re.findall(r"^\| ([^|]+) \| (accepted|rejected: `([a-z_.]+)`) \|$", text, re.M)
    return {title: reason or "none" for title, _, reason in found}


@pytest.fixture(scope="module")
def judged(lab):
    """{preset: {title: reason}} of nginx."""
    front = Nginx(lab.folder / "presets", "presets", module=MODULE)
    port = net.free_port()
    front.configure(fronts.http(fronts.server(port, [
        fronts.location(f"= /{preset}/{id}", lab.scenes[id], strict=True, name=BY_ID[id].name,
                        policy={"preset": preset, "fetch_timeout_ms": "2000"})
        for preset in PRESETS for id in ROWS])))
    front.start([port])
    try:
        yield {preset: {BY_ID[id].title: reason_of(net.get(port, f"/{preset}/{id}"))
                        for id in ROWS} for preset in PRESETS}
    finally:
        front.stop()


def reason_of(answer):
    report = json.loads(answer.headers["x-strict-tls-report"])
    assert (report["verdict"] == "accept") == (report["reason"] == "none")
    assert (answer.status == 200) == (report["verdict"] == "accept")
    return report["reason"]


@pytest.mark.parametrize("preset", PRESETS)
def test_page(preset, judged):
    assert rows_of(preset) == judged[preset]
    assert len(judged[preset]) == len(ROWS)


def test_differences(judged):
    """The comparison in docs/directives.md is about rows that do differ."""
    differing = {id for id in ROWS
                 if len({judged[preset][BY_ID[id].title] for preset in PRESETS}) > 1}
    assert {"misordered", "profile", "cn_only", "no_source", "silent", "refused"} <= differing
    assert not {"leaf_only", "gap", "revoked", "expired", "wrong_name"} & differing
