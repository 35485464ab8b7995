"""Checks the playground in Chromium: typed into and clicked, at a desk and on a phone, with no request elsewhere."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import makemore
from browser.playground import serving
from makemore.playground.model_view import views_of

pytestmark = [pytest.mark.browser, pytest.mark.full]

DESK = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LOOKS = pytest.mark.parametrize("look", [DESK, PHONE], ids=["desk", "phone"])
Open = Callable[[dict[str, Any]], Page]


@pytest.fixture(scope="module")
def url(trained: Path) -> Iterator[str]:
    """The page of a run before and after, side by side."""
    paths = sorted((trained / "checkpoints").glob("step-*.ckpt"))
    with serving(views_of([makemore.load(paths[0]), makemore.load(paths[-1])])) as found:
        yield found


@pytest.fixture
def open_page(url: str, browser: Browser) -> Iterator[Open]:
    """Open the page, and see at the end that it was content and asked this machine alone."""
    complaints: list[str] = []
    requests: list[str] = []

    def opened(look: dict[str, Any]) -> Page:
        page = browser.new_page(**look)
        page.on("console", lambda message: complaints.append(message.text) if message.type != "info" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda response: complaints.append(response.url) if not response.ok else None)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        # both have been filled
        page.locator(".bars").first.wait_for()
        page.locator(".items").first.wait_for()
        return page

    yield opened
    assert complaints == []
    assert [each for each in requests if not each.startswith((f"{url}/", "data:", "blob:"))] == []


def bars(page: Page) -> str | None:
    return page.locator(".bars").first.get_attribute("aria-label")


@LOOKS
def test_each_letter_changes_the_page(look: dict[str, Any], open_page: Open) -> None:
    page = open_page(look)
    # two models side by side
    assert page.locator(".bars").count() == page.locator(".tree").count() == page.locator(".plane").count() == 2
    page.locator("#typed textarea").click()
    seen = {bars(page)}
    for count, letter in enumerate("emma", 2):
        page.keyboard.press(letter)
        expect(page.locator(".cells").first.locator(".cell")).to_have_count(count)
        seen.add(bars(page))
    assert len(seen) == 5
    expect(page.locator("article").first).to_contain_text("in the text")
    page.keyboard.press("Backspace")
    expect(page.locator(".cells").first.locator(".cell")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]
    edges = "all => Math.max(...all.map(each => each.getBoundingClientRect().right))"
    reach = page.locator(".models *, .form *, button").evaluate_all(edges)
    assert reach <= look["viewport"]["width"]


def test_bars_are_as_high_as_their_probability(open_page: Open) -> None:
    page = open_page(DESK)
    found = (
        page.locator(".bars")
        .first.locator("i")
        .evaluate_all("all => all.map(each => [parseFloat(each.style.height), each.getBoundingClientRect().height])")
    )
    shares, heights = zip(*found, strict=True)
    assert list(heights) == pytest.approx([share * max(heights) / 100 for share in shares], abs=1)
    # the number of the tallest does not cover the heading
    top, bottom = (
        page.locator(which).first.evaluate(f"each => each.getBoundingClientRect().{edge}")
        for which, edge in (('.bar:has(i[style="height:100.0%"]) .number', "top"), (".panels h3", "bottom"))
    )
    assert top >= bottom


@pytest.mark.slow
@LOOKS
def test_a_click_types_a_continuation_and_a_nearest_item(look: dict[str, Any], open_page: Open) -> None:
    page = open_page(look)
    leaf = page.locator(".tree .leaf").first
    typed = leaf.get_attribute("data-type") or ""
    leaf.click()
    expect(page.locator("#typed textarea")).to_have_value(typed)
    expect(page.locator(".cells").first.locator(".cell")).to_have_count(len(typed) + 1)
    nearest = page.locator(".near button").first
    item = nearest.get_attribute("data-type") or ""
    nearest.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#typed textarea")).to_have_value(item)


@pytest.mark.slow
@LOOKS
def test_items_are_made_up_as_the_controls_say(look: dict[str, Any], open_page: Open, trained: Path) -> None:
    page = open_page(look)
    page.locator("#typed textarea").fill("an")
    page.get_by_label("number input for Items").fill("7")
    page.get_by_label("Seed").fill("3")
    page.get_by_label("Unseen only").check()
    page.get_by_role("button", name="Make up").click()
    last = page.locator(".items").last
    expect(last.locator("li")).to_have_count(7)
    expected = makemore.load(trained).sample(7, seed=3, prompt="an", max_length=100, unseen=True)
    assert last.locator("button").evaluate_all("all => all.map(each => each.dataset.type)") == expected
    assert last.locator("li.new").count() == 7


@pytest.mark.slow
def test_what_is_wrong_is_a_line_and_markup_is_text(open_page: Open) -> None:
    page = open_page(DESK)
    page.locator("#typed textarea").fill("<img src=x onerror=document.title='owned'>")
    problem = page.locator(".problem").first
    expect(problem).to_contain_text(re.compile("the character '<' in .* is not in the vocabulary"))
    assert page.title() == "makemore playground"
    assert page.locator("article img").count() == 0
    page.locator("#typed textarea").fill("emma")
    expect(problem).to_have_count(0)


@pytest.mark.slow
def test_colours_follow_the_system(open_page: Open) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    grounds = [open_page({**DESK, "color_scheme": scheme}).evaluate(ground) for scheme in ("light", "dark")]
    assert grounds[0] != grounds[1]
