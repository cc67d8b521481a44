"""The site in headless Chromium: filters, sorting, both languages, a phone's width. `python -m tests.catalogue.browser`

Needs Chromium or Chrome on the path, which `make test` does not ask for: `make check-site` runs it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from diptych.catalogue import load
from diptych.catalogue.queries import Query, select
from diptych.catalogue.site import build

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE = 390
TOLD = re.compile(r"<title>told:([^<]*)</title>")


def browser() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        sys.exit(f"none of {', '.join(NAMES)} is on the path; install one (Debian: apt install chromium)")
    return found


def page(address: str) -> str:
    """The document after its scripts have run."""
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--virtual-time-budget=4000",
    )
    done = subprocess.run([browser(), *flags, "--dump-dom", address], capture_output=True, text=True, timeout=120)
    return done.stdout


def told(site: Path, name: str, script: str) -> str:
    """What a script finds on a page: the value of its last expression."""
    asked = site / Path(name).with_suffix(".asked.html")
    ending = (
        f"<script>addEventListener('load', () => {{ document.title = 'told:' + (() => {{ {script} }})(); }})</script>"
    )
    asked.write_text((site / name).read_text("utf-8").replace("</body>", f"{ending}</body>"), "utf-8")
    found = TOLD.search(page(asked.as_uri()))
    assert found, f"{name}: the script did not run"
    return found[1]


def filters(site: Path) -> None:
    """Rows that stay are those the catalogue selects."""
    catalogue = load()
    asked = {
        "models.html#paradigm=hybrid&here=yes": select(catalogue.models, Query({"paradigm": ["hybrid"]}, here=True)),
        "models.html#can=edit": select(catalogue.models, Query({"can": ["edit"]})),
        "benchmarks.html#here=yes": select(catalogue.benchmarks, Query(here=True)),
    }
    for language in ("en", "zh"):
        for address, expected in asked.items():
            name, _, wanted = address.partition("#")
            dom = page(f"{(site / language / name).as_uri()}#{wanted}")
            (shown,) = re.findall(r'id="count">(\d+)<', dom)
            assert int(shown) == len(expected) > 0, (language, address, shown, len(expected))
            print(f"{language} {address}: {shown} rows")


def sorting(site: Path) -> None:
    """The first click on a head of words sorts from the first, the next from the last."""
    script = (
        "const b = document.querySelector('table.sortable thead button');"
        "const rows = () => [...document.querySelectorAll('#records tbody tr')];"
        "const names = () => rows().map((r) => r.cells[0].textContent.trim());"
        "b.click(); const up = names(); b.click(); const down = names();"
        "const sorted = [...up].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));"
        "return [up.join() === sorted.join(), down.reverse().join() === up.join(), up.length].join(' ');"
    )
    count = len(load().models)
    found = told(site, "en/models.html", script)
    assert found == f"true true {count}", found
    print(f"sorting: {count} rows up and down")


def narrow(site: Path) -> None:
    """No page is wider than a phone."""
    pages = [
        "index",
        "models",
        "taxonomy",
        "timeline",
        "benchmarks",
        "datasets",
        "applications",
        "leaderboard",
        "about",
    ]
    pages += ["models/bagel", "benchmarks/geneval", "datasets/anyedit"]
    for language in ("en", "zh"):
        for name in pages:
            file = site / language / f"{name}.html"
            frame = f'<iframe src="{file.as_uri()}" style="width:{PHONE}px;height:800px;border:0"></iframe>'
            script = (
                "addEventListener('load', () => { const d = document.querySelector('iframe').contentDocument;"
                "document.title = 'told:' + d.documentElement.scrollWidth; });"
            )
            (site / "phone.html").write_text(f"<title></title>{frame}<script>{script}</script>", "utf-8")
            found = TOLD.search(page((site / "phone.html").as_uri()))
            assert found and int(found[1]) <= PHONE, f"{language}/{name} is {found and found[1]} pixels wide on a phone"
    print(f"{2 * len(pages)} pages fit {PHONE} pixels")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        build(load(), site)
        filters(site)
        sorting(site)
        narrow(site)


if __name__ == "__main__":
    main()
