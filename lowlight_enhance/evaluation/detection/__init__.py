"""Does the enhancement help a detector? Keypoints, boxes, and what they find in dark, enhanced and well-lit frames."""
