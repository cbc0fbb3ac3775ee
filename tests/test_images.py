"""Headers without decoding, decoding within limits, resizing that is the same everywhere."""

import hashlib
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata import images
from vladata.errors import ImageError
from vladata.images import ImageInfo, Letterbox


def scene(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """A smooth color image with an edge."""
    y, x = np.mgrid[0:height, 0:width]
    phase = seed * 0.7
    rgb = np.stack([128 + 100 * np.sin(x / 17 + phase), 128 + 100 * np.cos(y / 13), 255.0 * (x > width // 2)], axis=2)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def png(width: int, height: int, depth: int = 8, color: int = 2, rest: bytes = b"\0\0\0") -> bytes:
    head = b"IHDR" + struct.pack(">IIBB", width, height, depth, color) + rest
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def frame_header(height: int, width: int, channels: int = 3, marker: int = 0xC0, precision: int = 8) -> bytes:
    parts = b"".join(bytes([k + 1, 0x11, 0]) for k in range(channels))
    body = struct.pack(">BHHB", precision, height, width, channels) + parts
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg_bomb() -> bytes:
    """A real small image whose header says 30000x30000."""
    data = images.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", 30000, 30000) + data[place + 4 :]


# Headers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(1, 1), (480, 640), (7, 3), (224, 224)])
def test_header_says_what_was_encoded(height: int, width: int) -> None:
    rgb = scene(height, width)
    assert images.probe(images.encode_jpeg(rgb)) == ImageInfo("jpeg", height, width, 3, 8)
    assert images.probe(images.encode_jpeg(rgb[:, :, 0])) == ImageInfo("jpeg", height, width, 1, 8)
    assert images.probe(images.encode_png(rgb)) == ImageInfo("png", height, width, 3, 8)
    assert images.probe(images.encode_png(rgb[:, :, 0].astype(np.uint16))) == ImageInfo("png", height, width, 1, 16)
    assert images.probe(memoryview(images.encode_jpeg(rgb))) == ImageInfo("jpeg", height, width, 3, 8)


def test_header_is_found_behind_other_segments_and_fill_bytes() -> None:
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 9) + b"\xff\xc0 comment"[:9]
    data = b"\xff\xd8" + comment + b"\xff\xff\xff" + frame_header(480, 640, marker=0xC2) + b"\xff\xda"
    assert images.probe(data) == ImageInfo("jpeg", 480, 640, 3, 8)


BAD = {
    "nothing": b"",
    "text": b"GIF89a..........",
    "two bytes": b"\xff\xd8",
    "no frame header": b"\xff\xd8" + b"\xff\xe0\x00\x04ab" * 3,
    "scan before frame": b"\xff\xd8\xff\xda\x00\x08" + bytes(20),
    "end before frame": b"\xff\xd8\xff\xd9" + bytes(20),
    "no marker": b"\xff\xd8abcdefgh",
    "segment of length 1": b"\xff\xd8\xff\xe0\x00\x01" + frame_header(4, 4),
    "endless segments": b"\xff\xd8" + b"\xff\xfe\x00\x02" * 5000 + frame_header(4, 4),
    "cut frame header": b"\xff\xd8" + frame_header(4, 4)[:-1],
    "frame header of 4 bytes": b"\xff\xd8\xff\xc0\x00\x04\x08\x00",
    "two channels": b"\xff\xd8" + frame_header(4, 4, channels=2),
    "no height": b"\xff\xd8" + frame_header(0, 640),
    "no width": b"\xff\xd8" + frame_header(480, 0),
    "jpeg bomb": b"\xff\xd8" + frame_header(30000, 30000),
    "png bomb": png(32000, 32000),
    "png of 4 billion": png(2**32 - 1, 2**32 - 1),
    "png without height": png(5, 0),
    "png with 3 bits": png(4, 4, depth=3),
    "png of color 5": png(4, 4, color=5),
    "png with interlace 7": png(4, 4, rest=b"\0\0\7"),
    "cut png": png(4, 4)[:30],
    "png with a wrong checksum": png(4, 4)[:-1] + b"\0",
    "png that begins with text": png(4, 4).replace(b"IHDR", b"tEXt"),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_bad_header_is_an_image_error(data: bytes) -> None:
    for kind in (data, memoryview(data)):
        with pytest.raises(ImageError) as caught:
            images.probe(kind)
        assert str(caught.value).isprintable()


@given(
    st.binary(max_size=80), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xc0", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
)
def test_any_bytes_are_refused_or_within_limits(data: bytes, begin: bytes) -> None:
    try:
        info = images.probe(begin + data)
    except ImageError:
        return
    assert 1 <= info.height * info.width <= images.MAX_PIXELS


def test_bomb_of_30000x30000_is_refused_before_anything_is_decoded() -> None:
    data = jpeg_bomb()
    assert len(data) < 691
    images.decode(images.encode_jpeg(scene(8, 8)))  # OpenCV is loaded
    begin = time.process_time()
    with pytest.raises(ImageError, match="30000x30000 pixels; must have at most 33,554,432"):
        images.decode(data)
    assert time.process_time() - begin < 0.01


def test_reading_headers_needs_no_opencv() -> None:
    code = (
        "import sys; from vladata import images; images.probe(bytes.fromhex(sys.argv[1])); print('cv2' in sys.modules)"
    )
    head = (b"\xff\xd8" + frame_header(4, 4)).hex()
    done = subprocess.run([sys.executable, "-c", code, head], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_opencv_runs_in_one_thread_and_knows_the_limit() -> None:
    code = (
        "import os, numpy as np; from vladata import images; images.encode_png(np.zeros((2, 2), np.uint8)); import cv2;"
        "print(cv2.getNumThreads(), os.environ['OPENCV_IO_MAX_IMAGE_PIXELS'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"1 {images.MAX_PIXELS}\n"


# Decoding and encoding ----------------------------------------------------------------------------------------------


def test_png_returns_the_very_pixels_in_rgb_order() -> None:
    rgb = scene()
    assert np.array_equal(images.decode(images.encode_png(rgb)), rgb)
    assert np.array_equal(images.decode(memoryview(images.encode_png(rgb))), rgb)


def test_jpeg_keeps_colors_and_their_order() -> None:
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[:, :, 0], rgb[:, :, 1] = 250, 60
    decoded = images.decode(images.encode_jpeg(rgb)).astype(int)
    assert decoded.shape == (32, 32, 3)
    assert np.abs(decoded - rgb).max() <= 4


@pytest.mark.parametrize("most", [64, 32, 16, 8, 1])
def test_reduced_images_keep_their_colors_and_are_as_small_as_asked(most: int) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32], image[:, 32:] = (200, 40, 20), (30, 60, 180)
    factor = min(8, 64 // most)
    for encoded in (images.encode_jpeg(image), images.encode_png(image)):
        color = images.decode_reduced(encoded, most, is_color=True)
        assert color.shape == (48 // factor, 64 // factor, 3)
        assert np.abs(color[0, 0].astype(int) - (200, 40, 20)).max() < 5
        assert np.abs(color[-1, -1].astype(int) - (30, 60, 180)).max() < 5
        assert images.decode_reduced(encoded, most).shape == (48 // factor, 64 // factor)
    with pytest.raises(ImageError):
        images.decode_reduced(images.encode_jpeg(image)[:300], most, is_color=True)


def test_grey_becomes_three_equal_channels() -> None:
    grey = scene()[:, :, 0]
    for data in (images.encode_png(grey), images.encode_jpeg(grey)):
        decoded = images.decode(data)
        assert decoded.shape == (*grey.shape, 3)
        assert np.array_equal(decoded[:, :, 0], decoded[:, :, 1])
        assert np.array_equal(decoded[:, :, 0], decoded[:, :, 2])


def test_alpha_is_left_out() -> None:
    rgba = np.dstack([scene(), np.full((120, 160), 7, np.uint8)])
    data = images.encode_png(rgba)
    assert images.probe(data).channels == 4
    assert np.array_equal(images.decode(data), rgba[:, :, :3])


def test_orientation_mark_does_not_turn_the_pixels() -> None:
    exif = (
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6: turn by 90 degrees
    )
    data = images.encode_jpeg(scene(120, 160))
    marked = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert np.array_equal(images.decode(marked), images.decode(data))


def test_depth_comes_back_number_by_number() -> None:
    depth = (np.arange(120 * 160, dtype=np.uint32) * 3 % 65536).astype(np.uint16).reshape(120, 160)
    decoded = images.decode_depth(images.encode_png(depth))
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, depth)
    small = scene()[:, :, 0]
    assert np.array_equal(images.decode_depth(images.encode_png(small)), small)


def test_depth_and_color_are_not_mistaken_for_each_other() -> None:
    with pytest.raises(ImageError, match="16 bits a channel; must have 8"):
        images.decode(images.encode_png(np.zeros((4, 4), np.uint16)))
    with pytest.raises(ImageError, match="must be a grey png"):
        images.decode_depth(images.encode_png(scene()))
    with pytest.raises(ImageError, match="must be a grey png"):
        images.decode_depth(images.encode_jpeg(scene()[:, :, 0]))


@pytest.mark.parametrize("encode", [images.encode_jpeg, images.encode_png])
def test_cut_image_is_an_image_error(encode) -> None:  # type: ignore[no-untyped-def]
    data = encode(scene())
    for part in (0.1, 0.5, 0.9):
        with pytest.raises(ImageError):
            images.decode(data[: int(len(data) * part)])


def test_header_that_the_pixels_contradict_is_an_image_error() -> None:
    data = images.encode_png(scene(16, 16))
    with pytest.raises(ImageError, match="decodes to 16x16 pixels; its header says 16x17"):
        images.decode(data, ImageInfo("png", 16, 17, 3, 8))


def test_chunk_that_declares_two_gigabytes_is_refused_at_once() -> None:
    data = images.encode_png(scene(9, 11))
    place = data.index(b"IDAT") - 4
    begin = time.process_time()
    with pytest.raises(ImageError, match=f"png chunk at {place} has 2,147,483,647 bytes"):
        images.decode(data[:place] + b"\x7f\xff\xff\xff" + data[place + 4 :])
    assert time.process_time() - begin < 0.1


@given(st.integers(0, 2**32), st.integers(0, 255))
def test_flipped_byte_never_breaks_decoding(place: int, value: int) -> None:
    data = bytearray(images.encode_png(scene(9, 11)))
    data[place % len(data)] = value
    try:
        assert images.decode(bytes(data)).shape == (9, 11, 3)
    except ImageError:
        pass


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_not_encoded(image: np.ndarray) -> None:
    for call in (images.encode_jpeg, images.encode_png, lambda i: images.resize(i, 2, 2)):
        with pytest.raises(ImageError, match="must be uint8"):
            call(image)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range_is_refused(quality: int) -> None:
    with pytest.raises(ImageError, match="must be 1 to 100"):
        images.encode_jpeg(scene(), quality)


def test_encoding_twice_gives_the_same_bytes_also_of_a_view() -> None:
    rgb = scene()
    turned = np.asfortranarray(rgb)
    for encode in (images.encode_jpeg, images.encode_png):
        assert encode(rgb) == encode(rgb.copy()) == encode(turned)


# Resizing -----------------------------------------------------------------------------------------------------------


def test_right_size_is_left_alone() -> None:
    rgb = scene()
    assert images.resize(rgb, 120, 160) is rgb
    assert images.resize(rgb, 120, 160, "letterbox") is rgb


def test_shrinking_averages_areas() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    means = rgb.reshape(4, 2, 4, 3, 3).mean(axis=(1, 3))
    assert np.abs(images.resize(rgb, 4, 4).astype(float) - means).max() <= 0.5001


def test_growing_is_linear_and_never_overshoots() -> None:
    step = np.zeros((4, 4, 3), np.uint8)
    step[:, 2:] = 200
    grown = images.resize(step, 16, 16)
    assert set(np.unique(np.diff(grown[0, :, 0].astype(int)) >= 0)) == {True}
    assert grown.max() == 200


def test_one_axis_may_shrink_while_the_other_grows() -> None:
    rgb = np.full((10, 40, 3), (10, 20, 30), np.uint8)
    assert np.array_equal(images.resize(rgb, 20, 20), np.full((20, 20, 3), (10, 20, 30), np.uint8))


@given(st.tuples(*[st.integers(1, 2000)] * 2), st.tuples(*[st.integers(1, 500)] * 2))
def test_letterbox_fits_touches_two_sides_and_keeps_proportions(size: tuple[int, int], into: tuple[int, int]) -> None:
    box = images.letterbox(size, into)
    assert 0 <= box.top <= into[0] - box.height
    assert 0 <= box.left <= into[1] - box.width
    assert box.height == into[0] or box.width == into[1]
    assert 0 <= (into[0] - box.height) - 2 * box.top <= 1
    assert 0 <= (into[1] - box.width) - 2 * box.left <= 1
    scale = min(into[0] / size[0], into[1] / size[1])
    assert abs(box.height - max(1, size[0] * scale)) <= 0.5001
    assert abs(box.width - max(1, size[1] * scale)) <= 0.5001


def test_letterbox_adds_black_bars() -> None:
    assert images.letterbox((480, 640), (224, 224)) == Letterbox(28, 0, 168, 224)
    white = np.full((480, 640, 3), 255, np.uint8)
    boxed = images.resize(white, 224, 224, "letterbox")
    assert boxed.shape == (224, 224, 3)
    assert boxed[28:196].min() == 255
    assert boxed[:28].max() == boxed[196:].max() == 0
    tall = images.resize(white.transpose(1, 0, 2), 100, 200, "letterbox")
    assert tall[:, 62:138].shape[1] == 76
    assert tall[:, 63:137].min() == 255
    assert tall[:, :62].max() == tall[:, 138:].max() == 0


@pytest.mark.parametrize(("height", "width"), [(0, 4), (4, -1), (2**20, 2**20)])
def test_absurd_size_is_refused(height: int, width: int) -> None:
    with pytest.raises(ImageError, match="must be at least 1x1"):
        images.resize(scene(), height, width)


def test_unknown_way_to_resize_is_refused() -> None:
    with pytest.raises(ImageError, match="must be stretch or letterbox"):
        images.resize(scene(), 4, 4, "crop")  # type: ignore[arg-type]


def test_resized_pixels_do_not_depend_on_the_processor() -> None:
    """Integers from linear and area filters; also with Intel's library switched off (a fresh process)."""
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); import test_images as t;"
        "print(hashlib.sha256(b''.join(t.resized())).hexdigest())"
    )
    import os

    environment = {**os.environ, "OPENCV_IPP": "disabled"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert done.stdout.strip() == hashlib.sha256(b"".join(resized())).hexdigest()


def resized() -> list[bytes]:
    rgb = np.random.default_rng(1).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    made = [images.resize(rgb, h, w) for h, w in ((48, 64), (224, 224), (97, 262), (50, 200))]
    return [m.tobytes() for m in made] + [images.encode_jpeg(m) for m in made]


# Contact sheet ------------------------------------------------------------------------------------------------------


def test_contact_sheet_shows_each_image_in_its_place() -> None:
    tiles = [np.full((60, 80, 3), 40 * (k + 1), np.uint8) for k in range(5)]
    sheet = images.contact_sheet(tiles, [f"camera {k}" for k in range(5)], 3, 30)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * 50, 3 * 42 - 2, 3)
    for k in range(5):
        top, left = k // 3 * 50 + 20, k % 3 * 42
        assert np.array_equal(np.unique(sheet[top : top + 30, left : left + 40]), [40 * (k + 1)])
        assert sheet[top - 20 : top, left : left + 40].max() > 150  # the label


def test_label_of_one_image_stays_above_it() -> None:
    tiles = [np.zeros((60, 80, 3), np.uint8)] * 2
    sheet = images.contact_sheet(tiles, ["x" * 300 + "\x1b[31m\n手", ""], 2, 30)
    assert sheet[:, 40:].max() == 24


def test_contact_sheet_takes_images_of_different_sizes() -> None:
    sheet = images.contact_sheet([scene(480, 640), scene(200, 100), scene(1, 1)], ["a", "b", "c"], 5, 48)
    assert sheet.shape == (68, 3 * 66 - 2, 3)


def test_contact_sheet_of_nothing_or_of_absurd_size_is_refused() -> None:
    with pytest.raises(ImageError, match="must have images"):
        images.contact_sheet([], [], 3, 30)
    with pytest.raises(ImageError, match="must have images"):
        images.contact_sheet([scene()], [], 3, 30)
    with pytest.raises(ImageError, match="at most"):
        images.contact_sheet([scene()] * 4, ["a"] * 4, 2, 8000)
