"""Take the README's screenshots in headless Chromium: python scripts/screenshots.py LOGS REPORT_HTML.

TensorBoard's Custom Scalars page over LOGS goes to docs/tensorboard.png, the top of the report to docs/report.png. It
needs the dev extra and Chromium or Chrome.
"""

import argparse
import shutil
from pathlib import Path

from makemore.cli.command import one_line
from makemore.errors import UserError

DOCS = Path(__file__).resolve().parents[1] / "docs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
WIDTH, HEIGHT = 1280, 780


def main(arguments: argparse.Namespace) -> None:
    """Start TensorBoard and a browser, and take both screenshots."""
    from playwright.sync_api import sync_playwright
    from tensorboard.program import TensorBoard

    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise UserError(f"there is none of {', '.join(BROWSERS)} here; install one")
    for path in (arguments.logs, arguments.report):
        if not path.exists():
            raise UserError(f"{path}: no such file or directory")
    tensorboard = TensorBoard()
    tensorboard.configure(logdir=str(arguments.logs), host="127.0.0.1", port=0)
    url = tensorboard.launch()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{url}#custom_scalars")
        # a line of a chart appears when its data are loaded
        page.locator("vz-line-chart2 path.line").first.wait_for(state="attached", timeout=60_000)
        page.wait_for_load_state("networkidle")
        # lines are animated
        page.wait_for_timeout(3000)
        page.screenshot(path=DOCS / "tensorboard.png")
        page.goto(arguments.report.resolve().as_uri())
        page.locator(".chart .x2tick, .chart .xtick").first.wait_for(state="attached")
        page.screenshot(
            path=DOCS / "report.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": 2000}, full_page=True
        )
        browser.close()
    print(DOCS / "tensorboard.png", DOCS / "report.png", sep="\n")


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, metavar="LOGS", help="the logs for tensorboard --logdir")
    parser.add_argument("report", type=Path, metavar="REPORT_HTML", help="written by scripts/report.py")
    return parser.parse_args()


if __name__ == "__main__":
    with one_line():
        main(parsed())
