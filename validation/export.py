"""Write one simulated case to a folder: measurement, truth apart from it, specimen, settings."""

import json
from collections.abc import Callable
from pathlib import Path

from echolith import __version__
from echolith.dataset import load, save, save_truth
from echolith.forward.exporters import write_measurement
from echolith.validation.scenario import Scenario
from echolith.validation.specimen_files import write_specimen


def export_case(
    scenario: Scenario,
    folder: Path,
    *,
    seed: int,
    noise_free: bool = False,
    other: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> dict[str, Path]:
    """Simulate one case and write it.

    The measurement is streamed, so that it may be larger than memory. The truth file names the
    measurement it belongs to by hash and nothing of it is in the measurement.

    Parameters
    ----------
    scenario : Scenario
    folder : Path
        Made where it is missing.
    seed : int
    noise_free : bool
        Write the expected counts.
    other : Path, optional
        Another file for the measurement; its suffix says how
        (`echolith.forward.exporters.write_measurement`).
    progress : callable, optional
        Told (row blocks written, row blocks in all).
    announce : callable
        Told the name of each stage.

    Returns
    -------
    dict of Path
        ``measurement``, ``truth``, ``settings``; ``other``; structures of the specimen
        (`echolith.validation.specimen_files.write_specimen`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    announce("build")
    specimen = scenario.build(seed)
    mean = scenario.forward(specimen)
    measurement = mean if noise_free else scenario.noise.sample(mean, seed=seed)
    announce("simulate and write")
    files = {"measurement": folder / "measurement.h5", "truth": folder / "truth.h5"}
    digest = save(measurement, files["measurement"], progress=progress)
    save_truth(scenario.truth(specimen), files["truth"], measurement_hash=digest)
    if other is not None:
        announce(f"write {other.name}")
        write_measurement(load(files["measurement"]), other)
        files["other"] = other
    files["settings"] = folder / "settings.json"
    content = {
        "scenario": scenario.name,
        "seed": seed,
        "noise_free": noise_free,
        "version": __version__,
        "settings": scenario.settings.model_dump(mode="json"),
    }
    files["settings"].write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return files | write_specimen(specimen, folder)
