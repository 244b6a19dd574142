"""The demo: a simulated camera, the node and a listener."""
