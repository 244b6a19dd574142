import cv2
import numpy as np
import pytest

from lowlight_enhance.core.enhancement import upsampling
from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.enhancement.upsampling import AffineRenderer, Upsampling, render
from lowlight_enhance.core.errors import ConfigError


def constant_maps(gain: float, offset: float, height: int = 24, width: int = 32) -> EnhancementMaps:
    gains, offsets = (np.full((3, height, width), value, np.float32) for value in (gain, offset))
    return EnhancementMaps(gains, offsets, np.zeros_like(gains))


def rendered(maps: EnhancementMaps, small: np.ndarray, rgb: np.ndarray, method: Upsampling) -> np.ndarray:
    return render(EnhancementMaps(maps.gain, maps.offset, small), rgb, method, AffineRenderer())


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 100, (height, width, 3), dtype=np.uint8)


def small_copy(rgb: np.ndarray) -> np.ndarray:
    small = cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def test_constant_maps_are_exact_at_full_size() -> None:
    rgb = picture()
    out = AffineRenderer()(constant_maps(1.5, 0.1), rgb)
    assert out.dtype == np.uint8
    assert np.abs(out - np.clip(rgb * 1.5 + 25.5, 0, 255)).max() <= 0.51


def test_channels_are_not_mixed() -> None:
    maps = constant_maps(0.0, 0.0)
    maps.offset[:] = np.array([0.2, 0.4, 0.6], np.float32)[:, None, None]
    assert AffineRenderer()(maps, picture())[7, 9].tolist() == [51, 102, 153]


def test_sixteen_bit_input_uses_its_depth() -> None:
    rgb = np.full((8, 8, 3), 257 * 2 + 128, np.uint16)  # 2.498 of 255
    assert np.all(AffineRenderer()(constant_maps(10.0, 0.0, 8, 8), rgb) == 25)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "size", [(480, 96, 384, 77), (90, 64, 48, 34), (97, 31, 61, 20), (64, 64, 64, 64), (7, 9, 1, 2)]
)
def test_bands_leave_no_edges(
    size: tuple[int, int, int, int], dtype: type[np.generic], monkeypatch: pytest.MonkeyPatch
) -> None:
    height, width, rows, columns = size
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype=dtype)
    planes = rng.normal(0.5, 0.5, (6, rows + 3, columns + 2)).astype(np.float32)[:, :rows, :columns]
    maps = EnhancementMaps(planes[:3], planes[3:], np.zeros((3, rows, columns), np.float32))
    correction = rng.normal(0.0, 0.1, (3, 3, 4)).astype(np.float32)
    results = []
    for pixels in (height * width, height * width // 5, 1):
        monkeypatch.setattr(upsampling, "BAND_PIXELS", pixels)
        results += [AffineRenderer()(maps, rgb), AffineRenderer()(maps, rgb, correction)]
    gain, offset = (np.stack([cv2.resize(m, (width, height)) for m in part]) for part in (maps.gain, maps.offset))
    plain = gain.transpose(1, 2, 0) * (rgb * (255.0 / np.iinfo(dtype).max)) + 255.0 * offset.transpose(1, 2, 0)
    assert np.abs(results[0] - np.clip(plain, 0, 255)).max() <= 0.51
    assert not np.array_equal(results[0], results[1])
    for plainly, corrected in zip(results[2::2], results[3::2], strict=True):
        # Processors with fused multiply-add (aarch64) round the edges of bands differently by one level.
        assert np.abs(plainly.astype(int) - results[0]).max() <= 1
        assert np.abs(corrected.astype(int) - results[1]).max() <= 1


def test_the_result_is_clipped() -> None:
    assert np.all(AffineRenderer()(constant_maps(1.0, 2.0), picture()) == 255)
    assert np.all(AffineRenderer()(constant_maps(1.0, -2.0), picture()) == 0)


@pytest.mark.parametrize("method", ["resize", "guided", "gain", "local_affine"])
def test_every_method_reaches_the_full_size_and_brightens(method: str) -> None:
    rgb = picture()
    out = rendered(constant_maps(2.0, 0.0), small_copy(rgb), rgb, method)
    assert out.shape == rgb.shape
    assert out.mean() == pytest.approx(2.0 * rgb.mean(), rel=0.05)


def test_only_methods_that_use_the_full_frame_keep_its_edges() -> None:
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, 1::2] = 100  # stripes of one pixel, gone in the small copy
    contrast = {
        method: float(np.std(rendered(constant_maps(2.0, 0.0), small_copy(rgb), rgb, method).astype(float)))
        for method in ("resize", "local_affine")
    }
    assert contrast["local_affine"] > 90.0
    assert contrast["resize"] < 20.0


def test_unknown_methods_are_rejected() -> None:
    rgb = picture()
    with pytest.raises(ConfigError, match="nearest"):
        rendered(constant_maps(1, 0), small_copy(rgb), rgb, "nearest")  # type: ignore[arg-type]


def test_reused_buffers_do_not_leak_between_frames() -> None:
    apply = AffineRenderer()
    first = apply(constant_maps(1.0, 0.0), picture())
    kept = first.copy()
    apply(constant_maps(2.0, 0.3), picture(60, 20))
    again = apply(constant_maps(0.0, 1.0), picture())
    assert np.array_equal(first, kept)
    assert np.all(again == 255)
