"""Loading models in the background: nothing waits without a limit, and what is abandoned is freed."""

import threading

import pytest

pytest.importorskip("onnx", reason="the onnx package writes the tests' models")

from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import LowlightError, ModelError
from lowlight_enhance.ros import model_load, model_loader
from lowlight_enhance.ros.model_loader import LoadFailure, ModelLoader
from lowlight_enhance.ros.parameters import NodeParameters

LONG_S = 60.0


def params_for(path, **values):
    return NodeParameters.from_values({"model": str(path), **values})


@pytest.fixture
def other_model(tmp_path):
    return write_tiny_model(tmp_path / "other.onnx", gain=3.0)


@pytest.fixture
def loader(tiny_model):
    loader = ModelLoader(params_for(tiny_model))
    yield loader
    loader.close()


@pytest.fixture
def stuck(loader, monkeypatch):
    """Warm-up does not end before ``stuck.may_end`` is set; ``stuck.closed`` collects the closed enhancers."""

    class Stuck:
        may_end, begun, closed = threading.Event(), threading.Event(), []

    warm_up, close = Enhancer.warm_up, Enhancer.close

    def slow(enhancer):
        Stuck.begun.set()
        assert Stuck.may_end.wait(LONG_S)
        warm_up(enhancer)

    monkeypatch.setattr(Enhancer, "warm_up", slow)
    monkeypatch.setattr(Enhancer, "close", lambda enhancer: (Stuck.closed.append(enhancer.path), close(enhancer)))
    monkeypatch.setattr(model_loader, "STOP_WAIT_S", 0.05)
    yield Stuck
    Stuck.may_end.set()
    for thread in threading.enumerate():
        if thread.name == model_load.THREAD_NAME:
            thread.join(LONG_S)


def outcome(loader):
    assert loader._load.done.wait(LONG_S)
    return loader.poll()


def test_a_requested_model_is_used_once_it_is_loaded(loader, other_model):
    before = loader.enhancer
    assert loader.request(params_for(other_model))
    assert outcome(loader) is loader.enhancer is not before
    assert loader.values()["model"] == "other"
    with pytest.raises(ModelError, match="closed"):
        before.warm_up()


def test_the_model_in_use_is_not_loaded_again(loader, tiny_model):
    before = loader.enhancer
    assert not loader.request(loader.params)
    assert loader.request(params_for(tiny_model), reload=True)
    assert outcome(loader) is None
    assert loader.enhancer is before


def test_a_stuck_load_does_not_keep_a_later_one_from_being_used(loader, stuck, other_model, tmp_path, monkeypatch):
    third = write_tiny_model(tmp_path / "third.onnx", gain=4.0)
    assert loader.request(params_for(other_model))
    assert stuck.begun.wait(LONG_S)
    monkeypatch.setattr(Enhancer, "warm_up", lambda _: None)
    assert loader.request(params_for(third))
    assert outcome(loader).path == third
    stuck.may_end.set()
    assert loader._abandoned[0].done.wait(LONG_S)
    assert other_model in stuck.closed


def test_a_request_for_the_model_in_use_cancels_the_load(loader, stuck, other_model):
    assert loader.request(params_for(other_model))
    assert loader.is_loading
    assert loader.request(loader.params)
    assert not loader.is_loading
    assert loader.poll() is None


def test_requests_are_rejected_while_too_many_stuck_loads_run(loader, stuck, other_model, tmp_path):
    for number in range(model_loader.MAX_ABANDONED + 1):
        assert loader.request(params_for(write_tiny_model(tmp_path / f"{number}.onnx", gain=2.0 + number)))
        assert stuck.begun.wait(LONG_S)
        stuck.begun.clear()
    with pytest.raises(ModelError, match="still loading"):
        loader.request(params_for(other_model))


def test_suspend_and_close_do_not_wait_for_a_stuck_load(loader, stuck, other_model):
    loader.request(params_for(other_model))
    assert stuck.begun.wait(LONG_S)
    loader.suspend()
    loader.close()
    assert not stuck.may_end.is_set()
    assert model_load.is_any_load_running()


def test_a_first_load_that_never_ends_is_given_up(loader, stuck, other_model, monkeypatch):
    monkeypatch.setattr(model_loader, "LOAD_TIMEOUT_S", 0.1)
    with pytest.raises(ModelError, match=r"other\.onnx' did not load within 0\.1 s"):
        ModelLoader(params_for(other_model))


def test_a_first_load_is_given_up_when_the_process_shuts_down(loader, stuck, other_model):
    with pytest.raises(ModelError, match="the node shuts down"):
        ModelLoader(params_for(other_model), is_running=lambda: False)


def test_a_later_load_that_never_ends_is_a_failure(loader, stuck, other_model, monkeypatch):
    assert loader.request(params_for(other_model))
    assert stuck.begun.wait(LONG_S)
    assert loader.poll() is None
    monkeypatch.setattr(model_loader, "LOAD_TIMEOUT_S", 0.0)
    failure = loader.poll()
    assert isinstance(failure, LoadFailure)
    assert "other.onnx' did not load within 0 s" in failure.reason
    assert not loader.is_loading
    assert loader.values()["model"] == "tiny"


def warm_up_until_cancelled(monkeypatch):
    """Let each warm-up fail when it is cancelled, and not end before; return the event of its begin."""
    begun, cancelled = threading.Event(), threading.Event()

    def runs_until_cancelled(_):
        begun.set()
        assert cancelled.wait(LONG_S)
        raise ModelError("cancelled")

    monkeypatch.setattr(Enhancer, "warm_up", runs_until_cancelled)
    monkeypatch.setattr(Enhancer, "cancel", lambda _: cancelled.set())
    return begun


def test_the_warm_up_of_an_abandoned_load_is_cancelled(loader, other_model, monkeypatch):
    begun = warm_up_until_cancelled(monkeypatch)
    assert loader.request(params_for(other_model))
    assert begun.wait(LONG_S)
    assert loader.request(loader.params)
    assert loader._abandoned[0].done.wait(LONG_S)


def test_a_check_that_takes_long_does_not_hold_up_the_request(loader, other_model, monkeypatch):
    may_end, read_model = threading.Event(), model_load.read_model
    monkeypatch.setattr(model_loader, "CHECK_WAIT_S", 0.05)
    monkeypatch.setattr(model_load, "read_model", lambda path: (may_end.wait(LONG_S), read_model(path))[1])
    other_model.write_bytes(b"not a network")
    assert loader.request(params_for(other_model))
    assert loader.is_loading
    may_end.set()
    failure = outcome(loader)
    assert isinstance(failure, LoadFailure)
    assert str(other_model) in failure.reason


@pytest.mark.parametrize(
    "name", ["~no_such_user/x.onnx", "x" * 256 + ".onnx", "a\0b.onnx", "/proc/self/mem", "/dev/zero"]
)
def test_a_path_that_cannot_be_read_is_rejected_at_once(loader, name):
    with pytest.raises(LowlightError):
        loader.request(params_for(name))
    assert not loader.is_loading


def test_any_exception_of_a_runtime_is_a_load_failure(loader, other_model, monkeypatch):
    def fails(enhancer):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Enhancer, "warm_up", fails)
    loader.request(params_for(other_model))
    failure = outcome(loader)
    assert isinstance(failure, LoadFailure)
    assert "RuntimeError: out of luck" in failure.reason
    assert loader.values()["model"] == "tiny"


def test_resume_opens_the_model_that_was_requested_while_suspended(loader, other_model):
    loader.suspend()
    assert loader.request(params_for(other_model))
    loader.resume(params_for(other_model))
    assert loader.values()["model"] == "other"
    loader.enhancer.warm_up()


def test_a_model_that_resume_cannot_open_is_a_failure_and_the_model_before_stays(loader, other_model, monkeypatch):
    before, warm_up = loader.params, Enhancer.warm_up

    def only_the_first(enhancer):
        if enhancer.path == other_model:
            raise ModelError("not usable")
        warm_up(enhancer)

    monkeypatch.setattr(Enhancer, "warm_up", only_the_first)
    loader.suspend()
    assert loader.request(params_for(other_model))
    with pytest.raises(ModelError, match="not usable"):
        loader.resume(params_for(other_model))
    found = outcome(loader)
    assert isinstance(found, LoadFailure)
    assert "not usable" in found.reason
    loader.resume(before)
    assert loader.values()["model"] == "tiny"


def test_a_warm_up_that_suspend_cancels_says_nothing_about_the_model(loader, other_model, monkeypatch):
    warm_up, begun = Enhancer.warm_up, warm_up_until_cancelled(monkeypatch)
    monkeypatch.setattr(model_loader, "STOP_WAIT_S", 0.05)
    assert loader.request(params_for(other_model))
    assert begun.wait(LONG_S)
    loader.suspend()
    assert outcome(loader) is None
    monkeypatch.setattr(Enhancer, "warm_up", warm_up)
    loader.resume(params_for(other_model))
    assert loader.values()["model"] == "other"
