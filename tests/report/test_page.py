"""Checks that a page needs nothing outside itself, and that what is on it is text to the browser."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest
from matplotlib.figure import Figure

from makemore.errors import UserError
from makemore.pictures.picture import Picture
from makemore.pictures.style import INK
from makemore.report.page import (
    Chart,
    CommandList,
    DataTable,
    Element,
    FactTable,
    Headline,
    NameList,
    Page,
    Paragraph,
    Section,
)

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"&\u2028"


class Tags(HTMLParser):
    """The elements of a page: their names and attributes, and the content of scripts."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.scripts += [""] * (tag == "script")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script" and self.scripts:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}))


def hostile_page() -> Page:
    figure = go.Figure(go.Scatter(x=[1], y=[2], name=HOSTILE, text=HOSTILE))
    drawn = Figure(figsize=(1, 1))
    drawn.text(0, 0, HOSTILE)
    elements: list[Element] = [
        Headline(HOSTILE, [(HOSTILE, HOSTILE)], HOSTILE),
        Paragraph(HOSTILE, warning=True),
        FactTable([(HOSTILE, HOSTILE)], HOSTILE),
        DataTable([HOSTILE], [[HOSTILE]]),
        Chart(HOSTILE, figure),
        Picture(HOSTILE, HOSTILE, drawn),
        NameList([(HOSTILE, True), (HOSTILE, False), (HOSTILE, None)], HOSTILE),
        CommandList([(HOSTILE, HOSTILE)]),
    ]
    return Page(HOSTILE, [Section(HOSTILE, elements, [Section(HOSTILE, elements)])])


@pytest.fixture(scope="module")
def rendered() -> str:
    return hostile_page().render()


def test_what_it_is_given_is_text(rendered: str) -> None:
    elements = Tags(rendered)
    assert not [attributes for tag, attributes in elements.found if tag == "img"]
    assert sum(tag == "svg" for tag, _ in elements.found) == 2
    assert not [attributes for _, attributes in elements.found if any(name.startswith("on") for name in attributes)]
    # a chart's JSON each, plotly, and what draws
    assert [attributes.get("type") for tag, attributes in elements.found if tag == "script"] == [
        "application/json",
        "application/json",
        None,
        None,
    ]


def test_nothing_is_fetched_and_only_its_own_scripts_run(rendered: str) -> None:
    elements = Tags(rendered)
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in elements.found}
    assert not [attributes for tag, attributes in elements.found if tag == "script" and "src" in attributes]
    (policy,) = [str(a["content"]) for tag, a in elements.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy
    allowed = re.findall("'sha256-([^']*)'", policy)
    own = elements.scripts[-2:]
    assert allowed == [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in own]


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    table = DataTable(["a", "b", "c", "d"], [["x", "1,234", "", "-0.5e3"], ["1", "inf", "2", "nan"]])
    assert table.numeric == {1, 2, 3}
    assert DataTable(["a"], []).numeric == set()


def test_a_name_of_nothing_and_an_endless_one_are_seen() -> None:
    page = Page("t", [Section("s", [NameList([("", False), ("a" * 1000, True)])])]).render()
    assert "(nothing)" in page
    assert f"{'a' * 59}…</li>" in page


def test_half_a_character_is_no_error(tmp_path: Path) -> None:
    Page("\ud800", [Section("s", [Chart("c", go.Figure(go.Scatter(name="\ud800")))])]).write(tmp_path / "p.html")
    assert "<title>?</title>" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_an_error_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="taken: cannot be written: "):
        Page("t", []).write(tmp_path / "taken")


def test_a_picture_is_in_the_ink_of_the_page_and_without_its_paper() -> None:
    figure = Figure(figsize=(1, 1))
    figure.text(0, 0, "words", color=INK)
    page = Page("t", [Section("s", [Picture("p", "A caption.", figure)])]).render()
    (svg,) = re.findall("<svg.*?</svg>", page.partition("plotly.js v")[0], re.DOTALL)
    assert "currentColor" in svg
    assert ">words</text>" in svg
    assert not any(part in svg for part in (INK, "#ffffff", "<metadata", "<style", "patch_1"))


def test_a_section_without_a_title_leads_and_is_not_in_the_list_of_sections() -> None:
    page = Page("t", [Section("", [Headline("So good.", [("2.0", "nats")])]), Section("Rest", [])]).render()
    page = page.partition("plotly.js v")[0]
    assert page.index("So good.") < page.index("<nav>") < page.index(">Rest</h2>")
    assert re.findall('<a href="#(.*?)">', page) == re.findall('<h2 id="(.*?)">', page) == ["part-2"]
