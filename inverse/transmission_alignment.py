"""What ptychography leaves free, taken out of one reconstruction against another.

A constant phase, a phase plane (the probe takes up the opposite one) and a shift (probe or
positions do) change no frame: O(r) and O(r - s) exp(i (a + b r)) are one measurement.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError

Complex = npt.NDArray[np.complex128]
Array = npt.NDArray[np.float64]
TIMES = 4
"""The model is linear in what is left after each."""


def align_transmission(
    moving: xr.DataArray, fixed: xr.DataArray, *, shift: bool = True
) -> xr.DataArray:
    """Return a transmission moved and turned onto another on the same grid.

    Least squares of ``fixed - moving`` on ``d moving / dy``, ``d moving / dx`` and
    ``i moving (1, y, x)``, repeated.

    Parameters
    ----------
    moving, fixed : xarray.DataArray
        Complex (y, x), coordinates in Å; ``fixed`` may be NaN outside of what is compared.
    shift : bool
        Whether a shift is free; without, only phases are.

    Returns
    -------
    xarray.DataArray
        On the grid of ``moving``; attributes ``shift_y``, ``shift_x`` (Å, by which it was moved).

    Raises
    ------
    BadInputError
        If the grids differ or nothing is known of ``fixed``.
    """
    if moving.shape != fixed.shape or moving.dims != ("y", "x") or fixed.dims != ("y", "x"):
        raise BadInputError(
            f"transmissions of {moving.dims} {moving.shape} and {fixed.dims} {fixed.shape}; "
            "expected the same grid (y, x)"
        )
    known = np.isfinite(fixed.values)
    if known.sum() < 8:
        raise BadInputError("fewer than 8 pixels are known; there is nothing to align to")
    values = np.asarray(moving.values, dtype=np.complex128)
    steps = [float(np.diff(moving[dim].values[:2])[0]) for dim in ("y", "x")]
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in values.shape), indexing="ij")
    moved = np.zeros(2)
    values = values * np.exp(1j * np.angle(np.vdot(values[known], fixed.values[known])))
    for _ in range(TIMES):
        slopes = np.gradient(values) if shift else []
        columns = [*slopes, *(1j * values * part for part in (np.ones_like(y), y, x))]
        found = _least_squares(columns, fixed.values - values, known)
        # First the plane: mirrored beyond the border it has an edge.
        values = values * np.exp(1j * (found[-3] + found[-2] * y + found[-1] * x))
        if shift:
            values = shifted(values, -found[:2])
            moved += -found[:2] * steps
    return moving.copy(data=values).assign_attrs(shift_y=moved[0], shift_x=moved[1])


def _least_squares(columns: list[Complex], rest: Complex, known: npt.NDArray[np.bool_]) -> Array:
    design = np.stack([column[known] for column in columns], axis=1)
    both = np.concatenate([design.real, design.imag])
    wanted = rest[known]
    found = np.linalg.lstsq(both, np.concatenate([wanted.real, wanted.imag]), rcond=None)[0]
    return np.asarray(found, dtype=np.float64)


def shifted(values: Complex, by: Array) -> Complex:
    """Return values moved by pixels along y and x, mirrored beyond the border.

    Parameters
    ----------
    values : array (y, x)
    by : array (2,)
        Pixels.
    """
    pad = tuple(max(8, n // 4) for n in values.shape)
    wide = np.pad(values, [(p, p) for p in pad], mode="symmetric")
    ramps = [
        np.exp(-2j * np.pi * np.fft.fftfreq(n) * s) for n, s in zip(wide.shape, by, strict=True)
    ]
    moved = np.fft.ifft2(np.fft.fft2(wide) * ramps[0][:, None] * ramps[1])
    return np.asarray(moved[pad[0] : -pad[0], pad[1] : -pad[1]])
