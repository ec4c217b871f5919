import subprocess
import sys

import pytest

from easyimg.engines import load_engine
from easyimg.errors import ConfigError, MissingDependency


@pytest.mark.parametrize("name", ["vips", "pillow"])
def test_an_engine_is_loaded_by_its_name(name):
    assert load_engine(name).name == name


def test_unknown_name_says_what_is_known():
    with pytest.raises(ConfigError, match="'magick' is not one of 'auto', 'vips', 'pillow'"):
        load_engine("magick")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


def test_auto_is_pillow_where_libvips_is_absent():
    code = (
        "import sys; sys.modules['pyvips'] = None\nfrom easyimg.engines import load_engine\nprint(load_engine().name)"
    )
    assert python(code) == "pillow\n"


def test_absent_library_gives_the_line_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    for name in ("vips", "_vips_pixels", "_vips_source"):
        monkeypatch.delitem(sys.modules, f"easyimg.engines.{name}", raising=False)
    with pytest.raises(MissingDependency, match="pip install"):
        load_engine("vips")


def test_importing_the_package_loads_no_image_library():
    code = "import sys, easyimg.engines\nprint([m for m in ('pyvips', 'PIL') if m in sys.modules])"
    assert python(code) == "[]\n"


def test_the_vips_engine_does_not_load_pillow():
    code = "import sys\nfrom easyimg.engines import load_engine\nload_engine('vips')\nprint('PIL' in sys.modules)"
    assert python(code) == "False\n"
