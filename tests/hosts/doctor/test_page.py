"""The HTML page: self-contained, and nothing that a peer sends gets through as markup."""
import re
from html.parser import HTMLParser

import pytest

from tests.hosts.doctor.conftest import REJECT, policy_text
from tests.hosts.doctor.schema import errors
from tests.lab.lab import Lab
from tests.lab.scenarios import NAME

HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "attribute": "\"'><img src=x onerror=alert(1)>",
    "entity": "&lt;b&gt;&#0;&amp",
    "style": "</style><style>*{display:none}",
    "comment": "--><!-- ]]>",
    "terminal": "\x1b[2J\x1b]0;owned\x07",
    "lines": "one\r\ntwo\treject accept",
    "unicode": "b\u00fccher \u202e\u2028 \U0001f600",
}
VOID = {"meta"}
TAGS = {"html", "head", "meta", "title", "style", "body", "section", "h1", "h2", "p", "span",
        "div", "dl", "dt", "dd", "ol", "ul", "li", "a"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; every element is closed where it was opened."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self._open = [], [], "", []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def load(path):
    text = path.read_text()
    page = Page(text)
    assert set(page.tags) <= TAGS, set(page.tags) - TAGS
    assert page.tags.count("style") == 1
    names = {name for name, _ in page.attributes}
    assert names <= {"lang", "charset", "name", "content", "http-equiv", "class", "id", "href"}
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert "url(" not in text and "@import" not in text
    assert all(byte == "\n" or " " <= byte <= "~" for byte in text)
    return page


@pytest.fixture(scope="module")
def staged():
    """Leaf, missing issuer and AIA URL are all the peer's to choose."""
    lab = Lab(scenarios=())
    peers = {}
    for id, words in HOSTILE.items():
        cn = words[:60]
        lab.issue(f"ca_{id}", "root", ca=True, cn=cn, days=3650.0)
        url = "http://127.0.0.1:9/" + re.sub("[^!-~]", "", words)
        peers[id] = lab.peer(f"hostile_{id}", f"ca_{id}", "leaf", cn=cn, ca_issuers=[url])
    with lab:
        yield peers


@pytest.mark.parametrize("id", HOSTILE)
def test_hostile_names(id, staged, doctor, tmp_path):
    scene = staged[id]
    page = tmp_path / "page.html"
    done = doctor.check(scene, "--html", page)
    assert (done.code, done.json["reason"]) == (REJECT, "chain.incomplete")
    assert errors(done.json) == []
    subject = done.json["chain"][0]["subject"]
    assert load(page).text.count(subject) >= 1
    text = doctor("check", scene.backend.address, "--name", NAME, "--cafile", scene.trust,
                  "--policy", policy_text(), "--color", "never")
    assert all(byte == "\n" or " " <= byte <= "~" for byte in text.out)


def test_page_tells_everything(doctor, lab, tmp_path):
    scene = lab.scenes["leaf_only"]
    diagnosis = doctor.check(scene, "--html", tmp_path / "page.html").json
    page = load(tmp_path / "page.html")
    wanted = [diagnosis["reason"], diagnosis["detail"], diagnosis["remedy"], diagnosis["who"],
              diagnosis["repair"]["command"], scene.backend.address,
              *(node["subject"] for node in diagnosis["chain"]),
              *(node["published_at"] for node in diagnosis["chain"] if node["published_at"])]
    for words in wanted:
        assert words in page.text
    classes = [value.split(" ")[0] for name, value in page.attributes if name == "class"]
    assert classes.count("missing") == 2 and classes.count("root") == 1
    # Light and dark, desktop and phone.
    style = (tmp_path / "page.html").read_text()
    assert "prefers-color-scheme:dark" in style and "width=device-width" in style


@pytest.mark.parametrize("id", ["good", "mutual_incomplete_client", "extra", "misordered",
                                "self_signed", "too_many", "revoked", "stapled"])
def test_pages_are_well_formed(id, doctor, lab, tmp_path):
    scene = lab.scenes[id]
    extra = ["--cert", scene.client, "--key", scene.client_key] if scene.client else []
    doctor.check(scene, *extra, "--html", tmp_path / "page.html")
    load(tmp_path / "page.html")


def test_page_of_a_list(doctor, lab, tmp_path):
    """In the list's order, whoever was done first."""
    ids = ["revoked", "good", "leaf_only", "wrong_name"]
    lines = [f"{lab.scenes[id].backend.address} {NAME}" for id in ids] + ["<b>bad</b> host &"]
    done = doctor("check", "--hosts", "-", "--cafile", lab.scenes["good"].trust, "--policy",
                  policy_text(), "--html", tmp_path / "page.html", "--quiet",
                  stdin="\n".join(lines).encode())
    assert done.code == REJECT
    page = load(tmp_path / "page.html")
    places = [page.text.index(line.split(" backend")[0]) for line in lines]
    assert places == sorted(places)


def test_page_of_a_file(doctor, lab, tmp_path):
    scene = lab.scenes["misordered"]
    doctor("file", scene.backend.chain, "--cafile", scene.trust, "--key", scene.leaf.key_path,
           "--html", tmp_path / "page.html")
    assert "chain.misordered" in load(tmp_path / "page.html").text
