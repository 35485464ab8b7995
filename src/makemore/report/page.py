"""The elements of a report's page, and the page as one HTML file that loads nothing from elsewhere.

Everything that comes from a run (names, keys, messages, paths) is escaped by the template and, in pictures, by
matplotlib; the data of charts are JSON that no browser executes, and a Content-Security-Policy allows the page's own
two scripts and nothing else. Pictures are SVG in the page, so that their ink and their font are the page's.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from makemore.pictures.picture import Picture
from makemore.pictures.style import INK
from makemore.system.files import replacing, writing

_TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class Headline:
    """The answer: a sentence, a few numbers with what they are, and a remark."""

    sentence: str
    numbers: Sequence[tuple[str, str]] = ()
    remark: str = ""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text, or a highlighted warning."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class FactTable:
    """Names with their values; a table with a summary is folded under it."""

    rows: Sequence[tuple[str, str]]
    summary: str = ""


@dataclass(frozen=True)
class DataTable:
    """Headings, and rows of formatted cells."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def numeric(self) -> set[int]:
        """The indices of columns with nothing but numbers and empty cells, which are aligned to the right."""
        columns = enumerate(zip(*self.rows, strict=True))
        return {index for index, cells in columns if all(not cell or _is_number(cell) for cell in cells)}


@dataclass(frozen=True)
class Chart:
    """An interactive chart with its caption."""

    caption: str
    figure: go.Figure
    height: int = 440  # pixels


@dataclass(frozen=True)
class NameList:
    """Sampled items, each with whether the text contains it; None where the text is missing."""

    items: Sequence[tuple[str, bool | None]]
    caption: str = ""


@dataclass(frozen=True)
class CommandList:
    """Descriptions of commands, and the commands to paste into a shell."""

    rows: Sequence[tuple[str, str]]


Element = Headline | Paragraph | FactTable | DataTable | Chart | Picture | NameList | CommandList


@dataclass(frozen=True)
class Section:
    """A section of a page; its subsections follow its elements. One without a title leads, with the answer."""

    title: str
    elements: Sequence[Element] = ()
    subsections: Sequence["Section"] = ()


@dataclass(frozen=True)
class Page:
    """A report."""

    title: str
    sections: Sequence[Section]

    def render(self) -> str:
        """Return the page as HTML."""
        loader = jinja2.FileSystemLoader(_TEMPLATES)
        environment = jinja2.Environment(autoescape=True, loader=loader, trim_blocks=True, lstrip_blocks=True)
        environment.filters |= {"svg": _inline_svg, "chart": _chart_json}
        scripts = [Markup(get_plotlyjs()), Markup((_TEMPLATES / "draw.js").read_text(encoding="utf-8"))]
        digests = [f"'sha256-{_base64(hashlib.sha256(script.encode()).digest())}'" for script in scripts]
        facts = {"now": datetime.now().astimezone(), "version": version("makemore-lightning")}
        html = environment.get_template("page.html").render(page=self, scripts=scripts, digests=digests, **facts)
        # UTF-8 cannot encode an unpaired surrogate, which a name may contain
        return html.encode(errors="replace").decode()

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all; raise `UserError` if the path cannot be written."""
        content = self.render().encode()
        with writing(path), replacing(path) as file:
            file.write(content)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _inline_svg(picture: Picture) -> Markup:
    """Return the SVG of a picture without what is meant for a file, its paper among it, and in the ink of the page."""
    svg = picture.svg.decode()
    svg = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>|<g id="patch_1">.*?</g>', "", svg, flags=re.DOTALL)
    return Markup(svg[max(svg.find("<svg"), 0) :].replace(INK, "currentColor"))


def _chart_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON in which nothing ends the script element around it."""
    return jinja2.utils.htmlsafe_json_dumps(json.loads(figure.to_json(engine="json")), separators=(",", ":"))


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "").removesuffix("%"))
    except ValueError:
        return False
    return True
