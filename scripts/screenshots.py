"""Take the README's screenshots in headless Chromium: python scripts/screenshots.py LOGS REPORT_HTML MODEL...

TensorBoard's Custom Scalars page over LOGS goes to docs/tensorboard.png, the top of the report to docs/report.png, the
playground of the models to docs/playground.png. It needs the dev extra and Chromium or Chrome.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from makemore.cli.command import exit_on_error
from makemore.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIDTH, HEIGHT = 1280, 780


def main(arguments: argparse.Namespace) -> None:
    """Start TensorBoard, a playground and a browser, and take the screenshots."""
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
        take_playground(browser, arguments.models)
    print(*(DOCS / f"{name}.png" for name in ("tensorboard", "report", "playground")), sep="\n")


def take_playground(browser: "Browser", models: list[str]) -> None:
    """Type a beginning into the page of some models."""
    from browser.playground import serving
    from makemore.cli.finding import load_models
    from makemore.playground.model_view import views_of

    with serving(views_of(load_models(models, 1))) as url:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        page.locator(".bars").first.wait_for()
        page.locator(".items").first.wait_for()
        page.locator("#typed textarea").fill("emma")
        page.locator(".cell").nth(4).wait_for()
        page.get_by_role("button", name="Make up").click()
        page.locator('.items [data-type^="emma"]').first.wait_for()
        page.screenshot(path=DOCS / "playground.png", full_page=True)


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, metavar="LOGS", help="the directory that TensorBoard shows")
    parser.add_argument("report", type=Path, metavar="REPORT_HTML", help="a page written by scripts/report.py")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="the run of a model, or its checkpoint")
    return parser.parse_args()


if __name__ == "__main__":
    with exit_on_error():
        main(parsed())
