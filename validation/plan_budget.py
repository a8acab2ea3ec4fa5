"""What a measurement, and the computation of a plan for it, may take."""

from dataclasses import dataclass, fields

import numpy as np

from echolith.errors import BadInputError
from echolith.validation.exposure import Exposure


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits; None: any amount, of the dose the published one.

    Attributes
    ----------
    dose : float, optional
        In the scenario's unit.
    dose_rate : float, optional
        Mean over the exposure, in that unit per second.
    critical_dose : float, optional
        At which the intensity of the specimen's diffraction has fallen to 1/e, in that unit
        (`echolith.validation.damage`); by default nothing fades.
    seconds : float, optional
        Of the exposure.
    values : float, optional
        Numbers measured.
    compute_seconds, memory, disk : float, optional
        What the computation of the plan, trials included, may take: seconds, bytes, bytes.
    """

    dose: float | None = None
    dose_rate: float | None = None
    critical_dose: float | None = None
    seconds: float | None = None
    values: float | None = None
    compute_seconds: float | None = None
    memory: float | None = None
    disk: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no measurement keeps to."""
        for name in names():
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise BadInputError(f"budget {name} = {value:g}; expected more than 0")

    @property
    def critical(self) -> float:
        """The critical dose; infinite: nothing fades."""
        return np.inf if self.critical_dose is None else self.critical_dose

    def check(self, exposure: Exposure | None) -> None:
        """Refuse limits of what a scenario does not tell.

        Raises
        ------
        BadInputError
            If there is such a limit: nothing would keep to it.
        """
        known = {
            "dose": exposure is not None,
            "critical_dose": exposure is not None,
            "values": exposure is not None,
            "seconds": exposure is not None and np.isfinite(exposure.seconds),
            "dose_rate": exposure is not None and np.isfinite(exposure.seconds),
        }
        for name, told in known.items():
            if getattr(self, name) is not None and not told:
                raise BadInputError(
                    f"budget {name} = {getattr(self, name):g}, but the scenario does not tell its "
                    f"{'dose' if exposure is None else 'time of exposure'}; leave this limit out"
                )

    def most_dose(self, exposure: Exposure) -> float:
        """Return the largest dose that is allowed."""
        return exposure.published if self.dose is None else self.dose

    def exceeded(self, exposure: Exposure | None) -> tuple[str, ...]:
        """Return what a measurement takes too much of, in words."""
        if exposure is None:
            return ()
        dose, unit = self.most_dose(exposure), exposure.dose_unit
        whose = "published for this material" if self.dose is None else "allowed"
        rate = exposure.dose / exposure.seconds if exposure.seconds else np.inf
        told = []
        if _over(exposure.dose, dose):
            told.append(f"dose {exposure.dose:.3g} {unit}, more than the {dose:.3g} {whose}")
        if _over(rate, self.dose_rate):
            told.append(f"dose rate {rate:.3g} {unit}/s, more than {self.dose_rate:.3g}")
        if _over(exposure.seconds, self.seconds):
            told.append(f"exposure of {exposure.seconds:.3g} s, more than {self.seconds:.3g} s")
        if _over(exposure.values, self.values):
            told.append(f"{exposure.values} values, more than {self.values:g}")
        return tuple(told)

    def share(self, exposure: Exposure) -> float:
        """Return the largest share of an exposure, time and dose alike, that is allowed."""
        limits = [1.0, self.most_dose(exposure) / exposure.dose]
        if self.seconds is not None:
            limits.append(self.seconds / exposure.seconds)
        return min(limits)


def names() -> tuple[str, ...]:
    """Return the names of all limits."""
    return tuple(field.name for field in fields(Budget))


def _over(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit * (1 + 1e-9)
