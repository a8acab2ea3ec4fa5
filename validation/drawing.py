"""Drawing shared by all figures: style, colours, scale bars, images with units, inline SVG.

Figures are made through Matplotlib's objects, never through pyplot, so that nothing global is
left behind. Matplotlib is imported when the first figure is drawn.
"""

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Okabe and Ito's colours, told apart with every common colour vision deficiency.
ORANGE, SKY, PINK, GREEN, YELLOW = "#e69f00", "#56b4e9", "#cc79a7", "#009e73", "#f0e442"
ACCENT, SECOND = "#0072b2", "#d55e00"
INK, RULE = "#1f2a33", "#c5ccd3"
SPECIES_COLOURS = {"M": ORANGE, "O": SKY, "Li": PINK}

# In the report these follow the page, which is light, dark or printed.
PAGE_COLOURS = {
    INK: "currentColor",
    RULE: "var(--rule)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
}

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
}


@contextmanager
def style(**changes: Any) -> Iterator[None]:
    """Draw inside with the style of the house; Matplotlib's settings are put back after."""
    import matplotlib

    merged: Any = {**STYLE, **changes}
    with matplotlib.rc_context(merged):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of the given size in inches; call inside `style`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def small_multiples(count: int, *, height: float = 2.1) -> "tuple[Figure, list[Axes]]":
    """Return a figure of equal panels, four a row; call inside `style`.

    Parameters
    ----------
    count : int
        Panels, at least one.
    height : float
        Of one row, inches.
    """
    rows, columns = -(-count // 4), min(4, count)
    figure = new_figure(9.8, height * rows + (0.5 if rows == 1 else 0.0))
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]


def species_colour(species: str) -> str:
    """Return the colour of a species; unknown ones get a colour of their own by their name."""
    spare = (GREEN, YELLOW)
    return SPECIES_COLOURS.get(species, spare[sum(species.encode()) % len(spare)])


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the pixels of an image lie: centres of the first and last one, and the step."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]

    @classmethod
    def of(cls, image: xr.DataArray) -> "Grid":
        """Read the last two dims of an image, (y, x); pixel numbers where it has no coords."""
        y, x = (
            np.asarray(image[dim].values if dim in image.coords else np.arange(n), dtype=float)
            for dim, n in zip(image.dims[-2:], image.shape[-2:], strict=True)
        )
        return cls(x=x, y=y)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Outer borders (left, right, bottom, top) with row 0 at the top."""
        dx, dy = _step(self.x), _step(self.y)
        return (
            float(self.x[0] - dx / 2),
            float(self.x[-1] + dx / 2),
            float(self.y[-1] + dy / 2),
            float(self.y[0] - dy / 2),
        )

    @property
    def width(self) -> float:
        """Width of the field in the unit of the coords."""
        left, right, _, _ = self.extent
        return abs(right - left)

    @property
    def height(self) -> float:
        """Height of the field in the unit of the coords."""
        _, _, bottom, top = self.extent
        return abs(bottom - top)

    def nearest(self, x: float, y: float) -> tuple[int, int]:
        """Return the pixel (iy, ix) nearest to a position."""
        return int(np.abs(self.y - y).argmin()), int(np.abs(self.x - x).argmin())


def _step(axis: npt.NDArray[np.float64]) -> float:
    return float(axis[1] - axis[0]) if len(axis) > 1 else 1.0


def draw_image(
    axes: "Axes",
    image: xr.DataArray,
    *,
    colours: str = "gray",
    label: str | None = None,
    norm: "Normalize | None" = None,
    limits: tuple[float, float] | None = None,
) -> "AxesImage":
    """Draw an image (y, x) on its coords with a colour bar.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    image : xarray.DataArray
        Two dims, y first.
    colours : str
        Name of a colour map.
    label : str, optional
        Quantity and unit along the colour bar; without it there is no bar.
    norm : matplotlib.colors.Normalize, optional
        Other than linear.
    limits : tuple, optional
        Smallest and largest value shown; 0.5 and 99.5 % of the values by default.
    """
    values = np.asarray(image.values, dtype=float)
    if norm is None:
        low, high = limits or np.percentile(values, [0.5, 99.5])
        scale: dict[str, Any] = {"vmin": low, "vmax": high if high > low else low + 1}
    else:
        scale = {"norm": norm}
    shown = axes.imshow(
        values,
        cmap=colours,
        extent=Grid.of(image).extent,
        interpolation="none",
        aspect="equal",
        **scale,
    )
    if label is not None:
        assert axes.figure is not None
        beside = axes.inset_axes((1.025, 0, 0.045, 1))  # as tall as the image, whatever its shape
        bar = axes.figure.colorbar(shown, cax=beside, label=label)
        bar.outline.set_linewidth(0.5)
    return shown


def nice_length(width: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten within a quarter of a width.

    Examples
    --------
    >>> nice_length(16.0), nice_length(51.2), nice_length(8.5)
    (2.0, 10.0, 2.0)
    """
    power = 10.0 ** np.floor(np.log10(width / 4))
    return float(max(m * power for m in (1, 2, 5) if m * power <= width / 4 * (1 + 1e-9)))


def length_label(length: float) -> str:
    """Print a length in Å as people read it.

    Examples
    --------
    >>> length_label(5.0), length_label(20.0)
    ('5 Å', '2 nm')
    """
    return f"{length / 10:g} nm" if length >= 10 else f"{length:g} Å"


def scale_bar(axes: "Axes", *, left: float, bottom: float, width: float, height: float) -> None:
    """Draw a scale bar (lengths in Å) into the lower left corner of a field, y downwards."""
    from matplotlib.patches import Rectangle

    length = nice_length(width)
    x, y = left + 0.06 * width, bottom - 0.05 * height
    pad = 0.025 * width
    for corner, size, colour, alpha in (
        ((x - pad, y + pad), (length + 2 * pad, -0.12 * height), "black", 0.65),
        ((x, y), (length, -0.018 * height), "white", 1.0),
    ):
        axes.add_patch(
            Rectangle(corner, *size, facecolor=colour, alpha=alpha, linewidth=0, zorder=5)
        )
    axes.text(
        x + length / 2,
        y - 0.027 * height,
        length_label(length),
        color="white",
        ha="center",
        va="bottom",
        fontsize=8.5,
        fontweight="bold",
        zorder=6,
    )


def bare(axes: "Axes") -> None:
    """Take the upper and right border away."""
    axes.spines[["top", "right"]].set_visible(False)


def plain_ticks(axis: "Axis", places: Iterable[float] | None = None) -> None:
    """Print plain numbers along a logarithmic axis instead of powers of ten.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        Its limits are taken as they are.
    places : iterable of float, optional
        Where; by default round numbers within the limits.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = sorted(axis.get_view_interval())
    if places is None:
        decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        digits: tuple[float, ...] = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
        for most, coarser in ((3, (1, 1.5, 2, 3, 5, 7)), (30, (1, 2, 5)), (1000, (1,))):
            digits = coarser if high / low > most else digits
        places = [m * 10.0**p for p in decades for m in digits if low <= m * 10.0**p <= high]
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda value, _place: f"{value:,.10g}".replace(",", " "))
    )


def outline(width: float = 1.8, colour: str = "black") -> Any:
    """Return a path effect that sets light marks off from a light image."""
    from matplotlib.patheffects import withStroke

    return withStroke(linewidth=width, foreground=colour)


def inline_svg(figure: "Figure", name: str) -> str:
    """Return a figure as SVG for an HTML page: scales with it and takes its colours.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Prefix of every id, so that several figures fit on one page.

    Returns
    -------
    str
        One ``<svg>`` element that refers to nothing outside itself.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with style(**{"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(<svg[^>]*?)\swidth="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?)\sheight="[^"]*"', r"\1", text, count=1)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]*)', text))
    text = re.sub(r'\sid="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    for colour, page_colour in PAGE_COLOURS.items():
        text = re.sub(colour, page_colour, text, flags=re.IGNORECASE)
    return text
