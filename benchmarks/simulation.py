"""The mean of the scenario's default engine, beside its Fourier transforms alone."""



