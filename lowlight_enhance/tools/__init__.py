"""Files and benchmarks: the enhancement without a ROS graph."""
