"""The live node: it subscribes to images, enhances them with ``Pipeline``, and publishes the result."""
