"""Checks the pictures: what is drawn against what, that nothing needs a display, and that a file comes of it."""

import io
import subprocess
import sys

import numpy as np
import pytest

from makemore.plots import learning_rate_range

RATES = [0.001, 0.01, 0.1, 1.0]
LOSSES = [3.3, 3.0, 2.5, 9.0]


def test_the_loss_is_drawn_against_the_rate_and_against_its_exponent() -> None:
    by_rate, by_exponent = learning_rate_range(RATES, LOSSES).axes
    (rate_line,), (exponent_line,) = by_rate.lines, by_exponent.lines
    assert list(rate_line.get_xdata()) == RATES
    assert list(exponent_line.get_xdata()) == pytest.approx([-3, -2, -1, 0])
    assert list(rate_line.get_ydata()) == list(exponent_line.get_ydata()) == LOSSES


def test_axes_say_what_they_show_and_share_the_loss() -> None:
    by_rate, by_exponent = learning_rate_range(RATES, LOSSES).axes
    assert "learning rate" in by_rate.get_xlabel()
    assert "exponent" in by_exponent.get_xlabel()
    assert "NLL" in by_rate.get_ylabel()
    assert by_rate.get_ylim() == by_exponent.get_ylim()


@pytest.mark.parametrize("losses", [LOSSES, [3.3, 3.0, np.inf, np.nan]], ids=["finite", "exploded"])
def test_a_picture_can_be_saved(losses: list[float]) -> None:
    buffer = io.BytesIO()
    learning_rate_range(RATES, losses).savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG\r\n\x1a\n")


def test_drawing_needs_no_display_and_no_pyplot() -> None:
    program = (
        "import io, sys\n"
        "from makemore.plots import learning_rate_range\n"
        "learning_rate_range([0.1, 1.0], [3.0, 2.0]).savefig(io.BytesIO())\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "MPLBACKEND": "TkAgg"}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
