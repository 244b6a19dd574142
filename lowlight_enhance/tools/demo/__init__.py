"""The demo: a simulated dark camera, the node and a listener."""
