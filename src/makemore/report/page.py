"""What is on a page, and how it becomes one HTML file that needs nothing outside it: no network, no server.

Whatever comes from a run (names, keys, messages, paths) is text to the browser: the template escapes it, charts are
JSON that no browser runs, and a Content-Security-Policy lets the page's own two scripts run and nothing else.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from makemore.files import replacing, writing

_TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class Note:
    """A sentence; a warning is seen at once."""

    kind: ClassVar[str] = "note"
    text: str
    warning: bool = False


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str]]
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells as they are shown."""

    kind: ClassVar[str] = "table"
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def numeric(self) -> set[int]:
        """The columns that have numbers and empty cells alone, which stand to the right."""
        columns = enumerate(zip(*self.rows, strict=True))
        return {place for place, cells in columns if all(not cell or _is_number(cell) for cell in cells)}


@dataclass(frozen=True)
class Chart:
    """A chart that one can hover over and zoom into."""

    kind: ClassVar[str] = "chart"
    caption: str
    figure: go.Figure


@dataclass(frozen=True)
class Image:
    """A picture as the bytes of a PNG."""

    kind: ClassVar[str] = "image"
    caption: str
    png: bytes


@dataclass(frozen=True)
class Names:
    """Made-up items, each with whether the text has it too; None where the text is gone."""

    kind: ClassVar[str] = "names"
    items: Sequence[tuple[str, bool | None]]


@dataclass(frozen=True)
class Commands:
    """What commands do, and the lines that one pastes into a shell."""

    kind: ClassVar[str] = "commands"
    rows: Sequence[tuple[str, str]]


Block = Note | Facts | Table | Chart | Image | Names | Commands


@dataclass(frozen=True)
class Section:
    """A part of a page; its own parts come after its blocks."""

    title: str
    blocks: Sequence[Block] = ()
    parts: Sequence["Section"] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """A report: `made` says of what, when and by which program."""

    title: str
    made: str
    sections: Sequence[Section]

    def render(self) -> str:
        """Return the page as HTML."""
        loader = jinja2.FileSystemLoader(_TEMPLATES)
        environment = jinja2.Environment(autoescape=True, loader=loader, trim_blocks=True, lstrip_blocks=True)
        environment.filters |= {"base64": _base64, "chart": _chart, "groupby_images": _images_together}
        scripts = [Markup(get_plotlyjs()), Markup((_TEMPLATES / "draw.js").read_text(encoding="utf-8"))]
        digests = [f"'sha256-{_base64(hashlib.sha256(script.encode()).digest())}'" for script in scripts]
        html = environment.get_template("page.html").render(page=self, scripts=scripts, digests=digests)
        # a name may have halves of a character, which UTF-8 has no bytes for
        return html.encode(errors="replace").decode()

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all.

        Raises:
            UserError: the path cannot be written.
        """
        content = self.render().encode()
        with writing(path), replacing(path) as file:
            file.write(content)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _chart(figure: go.Figure) -> Markup:
    """Return a figure as JSON in which nothing ends the script element that it stands in."""
    plain = json.loads(figure.to_json())
    return jinja2.utils.htmlsafe_json_dumps(plain, separators=(",", ":"))


def _images_together(blocks: Sequence[Block]) -> list[tuple[bool, list[Block]]]:
    """Return blocks in groups of neighbours that are pictures, or are none: pictures stand beside each other."""
    return [(images, list(group)) for images, group in groupby(blocks, lambda block: isinstance(block, Image))]


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ""))
    except ValueError:
        return False
    return True
