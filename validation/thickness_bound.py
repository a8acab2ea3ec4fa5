"""What energy-filtered images tell of t/lambda and lithium: Fisher information, pixel by pixel.

Unknown in each pixel are five numbers: the electrons that pass the aperture, t/lambda, the
background in both pre-edge windows, and lithium. Five images determine them and no more.
"""

import numpy as np
import numpy.typing as npt

from echolith.forward.energy_filtered import FilteredCase, energy_filtered_mean
from echolith.forward.filtered_acquisition import FilteredAcquisition
from echolith.inverse.loss_tables import LossTable
from echolith.structures.coated_body import ray_lengths
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]


def thickness_information(case: FilteredCase, *, acquisition: FilteredAcquisition) -> Information:
    """Return the information on maps and totals of a case.

    Parameters
    ----------
    case : FilteredCase
    acquisition : FilteredAcquisition

    Returns
    -------
    Information
        ``t_over_lambda``, ``thickness`` (Å) and ``areal_density`` (1/Å²) of one pixel, the root
        mean square over those of the particle; ``support`` from all others; ``volume`` (Å³) and
        ``lithium``, atoms, of the sum.
    """
    still = FilteredCase(body=case.body, losses=case.losses)
    mean = energy_filtered_mean(still, acquisition=acquisition)["counts"].values
    lengths = ray_lengths(case.body, shape=acquisition.shape, pixel=acquisition.pixel)[:, 0]
    tau = np.tensordot(1 / case.losses.paths, lengths, axes=1).ravel()
    support = case.body.support / float(case.losses.paths[2])
    table = LossTable.of(acquisition, case.losses, support=support, oxide=2 * case.body.shell)
    variances = _variances(mean.reshape(len(mean), -1), tau, table, acquisition)
    particle = lengths[:2].sum(axis=0).ravel() > 0
    area = acquisition.pixel**2
    film = 1 / (1 / variances[0][~particle]).sum()
    # Oxide is known where a ray meets metal.
    metal, oxide, _ = case.losses.paths
    path = np.where(lengths[0].ravel()[particle] > 0, metal, oxide)
    rows = {
        "support": film,
        "t_over_lambda": variances[0][particle].mean(),
        "thickness": (path**2 * (variances[0][particle] + film)).mean(),
        "volume": area**2 * ((path**2 * variances[0][particle]).sum() + path.sum() ** 2 * film),
        "areal_density": variances[1][particle].mean(),
        "lithium": area**2 * variances[1][particle].sum(),
    }
    unit = np.eye(len(rows))
    return Information(
        names=tuple(rows),
        matrix=np.diag([1 / value for value in rows.values()]),
        gradients={name: unit[n : n + 1] for n, name in enumerate(rows)},
        units={"areal_density": "1/Å²", "thickness": "Å", "volume": "Å³"},
        notes=(
            "Mean free paths, spectra of losses and the slit are known, and so are the outline of "
            "the particle and the shifts between images.",
            "Thickness and volume: of electrons alone. The mean free paths are known beforehand to "
            "some 10 % (solver.path_error), which no number of electrons betters: that relative "
            "error comes on top.",
            "Maps: of one pixel, images not resampled. Images moved by parts of a pixel are "
            "smoother: single pixels may then fall below the bound, sums do not.",
        ),
    )


def _variances(
    mean: Array, tau: Array, table: LossTable, acquisition: FilteredAcquisition
) -> tuple[Array, Array]:
    """Return the least variances of t/lambda and areal density of every pixel."""
    first, second, third = (*acquisition.pre_edge, acquisition.post_edge)
    power = np.log(third.centre / second.centre) / np.log(second.centre / first.centre)
    bend = table.curvature(tau, power)
    dose = third.dose / second.dose * (second.dose / first.dose) ** power
    background = dose * mean[3] * (mean[3] / mean[2]) ** power * np.exp(bend)
    _, slope = table.thickness(-np.interp(tau, table.tau, table.level[:, 0]))
    share, share_slope = table.edge_share(tau)
    edge = mean[4] - background
    incident = third.dose / acquisition.unfiltered_dose * mean[0]
    # By electrons, t/lambda, both backgrounds (all as logarithms but t/lambda), areal density.
    jacobian = np.zeros((len(tau), 5, 5))
    jacobian[:, 0, 0] = mean[0]
    jacobian[:, 1, 0], jacobian[:, 1, 1] = mean[1], -mean[1] / slope
    jacobian[:, 2, 2], jacobian[:, 3, 3] = mean[2], mean[3]
    jacobian[:, 4, 0], jacobian[:, 4, 1] = edge, edge * share_slope / share
    jacobian[:, 4, 2], jacobian[:, 4, 3] = -power * background, (1 + power) * background
    jacobian[:, 4, 4] = incident * share
    inverse = np.linalg.inv(jacobian)
    noise = (mean + acquisition.readout**2).T
    covariance = np.einsum("nij,nj,nij->ni", inverse, noise, inverse)
    return covariance[:, 1], covariance[:, 4]
