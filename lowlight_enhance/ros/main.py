"""The node's executable. Sets the allocator up before the first import that starts threads: rclpy's does."""

from __future__ import annotations

import sys

from lowlight_enhance.core.malloc import one_arena


def main(args: list[str] | None = None) -> int:
    """Run the node as ``lowlight_enhance.ros.node.main`` does, all of its threads in one arena of memory."""
    one_arena()
    from lowlight_enhance.ros import node

    return node.main(args)


if __name__ == "__main__":
    sys.exit(main())
