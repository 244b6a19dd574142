"""From the output of the network to an enhanced frame."""
