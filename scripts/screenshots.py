"""Take the README's screenshots in headless Chromium: python scripts/screenshots.py LOGS REPORT_HTML.

TensorBoard's Custom Scalars page over LOGS goes to docs/tensorboard.png, the top of the report to docs/report.png. It
needs the dev extra and Chromium or Chrome.
"""

import argparse
from pathlib import Path

from makemore.cli.command import exit_on_error
from makemore.errors import UserError

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIDTH, HEIGHT = 1280, 780


def main(arguments: argparse.Namespace) -> None:
    """Start TensorBoard and a browser, and take both screenshots."""
    from browser.chromium import chromium
    from browser.tensorboard import tensorboard

    for path in (arguments.logs, arguments.report):
        if not path.exists():
            raise UserError(f"{path}: no such file or directory")
    with chromium() as browser, tensorboard(arguments.logs) as url:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{url}/#custom_scalars")
        # a line of a chart is drawn when its data are there
        page.locator("vz-line-chart2 path.line").first.wait_for(state="attached", timeout=60_000)
        page.wait_for_load_state("networkidle")
        # lines move into place
        page.wait_for_timeout(3000)
        page.screenshot(path=DOCS / "tensorboard.png")
        page.goto(arguments.report.resolve().as_uri())
        page.locator(".chart .x2tick, .chart .xtick").first.wait_for(state="attached")
        page.screenshot(path=DOCS / "report.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": 900}, full_page=True)
    print(DOCS / "tensorboard.png", DOCS / "report.png", sep="\n")


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, metavar="LOGS", help="the directory that TensorBoard shows")
    parser.add_argument("report", type=Path, metavar="REPORT_HTML", help="a page written by scripts/report.py")
    return parser.parse_args()


if __name__ == "__main__":
    with exit_on_error():
        main(parsed())
