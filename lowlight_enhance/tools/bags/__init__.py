"""Read, enhance and write rosbag2 recordings."""
