"""Run the node with a scripted camera and a scripted listener, each in its own process."""
