"""Opens pages in headless Chromium and checks what a reader would see: python3 check.py PAGE...

At widths of 1280 and 400 pixels, dark, light and for print: no message on the console, nothing that scrolls to the
side, text that stands out from its background, and figures with numbers for the pointer. Needs `chromedriver` and
Chromium (Debian: chromium, chromium-driver), and nothing of Python but its standard library.
"""

import base64
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

WIDTHS = [1280, 400]
SCHEMES = ["light", "dark"]
# Arguments that keep Chromium from the network, which a page must not need.
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
# The least contrast of text and page by WCAG 2, and the luminance of the page.
CONTRAST = """
const light = (color) => {
  const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
// The page itself has the colours of the system: those of a field show them.
const field = document.createElement("div");
field.style = "background: Canvas; color: CanvasText";
document.body.append(field);
const page = getComputedStyle(field);
const back = light(page.backgroundColor);
const worst = Math.min(...[...document.querySelectorAll("h1, h2, p, td, th, dd, li, a, figcaption")].map((e) => {
  const front = light(getComputedStyle(e).color);
  return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
}));
field.remove();
return [worst, back];
"""


class Browser:
    """A session of chromedriver."""

    def __init__(self):
        self.session = ""
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in self.process.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                self.address = f"http://127.0.0.1:{found[1]}"
                break
        else:
            sys.exit("chromedriver did not start")

    def begin(self, profile):
        options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = "/session/" + self.post("/session", capabilities={"alwaysMatch": wanted})["sessionId"]

    def post(self, path, **body):
        request = urllib.request.Request(self.address + self.session + path, json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            sys.exit(f"chromedriver: {path}: {json.load(error)['value']['message']}")

    def tell(self, command, **params):
        return self.post("/goog/cdp/execute", cmd=command, params=params)

    def script(self, text):
        return self.post("/execute/sync", script=text, args=[])

    def show(self, page, width, media="", scheme="light"):
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.tell("Emulation.setEmulatedMedia", media=media, features=features)
        self.post("/url", url=page.resolve().as_uri())

    def faults(self):
        """Messages on the console since the last call."""
        return [entry["message"] for entry in self.post("/se/log", type="browser")]

    def end(self):
        self.process.terminate()
        self.process.wait()


def check(browser, page):
    """The faults of a page."""
    found = []
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for width, scheme in itertools.product(WIDTHS, SCHEMES):
        browser.show(page, width, scheme=scheme)
        where = f"{page}, {width} pixels, {scheme}"
        found += [f"{where}: console: {message}" for message in browser.faults()]
        if (over := browser.script(overflow)) > 0:
            found.append(f"{where}: scrolls {over} pixels to the side")
        contrast, back = browser.script(CONTRAST)
        if contrast < 4.5:
            found.append(f"{where}: contrast of text is {contrast:.1f}, expected at least 4.5")
        if (back < 0.2) != (scheme == "dark"):
            found.append(f"{where}: the background has a luminance of {back:.2f}")
    # A sheet of A4 without margins of 1 cm is 718 pixels wide.
    browser.show(page, 718, media="print")
    if (over := browser.script(overflow)) > 0:
        found.append(f"{page}: in print it is {over} pixels too wide")
    if not base64.b64decode(browser.post("/print")).startswith(b"%PDF-"):
        found.append(f"{page}: printing gave no PDF")
    browser.show(page, 1280)
    # Stored drawings, which have a PNG to save, may be of a time before there were such numbers.
    silent = "return document.querySelectorAll('figure:not(:has(a[download], svg image, svg rect > title))').length"
    if n := browser.script(silent):
        found.append(f"{page}: {n} figures show no numbers under the pointer")
    if not browser.script("return document.querySelectorAll('h1, h2').length > 1"):
        found.append(f"{page}: it has no headings")
    return found


def main():
    pages = [pathlib.Path(name) for name in sys.argv[1:]]
    if not pages:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser()
        try:
            browser.begin(profile)
            found = [fault for page in pages for fault in check(browser, page)]
        finally:
            browser.end()
    print("\n".join(found) or f"{len(pages)} pages are sound")
    sys.exit(bool(found))


main()
