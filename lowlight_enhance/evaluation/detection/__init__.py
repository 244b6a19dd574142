"""Compare what detectors find in dark, brightened, enhanced and well-lit frames."""
