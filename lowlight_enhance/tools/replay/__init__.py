"""Publish a recorded bag into a ROS 2 graph."""
