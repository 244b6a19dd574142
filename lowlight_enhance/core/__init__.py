"""The enhancement itself: knows neither ROS nor torch."""
