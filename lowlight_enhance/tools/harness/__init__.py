"""Run the node beside a scripted camera and listener, each in a process of its own."""
