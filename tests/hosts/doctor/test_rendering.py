"""The page in a real browser: phone and desktop widths, light and dark."""
import html
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.hosts.doctor.conftest import Doctor, policy_text
from tests.lab.lab import Lab
from tests.lab.scenarios import NAME

BROWSER = "chromium"
WIDTHS = (320, 390, 1280)
SCHEMES = {"light": 1, "dark": 0}  # Blink's preferredColorScheme

# In each page, told to the page around it. Pages have no scripts of their own.
MEASURE = """
addEventListener("load", () => {
    const shade = color => {
        const part = color.match(/[\\d.]+/g).map(Number);
        return {alpha: part.length > 3 ? part[3] : 1, light: part.slice(0, 3).map(value => {
            value /= 255;
            return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        }).reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0)};
    };
    const behind = element => {
        for (; element; element = element.parentElement) {
            const ground = shade(getComputedStyle(element).backgroundColor);
            if (ground.alpha > 0) { return ground.light; }
        }
        return 1;
    };
    const root = document.documentElement, all = [...document.body.querySelectorAll("*")];
    const name = element => element.tagName + "." + element.className + ": "
        + element.textContent.slice(0, 40);
    const contrast = element => {
        const light = [shade(getComputedStyle(element).color).light, behind(element)].sort();
        return (Math.max(...light) + 0.05) / (Math.min(...light) + 0.05);
    };
    const speaks = element => [...element.childNodes].some(
        node => node.nodeType === 3 && node.textContent.trim());
    const blocks = [...document.querySelectorAll("section > *, body > *")];
    parent.postMessage(JSON.stringify({
        page: location.pathname.split("/").pop(), width: innerWidth,
        scroll: root.scrollWidth,
        wide: all.filter(element => element.getBoundingClientRect().right > innerWidth + 1).map(name),
        faint: all.filter(element => speaks(element) && contrast(element) < 4.5).map(name),
        small: all.filter(element => speaks(element)
            && parseFloat(getComputedStyle(element).fontSize) < 12).map(name),
        touching: blocks.filter(element => element.matches(".box, ol") && element.previousElementSibling
            && element.getBoundingClientRect().top
               - element.previousElementSibling.getBoundingClientRect().bottom < 4).map(name),
        ground: behind(document.body),
        gaps: [...document.querySelectorAll("li.missing")].map(element => {
            const box = getComputedStyle(element.firstElementChild);
            const line = getComputedStyle(element, "::after");
            return {border: box.borderTopStyle, thick: parseFloat(box.borderTopWidth),
                    height: element.getBoundingClientRect().height,
                    line: element.matches(".last") ? "dashed" : line.borderLeftStyle};
        }),
    }), "*");
});
"""

AROUND = """<!DOCTYPE html><title>around</title><pre id="told"></pre>
<script>
const told = [];
addEventListener("message", event => {
    told.push(JSON.parse(event.data));
    document.getElementById("told").textContent = JSON.stringify(told);
});
</script>
"""


@pytest.fixture(scope="module")
def pages(lab, tmp_path_factory):
    """Folder of the pages as the doctor wrote them, able to tell how they look."""
    folder = tmp_path_factory.mktemp("pages")
    doctor = Doctor(folder)
    for id in ("leaf_only", "extra", "mutual_incomplete_client"):
        scene = lab.scenes[id]
        extra = ["--cert", scene.client, "--key", scene.client_key] if scene.client else []
        doctor.check(scene, *extra, "--html", folder / f"{id}.html")
    own = Lab(scenarios=())
    own.issue("ca_wide", "root", ca=True, cn="W" * 64, days=3650.0)
    wide = own.peer("wide", "ca_wide", "leaf", cn="w" * 64,
                    ca_issuers=["http://127.0.0.1:9/" + "w" * 300]).backend
    with own:
        lines = [f"{lab.scenes[id].backend.address} {NAME}" for id in ("revoked", "good", "gap")]
        lines += ["x." * 120 + "invalid", "no host", f"{wide.address} {NAME}"]
        doctor("check", "--hosts", "-", "--cafile", own.pki["root"].cert_path, "--policy",
               policy_text(), "--html", folder / "list.html", "--quiet",
               stdin="\n".join(lines).encode())
    (folder / "original").mkdir()
    for page in folder.glob("*.html"):
        text = page.read_text()
        page.rename(folder / "original" / page.name)
        # Their own policy forbids scripts.
        text, num = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        assert num == 1
        page.write_text(text.replace("</body>", f"<script>{MEASURE}</script></body>"))
    return folder


def browse(folder, page, *options):
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         f"--user-data-dir={folder / 'profile'}", "--allow-file-access-from-files", *options,
         (folder / page).as_uri()], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module", params=SCHEMES)
def told(request, pages):
    """(colour scheme, what every page told at every width)."""
    names = sorted(page.name for page in pages.glob("*.html") if page.name != "around.html")
    frames = "".join(f'<iframe src="{name}" width="{width}" height="800" style="border:0"></iframe>\n'
                     for name in names for width in WIDTHS)
    (pages / "around.html").write_text(AROUND + frames)
    dom = browse(pages, "around.html", "--window-size=1400,900", "--virtual-time-budget=20000",
                 f"--blink-settings=preferredColorScheme={SCHEMES[request.param]}", "--dump-dom")
    found = json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', dom, re.S)[1]))
    assert sorted((page["page"], page["width"]) for page in found) == sorted(
        (name, width) for name in names for width in WIDTHS)
    return request.param, found


@pytest.mark.parametrize("what", ["wide", "faint", "small", "touching"])
def test_nothing_is(what, told):
    """wide: needs to be scrolled sideways; faint: contrast below WCAG's 4.5."""
    _, pages = told
    assert {(page["page"], page["width"]): page[what] for page in pages if page[what]} == {}
    if what == "wide":
        assert all(page["scroll"] <= page["width"] for page in pages)


def test_the_ground_is_of_the_scheme(told):
    scheme, pages = told
    assert all((page["ground"] < 0.1) == (scheme == "dark") for page in pages)


def test_the_gap_is_seen(told):
    _, pages = told
    for page in pages:
        if page["page"] == "leaf_only.html":
            assert len(page["gaps"]) == 2
        for gap in page["gaps"]:
            assert (gap["border"], gap["line"]) == ("dashed", "dashed")
            assert gap["thick"] >= 2 and gap["height"] > 40


def test_the_measure_measures(pages):
    """What must not be is found where it is."""
    bad = (pages / "leaf_only.html").read_text()
    assert "overflow-wrap:anywhere" in bad and "border:2px dashed" in bad
    bad = bad.replace("overflow-wrap:anywhere", "white-space:nowrap").replace(
        "--dim:#5a6675", "--dim:#eeeeee").replace("border:2px dashed", "border:1px solid").replace(
        "font-size:.85rem", "font-size:.5rem")
    folder = Path(pages / "bad")
    folder.mkdir(exist_ok=True)
    (folder / "bad.html").write_text(bad)
    (folder / "around.html").write_text(
        AROUND + '<iframe src="bad.html" width="390" height="800"></iframe>')
    dom = browse(folder, "around.html", "--window-size=1400,900", "--virtual-time-budget=20000",
                 "--dump-dom")
    page, = json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', dom, re.S)[1]))
    assert page["wide"] and page["faint"] and page["small"] and page["scroll"] > 390
    assert {gap["border"] for gap in page["gaps"]} == {"solid"}
