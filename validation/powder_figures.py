"""The picture of a refinement: observed and calculated pattern, and their difference."""

from typing import TYPE_CHECKING

import numpy as np

from echolith.validation.drawing import ACCENT, INK, SECOND, bare, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent


def pattern(content: "ReportContent") -> "Figure | None":
    """Draw a powder pattern, what was refined to it, and the difference in standard deviations."""
    counts = content.measurement.get("counts")
    found = content.estimate
    if counts is None or counts.dims != ("two_theta",) or "calculated" not in found:
        return None
    angles, observed = counts["two_theta"].values, np.maximum(counts.values.astype(float), 0)
    calculated = found["calculated"].values
    with style():
        figure = new_figure(9.8, 4.6)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot(angles, observed, color=INK, alpha=0.45, linewidth=1.6, label="observed")
        above.plot(angles, calculated, color=ACCENT, linewidth=0.8, label="calculated")
        if "background" in found:
            above.plot(
                angles,
                np.maximum(found["background"], 0),
                color=SECOND,
                linewidth=0.8,
                label="background",
            )
        # Roots of counts have one noise everywhere, so that weak lines are seen beside strong ones.
        above.set_yscale("function", functions=(np.sqrt, np.square))
        above.set(ylabel="photons", ylim=(0, None))
        above.legend(loc="upper right")
        difference = (observed - calculated) / np.sqrt(np.maximum(calculated, 1.0))
        below.plot(angles, difference, color=INK, linewidth=0.6)
        below.axhline(0, color=ACCENT, linewidth=0.6)
        below.set(xlabel="2 theta (°)", ylabel="difference (σ)", xlim=(angles[0], angles[-1]))
        for axes in (above, below):
            bare(axes)
    return figure
