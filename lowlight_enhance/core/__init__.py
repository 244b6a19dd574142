"""The enhancement itself. It imports neither ROS nor torch."""
