"""Fixtures of all tests."""

import os
import random
import signal

import pytest
from hypothesis import settings

# A busy machine must not fail a test: examples have no deadline.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session", autouse=True)
def _own_ros_domain():
    """Isolate the tests from other ROS graphs on this computer and its network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 99)))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
            if name in os.environ:
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """Make child processes interruptible: background jobs of a shell ignore SIGINT, and children inherit that."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
