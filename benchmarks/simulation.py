"""The mean of the scenario's default engine, beside its Fourier transforms alone."""

from functools import partial

import numpy as np
from scipy import fft

from benchmarks.measuring import Result, best_in_turn, in_own_process, peak_beyond, threads
