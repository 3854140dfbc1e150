"""Opens every page of a built site in a browser and checks it: `make check-site`, or

    python tests/check_site.py _build/html --shots _build/shots

For each page (of those that show the library's code, a few): no error on the console, no request to another host,
every link to another page or place of the site leads somewhere, no violation of WCAG 2 A and AA that axe finds (light,
dark, and at a phone's width), dark where dark is asked for, nothing wider than a phone, no more than 3 MB without zoom
tiles, no more than 60 MB by any choice that loads something on a click (``data-loads``). The site: no more than 150 MB.
Screenshots (desktop, phone, dark) are for people to look at, long pages in several pictures. Exits with 1 and one line
per problem. `test_site.py` uses the same functions.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

MB = 1_000_000
PAGE, ON_CLICK, SITE = 3 * MB, 60 * MB, 150 * MB
DESKTOP, PHONE = (1280, 900), (390, 844)
TALLEST = 14_000  # px of one screenshot: viewers give up on taller ones
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
CONTRAST = "color-contrast"
CODE_PAGES = ("index", "labels", "loop", "cli")
# Marks with data-look the first three elements with text of their own of each look: one may lie where axe cannot see
# what is behind it. What lies behind: the backgrounds from the element up to the first that is opaque. What axe does
# not measure stands for no look: hidden or disabled text, and single letters. The other words of code become plain
# text: a chapter has thousands of them, all in one of a dozen looks, and axe's time goes by elements.
THREE_OF_EACH_LOOK = """() => {
    document.querySelectorAll("[data-look]").forEach((e) => e.removeAttribute("data-look"));
    const seen = new Map(), opaque = (colour) => /^rgb\\(/.test(colour);
    for (const element of document.body.querySelectorAll("*")) {
        const text = [...element.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim().length > 1);
        const shown = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
        if (!text || !shown || element.closest("svg, script, style, :disabled, [aria-disabled=true]")) continue;
        const own = getComputedStyle(element);
        const look = [element.tagName, element.className, own.color, own.fontSize, own.fontWeight];
        for (let e = element; e; e = e.parentElement) {
            const { backgroundColor, backgroundImage, opacity } = getComputedStyle(e);
            look.push(backgroundColor, backgroundImage, opacity);
            if (opaque(backgroundColor)) break;
        }
        seen.set(look.join(), (seen.get(look.join()) ?? 0) + 1);
        if (seen.get(look.join()) <= 3) element.setAttribute("data-look", "");
    }
    for (const word of document.querySelectorAll(".highlight pre span:not([data-look], [id])")) {
        if (!word.children.length) word.replaceWith(word.textContent);
    }
    return seen.size;
}"""


def chromium() -> str | None:
    """A Chromium of this machine, or none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class _Addresses(HTMLParser):
    """Places of a page, addresses it links to and files it shows."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.files: list[str] = []
        self.on_click: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.ids |= {values.get("id", ""), values.get("name", "")} - {""}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("img", "script", "source", "iframe") and values.get("src"):
            self.files.append(values["src"])
        if values.get("data-loads"):
            self.on_click.append(values["data-loads"].split())
        if tag == "link" and "stylesheet" in values.get("rel", ""):
            self.files.append(values.get("href", ""))


def addresses(page: Path) -> _Addresses:
    parser = _Addresses()
    parser.feed(page.read_text("utf8"))
    return parser


def _inside(page: Path, address: str) -> tuple[Path, str] | None:
    """File and place that an address of the site means; None where it leads outside."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
    return target, unquote(parts.fragment)


def broken_links(site: Path) -> list[str]:
    """Links and files of the site that lead nowhere.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()).resolve()
    >>> _ = (folder / "a.html").write_text('<a href="b.html">b</a> <a href="#here">here</a> <p id="there">')
    >>> broken_links(folder)
    ['a.html: b.html', 'a.html: #here']
    """
    site = site.resolve()
    parsed = {page: addresses(page) for page in pages(site)}
    found = []
    for page, read in parsed.items():
        for address in dict.fromkeys([*read.links, *read.files, *chain(*read.on_click)]):
            inside = _inside(page, address)
            if inside is None or not address:
                continue
            target, place = inside
            missing = not target.exists()
            lost = place and target in parsed and place not in parsed[target].ids
            if missing or lost:
                found.append(f"{page.relative_to(site)}: {address}")
    return found


def pages(site: Path) -> list[Path]:
    """Pages of the site; redirections and what other pages load are left out."""
    found = [page for page in sorted(site.rglob("*.html"))
             if not {"_static", "_sources"} & set(page.relative_to(site).parts)]  # fmt: skip
    return [page for page in found if 'http-equiv="refresh"' not in page.read_text("utf8")[:300].lower()]


def looked_at(site: Path) -> list[Path]:
    """Pages that are opened: all of `pages`, but of those that show the library's code, which are made alike, a few."""
    return [page for page in pages(site) if "_modules" not in page.relative_to(site).parts or page.stem in CODE_PAGES]


def weight(page: Path) -> int:
    """Bytes of a page and its own pictures; what all pages share (scripts, styles, fonts) is not counted."""
    own = {target for address in addresses(page).files if (inside := _inside(page, address))
           for target in [inside[0]] if "_static" not in target.parts and target.exists()}  # fmt: skip
    return page.stat().st_size + sum(file.stat().st_size for file in own)


def on_click(page: Path) -> int:
    """Bytes that a page loads on a click, by the choice that loads most."""
    choices = [[(page.parent / address).stat().st_size for address in files] for files in addresses(page).on_click]
    return max(map(sum, choices), default=0)


@dataclass
class Watch:
    """A browser page, its errors and its requests to other hosts."""

    page: object
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("request", self._request)
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url[-120:]}"))

    def _request(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            self.outside.append(request.url)

    def open(self, path: Path, mode: str = "light") -> None:
        """Show a file of the site in light or dark colours, those of the theme's switch and of the system."""
        self.page.emulate_media(color_scheme=mode)
        self.page.add_init_script(
            f"try {{ localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}'); }} catch {{}}"
        )
        self.page.goto(path.resolve().as_uri(), wait_until="load")
        self.page.add_style_tag(
            content="*, *::before, *::after { animation: none !important; transition: none !important; }"
        )  # axe would measure colours half-way

    def open_view(self, path: Path, view: str) -> None:
        """Show a page of the book in one of its views, look or code."""
        self.page.goto(f"{path.resolve().as_uri()}?view={view}", wait_until="load")
        self.page.evaluate("async () => { await window.MathJax?.startup?.promise; }")

    def axe(self) -> list[str]:
        """What axe finds against WCAG 2 A and AA: the rule and the first element. Contrast: see `contrast`."""
        contrast = self.contrast()
        return self._axe({"type": "tag", "values": list(WCAG)}, rules={CONTRAST: {"enabled": False}}) + contrast

    def contrast(self) -> list[str]:
        """What axe finds of contrast on three elements of each look of the page.

        A look is tag, class, colour, size and weight of the text and what lies behind it. A chapter has thousands of
        words of code in some dozens of looks, and measuring each of them takes axe nine tenths of its time.
        """
        if not self.page.evaluate(THREE_OF_EACH_LOOK):
            return []
        return self._axe({"type": "rule", "values": [CONTRAST]}, context={"include": [["[data-look]"]]})

    def _axe(self, only: dict, context: dict | None = None, rules: dict | None = None) -> list[str]:
        from axe_playwright_python.sync_playwright import Axe

        # preloading would ask for style sheets
        options = {"resultTypes": ["violations"], "runOnly": only, "rules": rules or {}, "preload": False}
        found = Axe().run(self.page, context=context, options=options).response["violations"]
        return [f"{v['id']}: {v['help']}; {len(v['nodes'])} x, {_element(v['nodes'][0])}" for v in found]

    def shoot(self, path: Path, tallest: int = TALLEST) -> list[Path]:
        """Write the whole page as PNG files, from its top down: PATH, and PATH with -2, -3, ... where it is longer."""
        width, height = self.page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
        made = []
        for number, top in enumerate(range(0, height, tallest), start=1):
            made.append(path.with_stem(f"{path.stem}-{number}") if number > 1 else path)
            clip = {"x": 0, "y": top, "width": width, "height": min(tallest, height - top)}
            self.page.screenshot(path=str(made[-1]), full_page=True, clip=clip)
        return made

    def light(self) -> bool:
        """Whether the page's ground is light rather than dark."""
        return self.page.evaluate("""getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).slice(0, 3)
            .reduce((sum, value) => sum + +value, 0) > 3 * 127""")

    def too_wide(self) -> int:
        """Pixels by which the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def _element(node: dict) -> str:
    why = re.sub(r"\s+", " ", node.get("failureSummary", ""))
    return f"{' '.join(map(str, node['target']))} ({node['html'][:110]}) {why[:220]}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served_from(folder: Path) -> Iterator[str]:
    """Address of a folder on a web server: between two files Chromium may start anew, late with what it had stored."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def chrome() -> Iterator[object]:
    """A Chromium without windows: starting one takes longer than most of what it is asked."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def window_of(started: object, size: tuple[int, int] = DESKTOP, scale: float = 1) -> Iterator[Watch]:
    """A window of a Chromium that remembers nothing of others."""
    context = started.new_context(viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale)
    try:
        yield Watch(context.new_page())
    finally:
        context.close()


@contextmanager
def browser(size: tuple[int, int] = DESKTOP, scale: float = 1) -> Iterator[Watch]:
    """A window of a Chromium of its own, without network."""
    with chrome() as started, window_of(started, size, scale) as watch:
        yield watch


def look(watch: Watch, page: Path, name: str, shots: Path | None) -> list[str]:
    """Everything a browser can say about one page; its screenshots are called by its name in the site."""
    stem, problems = name.removesuffix(".html").replace("/", "-"), []
    for kind, size, mode in (("desktop", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "light")):
        watch.errors.clear()
        watch.outside.clear()
        watch.page.set_viewport_size({"width": size[0], "height": size[1]})
        watch.open(page, mode)
        if shots:
            shots.mkdir(parents=True, exist_ok=True)
            watch.shoot(shots / f"{stem}-{kind}.png")
        watch.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        problems += [f"{kind}: console: {error}" for error in watch.errors]
        problems += [f"{kind}: asks outside: {url}" for url in watch.outside]
        problems += [f"{kind}: {found}" for found in (watch.contrast() if kind == "dark" else watch.axe())]
        if kind == "dark" and watch.light():
            problems.append("dark: the page stays light")
        if kind == "phone" and watch.too_wide() > 0:
            problems.append(f"phone: {watch.too_wide()} px wider than the window")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Check every page of a built site in a browser.")
    parser.add_argument("site", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    arguments = parser.parse_args()
    if not (arguments.site / "index.html").exists():
        parser.error(f"expected a built site in {arguments.site}, got none: run make book first")
    if chromium() is None:
        parser.error("expected Chromium on this machine, got none: apt-get install chromium")
    problems = [f"broken link: {link}" for link in broken_links(arguments.site)]
    total = sum(file.stat().st_size for file in arguments.site.rglob("*") if file.is_file())
    if total > SITE:
        problems.append(f"the site weighs {total / MB:.0f} MB, more than {SITE / MB:.0f}")
    with browser() as watch:
        for page in looked_at(arguments.site):
            name = page.relative_to(arguments.site).as_posix()
            found = look(watch, page, name, arguments.shots)
            if weight(page) > PAGE:
                found.append(f"weighs more than {PAGE / MB:.0f} MB")
            if on_click(page) > ON_CLICK:
                found.append(f"loads {on_click(page) / MB:.0f} MB on a click, more than {ON_CLICK / MB:.0f}")
            print(f"{name:<32} {weight(page) / MB:5.2f} MB  {len(found)} problems", flush=True)
            problems += [f"{name}: {problem}" for problem in found]
    print(f"{total / MB:.0f} MB in all, {len(problems)} problems", *problems, sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
