"""Training, distillation and export of the networks; the only package that needs torch."""
