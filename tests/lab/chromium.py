"""What people see: pages in headless Chromium, with a profile of its own."""
import html
import json
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = "/usr/bin/chromium"
DESKTOP, PHONE = (1280, 900), (390, 844)


@contextmanager
def _command(size, dark):
    profile = tempfile.mkdtemp(prefix="strict-tls-chromium-")
    try:
        yield [CHROMIUM, "--headless=old", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               "--no-first-run", "--disable-background-networking", "--disable-component-update",
               "--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}",
               f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=2000",
               *(["--blink-settings=preferredColorScheme=0"] if dark else [])]
    finally:
        shutil.rmtree(profile, ignore_errors=True)


def _run(command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"chromium: {done.stderr[-2000:]}")
    return done.stdout


def screenshot(url, path, *, size=DESKTOP, dark=False):
    with _command(size, dark) as command:
        _run([*command, f"--screenshot={path}", url])
    return Path(path)


def measure(page, *, size=DESKTOP, dark=False):
    """What a script of the test's own finds out about a page (text) once it is laid out.

    widest: how far the widest element reaches; colors: text and background of the body; boxes:
    how many visible boxes there are of each kind of chain link; loaded: everything fetched.
    """
    script = """<pre id="measured"></pre><script>
    document.querySelectorAll('details').forEach(d => d.open = true);
    const of = q => [...document.querySelectorAll(q)].filter(e => e.getClientRects().length).length;
    const body = getComputedStyle(document.body);
    const fonts = [...document.querySelectorAll('body *')].filter(e => e.id != 'measured'
        && e.childElementCount == 0 && e.textContent.trim() && e.getClientRects().length)
        .map(e => parseFloat(getComputedStyle(e).fontSize));
    document.getElementById('measured').textContent = JSON.stringify({
        width: document.documentElement.clientWidth,
        widest: Math.max(...[...document.querySelectorAll('body *')].map(e => e.getBoundingClientRect().right)),
        text: body.color, background: body.backgroundColor, smallest: Math.min(...fonts),
        missing: of('li.missing'), sent: of('li.sent'), root: of('li.root'),
        scripts: document.scripts.length, images: document.images.length,
        gap: [...document.querySelectorAll('li.missing > .box')].map(e => getComputedStyle(e).borderTopStyle),
        loaded: performance.getEntriesByType('resource').map(e => e.name)});
    </script>"""
    with tempfile.NamedTemporaryFile("w", suffix=".html") as file, _command(size, dark) as command:
        file.write(page.replace("</body>", script + "</body>"))
        file.flush()
        dom = _run([*command, "--dump-dom", f"file://{file.name}"])
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.S)
    return json.loads(html.unescape(found[1]))
