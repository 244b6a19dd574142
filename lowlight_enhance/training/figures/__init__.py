"""Figures of training runs, evaluations and models, drawn with Matplotlib."""
