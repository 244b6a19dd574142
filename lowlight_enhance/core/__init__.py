"""The enhancement itself, without ROS and without torch."""
