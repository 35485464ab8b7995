"""Checks reports in Chromium: from disk, without a request, at a desk, on a phone and printed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fabricated
import pytest
from playwright.sync_api import Browser, Locator, Page

from browser.chromium import PATH, chromium
from makemore.pictures.picture import Picture

# what is on a page is checked by the tests of its parts; here, what a browser makes of it
pytestmark = [pytest.mark.browser, pytest.mark.full]

DESK = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
Open = Callable[[Path, dict[str, Any]], Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if PATH is None:
        pytest.skip("there is no Chromium or Chrome on this machine")
    with chromium() as started:
        yield started


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a page from disk, and see at the end that it was content and asked for nothing."""
    complaints: list[str] = []
    requests: list[str] = []

    def opened(path: Path, look: dict[str, Any]) -> Page:
        page = browser.new_page(**look)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{quote(str(path))}")
        for chart in page.locator(".chart").all():
            chart.locator(".xtick, .x2tick").first.wait_for(state="attached")
        return page

    yield opened
    assert complaints == []
    assert len([url for url in requests if url.startswith("file:///")]) == 1
    assert [url for url in requests if not url.startswith(("file:///", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def of_run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from makemore.report.write_report import write_report

    output = tmp_path_factory.mktemp("of run")
    with pytest.MonkeyPatch.context() as patch:
        # half the time of a picture, and no page shows it
        patch.setattr(Picture, "png", b"")
        write_report([trained], output)
    return output / "report.html"


@pytest.fixture(scope="module")
def of_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a sweep in which keys, values, names and messages are markup."""
    from makemore.report.write_report import write_report

    key, values = "a.</script><b>key</b>", ("<b>bold</b>", HOSTILE, "&amp;")
    jobs = [
        fabricated.job({key: value, "lr": lr}, 2 + lr, name=f"{place}{lr}<img src=x onerror=alert(1)>")
        for place, value in enumerate(values)
        for lr in (0.01, 0.1, 1.0)
    ]
    jobs.append(fabricated.job({key: "x", "lr": 0.1}, status="failed", message=HOSTILE, name="f"))
    sweep = fabricated.write(tmp_path_factory.mktemp("of sweep") / "<img src=x>", jobs)
    for each in jobs[:9]:
        curve = "".join(f"{step},{3 - step / 100}\n" for step in range(0, 100, 10))
        (sweep / each.name / "metrics.csv").write_text(f"step,val/nll\n{curve}")
    write_report([sweep])
    return sweep / "report.html"


def x_range(chart: Locator) -> list[float]:
    found: list[float] = chart.evaluate("chart => chart._fullLayout.xaxis.range.slice()")
    return found


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for what a chart does a moment later; the page's policy stops Playwright's own way, which is `eval`."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(50)
    pytest.fail("it did not come to that in ten seconds")


def middle_of(chart: Locator) -> tuple[float, float]:
    """The place of the drawing area's middle in the window."""
    chart.scroll_into_view_if_needed()
    box = chart.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_run_at_a_desk(of_run: Path, open_page: Open) -> None:
    page = open_page(of_run, DESK)
    # three splits of the run, and of the reference row
    assert page.locator("table.rows tbody tr").count() == 6
    chart = page.locator(".chart")
    assert chart.count() == 1
    assert chart.locator("svg .scatterlayer .trace").count() == 5
    x, y = middle_of(chart)
    page.mouse.move(x, y)
    page.locator(".chart .hoverlayer .legend").get_by_text("smoothed").wait_for()
    before = x_range(chart)
    page.mouse.move(x - 100, y)
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=5)
    page.mouse.up()
    until(page, lambda: x_range(chart)[0] > before[0])
    low, high = x_range(chart)
    assert before[0] < low < high < before[1]
    assert any(is_reset_by_double_click(page, chart, before) for _ in range(5))


def is_reset_by_double_click(page: Page, chart: Locator, before: list[float]) -> bool:
    """Double-click; two clicks that a busy machine takes 0.3 s apart are none to the chart."""
    page.mouse.dblclick(*middle_of(chart))
    for _ in range(40):
        page.wait_for_timeout(50)
        if x_range(chart) == before:
            return True
    return False


@pytest.mark.slow
def test_all_pictures_are_there_with_what_they_show(of_run: Path, open_page: Open) -> None:
    page = open_page(of_run, DESK)
    pictures = page.locator(".picture [role=img]")
    # the curve is a chart
    assert pictures.count() == len(list((of_run.parent / "pictures").glob("*.png"))) - 1 > 5
    assert pictures.evaluate_all(
        "all => all.every(one => one.ariaLabel && one.querySelector('svg').clientWidth > 200"
        " && one.querySelectorAll('text').length > 3)"
    )
    # the ink of a picture is the page's, in the dark too
    colour = "[getComputedStyle(document.querySelector('.picture text')).fill, getComputedStyle(document.body).color]"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ink, words = page.evaluate(colour)
        assert ink == words


def test_a_run_on_a_phone(of_run: Path, open_page: Open) -> None:
    page = open_page(of_run, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    chart = page.locator(".chart")
    page.touchscreen.tap(*middle_of(chart))
    page.locator(".chart .hoverlayer .legend").get_by_text("smoothed").wait_for()
    before = x_range(chart)
    chart.locator('[data-title="Zoom in"]').tap()
    until(page, lambda: x_range(chart)[0] > before[0])
    # the NLL of the last split is in sight, and a picture that is tapped grows, and returns
    box = page.locator("table.rows td.number").first.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] < 390
    # the facts are whole, and only long tables scroll
    hidden = "all => all.map(one => one.parentElement.scrollHeight - one.parentElement.clientHeight)"
    assert set(page.locator("table.facts").evaluate_all(hidden)) == {0}
    picture = page.locator(".picture").first
    width = "document.querySelector('.picture svg').clientWidth"
    small = page.evaluate(width)
    picture.tap()
    assert page.evaluate(width) > 2 * small
    picture.tap()
    assert page.evaluate(width) == small


@pytest.mark.parametrize("look", [DESK, PHONE], ids=["desk", "phone"])
def test_the_answer_is_on_the_first_screen(look: dict[str, Any], of_run: Path, open_page: Open) -> None:
    page = open_page(of_run, look)
    for part in (".headline", ".numbers", ".numbers + p", ".made li:last-child"):
        box = page.locator(part).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= look["viewport"]["height"]


@pytest.mark.slow
def test_no_button_sends_a_chart_away(of_run: Path, open_page: Open) -> None:
    page = open_page(of_run, DESK)
    page.locator(".chart").hover()
    titles = page.locator(".chart .modebar-btn").evaluate_all("all => all.map(one => one.dataset.title)")
    assert set(titles) == {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}
    with page.expect_download() as download:
        page.locator('.chart [data-title^="Download"]').click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "look", [pytest.param(DESK, id="desk"), pytest.param(PHONE, id="phone", marks=pytest.mark.slow)]
)
def test_a_sweep_and_markup_in_its_keys_values_and_messages(
    look: dict[str, Any], of_sweep: Path, open_page: Open
) -> None:
    page = open_page(of_sweep, look)
    assert page.title() == "Sweep <img src=x>"
    assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]
    assert page.locator("table.rows").nth(1).locator("tbody tr").count() == 10
    # a chart a key, all keys together, and the curves
    assert page.locator(".chart").count() == 4
    assert page.locator("table.rows").nth(1).locator("td", has_text=HOSTILE).count() == 3
    assert page.locator("p", has_text=f"f: {HOSTILE}").count() == 1
    assert "<b>bold</b>" in page.locator(".chart").first.locator(".xaxislayer-above").text_content()
    assert page.locator(".chart").nth(2).locator(".scatterlayer .trace").count() == 9
    assert page.locator("img").count() == 0


@pytest.mark.slow
def test_a_line_of_all_keys_tells_its_job(of_sweep: Path, open_page: Open) -> None:
    page = open_page(of_sweep, DESK)
    chart = page.locator(".chart").nth(2)
    chart.scroll_into_view_if_needed()
    box = chart.locator(".nsewdrag").bounding_box()
    assert box is not None
    # the best, at the lower end of the last axis
    low, high = x_range(chart)
    page.mouse.move(box["x"] + box["width"] * (2 - low) / (high - low), box["y"] + box["height"] * (1.06 / 1.12))
    label = chart.locator(".hoverlayer .hovertext")
    label.wait_for()
    assert "NLL 2.0100000" in (label.text_content() or "")
    assert "lr=0.01" in (label.text_content() or "")


def test_a_dark_page_is_printed_as_ink_on_paper(of_run: Path, open_page: Open) -> None:
    page = open_page(of_run, {**DESK, "color_scheme": "dark"})
    colour = "getComputedStyle(document.querySelector('.chart .x2tick text')).fill"
    light = page.evaluate(colour)
    width = "document.querySelector('.chart svg').clientWidth"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = [{colour}, {width}]; }})")
    assert page.pdf(format="A4").startswith(b"%PDF")
    ink, printed = page.evaluate("window.printed")
    assert ink == "rgb(28, 30, 33)" != light
    assert printed <= 680
    assert page.evaluate(colour) == light
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_charts_side_by_side_are_printed_whole(of_sweep: Path, open_page: Open) -> None:
    page = open_page(of_sweep, DESK)
    halves = "document.querySelectorAll('figure:not(:only-child) > .chart')"
    widths = f"[...{halves}].map(each => each.querySelector('svg').clientWidth)"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {widths}; }})")
    page.pdf(format="A4")
    # of 680 pixels between the margins
    assert {0 < width <= 340 for width in page.evaluate("window.printed")} == {True}


def test_labels_on_lines_have_the_ground_of_the_page(of_sweep: Path, open_page: Open) -> None:
    page = open_page(of_sweep, {**DESK, "color_scheme": "dark"})
    fill = "getComputedStyle(document.querySelector('.annotation .bg')).fill"
    of_label, of_page = page.evaluate(f"[{fill}, getComputedStyle(document.body).backgroundColor]")
    assert of_label == of_page


def test_rows_of_jobs_are_one_line_on_a_phone_and_many_curves_have_no_legend(of_sweep: Path, open_page: Open) -> None:
    page = open_page(of_sweep, PHONE)
    curves = page.locator(".chart").filter(has=page.locator(".xtitle", has_text="step"))
    assert curves.locator(".scatterlayer .trace").count() == 9
    assert curves.locator(".infolayer .legend").count() == 0
    names = page.locator("table.rows").nth(1).locator("tbody td:last-child:not(.message, .number)")
    assert set(names.evaluate_all("all => all.map(one => getComputedStyle(one).whiteSpace)")) == {"nowrap"}
