import pytest


@pytest.fixture
def tiny_model(tmp_path):
    """A model that doubles every pixel and works on frames at their own size."""
    pytest.importorskip("onnx", reason="the onnx package writes the tests' models")
    from tiny_model import write_tiny_model

    return write_tiny_model(tmp_path / "tiny.onnx", gain=2.0)


@pytest.fixture
def start_graph(tiny_model):
    """Start the node in this process, beside a peer whose executor serves both; a model that doubles every pixel."""
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from ros_graph import RosGraph

    graphs = []

    def start(**parameters):
        graphs.append(RosGraph(**{"model": str(tiny_model), **parameters}))
        return graphs[-1]

    yield start
    for graph in graphs:
        graph.close()
