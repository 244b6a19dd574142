"""Capture metadata: ISO and exposure time from driver messages and driver parameters."""
