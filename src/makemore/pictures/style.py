"""The look that pictures share with the report's page and its charts.

There is one accent, for the model or the best; grey is what it is compared with, ink is for words. Each reads on white
and on a dark page, where the ink of an SVG becomes that of the page; heat maps have transparency in place of white.
"""

from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap

ACCENT, GREY, INK = "#3a74d8", "#8a8f98", "#1c1e21"
# a darker accent, on which white can be read
_DEEP = "#2f62bd"
HEAT = LinearSegmentedColormap.from_list("heat", [(_DEEP + "00"), _DEEP])
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=[GREY, ACCENT]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "figure.titlesize": "medium",
    "grid.alpha": 0.3,
    "grid.color": "#808080",
    "legend.frameon": False,
    # text as text, in the font of the page that it stands in
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}
# the decorator of functions that draw
styled = matplotlib.rc_context(STYLE)


def ink_on(share: float) -> str:
    """Return the colour of words on a cell of a heat map, whose value is this share of the highest."""
    return "white" if share > 0.8 else INK
