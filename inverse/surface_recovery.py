"""The whole inversion of a 4D-STEM set across a particle's edge: composition, phase, depth."""

from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.column_composition import CompositionOptions, measure_composition
from echolith.inverse.columns import find_columns
from echolith.inverse.filled_sites import displacements
from echolith.inverse.site_fit import SiteFitOptions, fit_sites
from echolith.inverse.site_lattice import sites_of
from echolith.inverse.surface_contents import expected_contents
from echolith.inverse.surface_phase import PhaseOptions, classify_surface, occupancies
from echolith.inverse.surface_segmentation import find_edge, surely_bulk
from echolith.inverse.wdd import wdd


class SurfaceSolver(Settings):
    """Options of the reference solver for surfaces."""

    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Regularisation of the Wigner-distribution deconvolution."""
    fit: SiteFitOptions = SiteFitOptions()
    composition: CompositionOptions = CompositionOptions()
    phase: PhaseOptions = PhaseOptions()


def recover_surface(measurement: xr.Dataset, *, options: SurfaceSolver | None = None) -> xr.Dataset:
    """Recover what every cation column holds, and which phase the surface is to which depth.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x) and ``haadf``, with the acquisition in
        its metadata; the scan reaches from the bulk across the edge into vacuum.
    options : SurfaceSolver, optional

    Returns
    -------
    xarray.Dataset
        As from `measure_composition` and `classify_surface`, with ``depth`` (Å) over ``column``;
        over ``framework`` (M and O) ``framework_x``, ``framework_y`` and their ``displacement_x``,
        ``displacement_y`` from the mean lattice with std (Å).

    Raises
    ------
    BadInputError
        If there is no dark field, no lattice of a layered oxide, or no edge in the field.
    """
    options = options or SurfaceSolver()
    if "haadf" not in measurement:
        raise BadInputError(
            "the measurement has no haadf; composition needs the simultaneous annular dark field"
        )
    reconstruction = wdd(measurement, epsilon=options.epsilon)
    found = find_columns(reconstruction["phase"], haadf=measurement["haadf"])
    sites = fit_sites(
        reconstruction,
        sites_of(found, reconstruction["phase"]),
        haadf=measurement["haadf"],
        options=options.fit,
    )
    composition, surface = composed_surface(sites, options=options)
    moved = displacements(sites).rename({"column": "framework", "x": "framework_x"})
    moved = moved.rename({"y": "framework_y"}).drop_vars(["site", "lattice_i", "lattice_j"])
    merged = xr.merge([composition, surface, moved], combine_attrs="drop_conflicts")
    return merged.drop_vars("tm_covariance")


def composed_surface(
    sites: xr.Dataset, *, options: SurfaceSolver | None = None
) -> tuple[xr.Dataset, xr.Dataset]:
    """Measure what columns hold, tell the phase of the surface, and measure again knowing it.

    What is not metal on a column may be lithium or nothing, which the signals tell badly; a phase
    tells it.

    Parameters
    ----------
    sites : xarray.Dataset
        From `fit_sites`.
    options : SurfaceSolver, optional

    Returns
    -------
    composition, surface : xarray.Dataset
        As from `measure_composition`, with ``depth`` (Å), and `classify_surface`.
    """
    options = options or SurfaceSolver()
    edge = find_edge(sites)
    bulk = surely_bulk(edge.depth(sites["x"], sites["y"]))
    composition = measure_composition(sites, bulk=bulk, options=options.composition)
    depth = edge.depth(composition["x"], composition["y"])
    composition = composition.assign(depth=("column", depth, {"units": "Å"}))
    surface = classify_surface(composition, edge_std=edge.std, options=options.phase)
    expected = expected_contents(composition, surface, options.phase)
    if expected is None:
        return composition, surface
    if "surface_depth" in surface:
        reached = float(surface["surface_depth"]) + 2 * float(surface["surface_width"])
        bulk |= edge.depth(sites["x"], sites["y"]) > reached
    else:
        bulk = np.ones_like(bulk)
    again = measure_composition(sites, bulk=bulk, expected=expected, options=options.composition)
    again = again.assign(depth=composition["depth"])
    return again, surface.assign(occupancies(again, surface))
