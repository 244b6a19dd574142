"""Running a network: the model file, its input tensor and the runtimes."""
