"""Child processes with scripted publishers and listeners, for the demo, the benchmark and the tests."""
