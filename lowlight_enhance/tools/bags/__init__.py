"""Enhance the cameras of rosbag2 recordings."""
