"""A measurement in py4DSTEM, which calls rows x."""

import py4DSTEM

cube = py4DSTEM.read("measurement.h5")
cube.get_virtual_image(mode="rectangle", geometry=(0, cube.Q_Nx, 0, cube.Q_Ny), name="all")

array = cube.data
image = cube.tree("all").data
axes = [
    (along[1] - along[0], along[0], unit)
    for along, unit in zip(cube.dims, cube.dim_units, strict=True)
]
