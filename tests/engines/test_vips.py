import os
import subprocess
import sys

import pytest

from easyimg.engines import load_engine
from easyimg.engines.vips import VipsEngine
from easyimg.errors import UnsupportedFormat
from easyimg.ports import Engine
from easyimg.spec import VariantSpec
from easyimg.testing import images, uncommon
from easyimg.testing.animations import AnimationContract
from easyimg.testing.engines import EngineContract, mean_difference, opened


class TestVipsEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return VipsEngine()


class TestVipsAnimations(AnimationContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return VipsEngine()


def test_auto_is_libvips_where_it_is_installed():
    assert load_engine("auto").name == "vips"


def test_hevc_that_calls_itself_avif_is_refused(corpus):
    data = bytearray((corpus / "heic/tree.heic").read_bytes())
    data[8:12] = b"avif"
    with pytest.raises(UnsupportedFormat, match="HEVC"):
        VipsEngine().probe(bytes(data), "avif")


def test_jpeg_without_end_marker_is_read_to_its_last_row():
    data = images.photo(400, 1200)
    with_tail = VipsEngine().build(data + b"\0" * 100, "jpeg", [VariantSpec("png", 100)])
    assert with_tail == VipsEngine().build(data, "jpeg", [VariantSpec("png", 100)])


@pytest.mark.parametrize("pixel", [(160,), (160, 80, 20)], ids=["one", "three"])
def test_bands_of_no_known_meaning_look_alike_with_8_and_16_bits(pixel):
    """A TIFF of separations that are not four: libvips calls them bands, and nothing more."""
    plain, deep = (
        VipsEngine().build(
            uncommon.plain_tiff(values, bits=bits, photometric=5), "tiff", [VariantSpec("png"), VariantSpec("png", 20)]
        )
        for bits, values in ((8, pixel), (16, [257 * value for value in pixel]))
    )
    for one, other in zip(map(opened, plain), map(opened, deep), strict=True):
        assert one.mode == other.mode
        assert mean_difference(one, other) < 1


FORK = """
import os, sys
from easyimg.engines import load_engine
from easyimg.errors import ConfigError
from easyimg.spec import VariantSpec
from easyimg.testing import images, uncommon

engine, data = load_engine("vips"), images.photo(200, 150)
if sys.argv[1] == "after":
    engine.build(data, "jpeg", [VariantSpec("webp", 100)])
child = os.fork()
if child == 0:
    try:
        engine.build(data, "jpeg", [VariantSpec("webp", 100)])
    except ConfigError as exc:
        print(exc, flush=True)
        os._exit(3)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def forked(when):
    done = subprocess.run(
        [sys.executable, "-c", FORK, when], capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ)
    )
    return done.stdout


def test_use_in_a_fork_of_a_process_that_has_used_libvips_is_refused():
    out = forked("after")
    assert "fork" in out
    assert "it would hang" in out
    assert out.endswith("3\n")


def test_use_in_a_fork_of_a_process_that_has_not_is_fine():
    assert forked("before") == "0\n"
