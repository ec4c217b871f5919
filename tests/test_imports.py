from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("pyvips", "PIL", "sqlalchemy", "fsspec", "dramatiq", "jinja2", "django", "flask", "redis", "pika")


def loaded_after(statement: str) -> set[str]:
    """Return the modules a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    # -I: neither the environment nor the current folder adds anything to what the statement imports.
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_easyimg_loads_no_image_library_database_broker_or_framework() -> None:
    assert not loaded_after("import easyimg") & set(HEAVY)


@pytest.mark.parametrize("module", ["settings", "ports"])
def test_importing_the_lower_layers_loads_none_either(module: str) -> None:
    assert not loaded_after(f"import easyimg.{module}") & set(HEAVY)


def test_making_an_easyimg_checks_its_presets_without_an_image_library() -> None:
    presets = {"card": {"width": 300, "background": "White", "art": {"md": {"ratio": 1, "background": "#FFcc00"}}}}
    code = f"import easyimg; easyimg.EasyImg(presets={presets})"
    assert not loaded_after(code) & {"pyvips", "PIL", "sqlalchemy", "fsspec", "dramatiq", "jinja2"}
    wrong = "try: easyimg.EasyImg(presets={'card': {'widht': 300}})\nexcept easyimg.errors.ConfigError: pass"
    assert not loaded_after(f"import easyimg.errors\n{wrong}") & {"pyvips", "PIL"}


def test_an_engine_loads_no_event_loop_and_what_comes_with_it() -> None:
    """Eight megabytes in every process that builds."""
    assert "asyncio" not in loaded_after("import easyimg.child; from easyimg.engines import load_engine; load_engine()")


def test_the_limited_child_loads_no_application() -> None:
    """Two megabytes in every such process, and a tenth of a second before its first build."""
    modules = loaded_after("import easyimg.child; from easyimg.engines import load_engine; load_engine()")
    assert not modules & {"easyimg.app", "easyimg.img", "easyimg.bound", "easyimg.settings", "blinker"}


def test_every_public_name_is_there_and_no_other() -> None:
    import easyimg

    found = {name: getattr(easyimg, name) for name in easyimg.__all__}
    assert set(easyimg.__all__) <= set(dir(easyimg))
    assert [name for name, value in found.items() if value.__module__.partition(".")[0] != "easyimg"] == []
    with pytest.raises(ImportError, match="cannot import name 'Imgg' from 'easyimg'"):
        exec("from easyimg import Imgg")


def test_importing_easyimg_opens_no_database_and_starts_no_thread() -> None:
    code = (
        "import easyimg, threading, os; assert threading.active_count() == 1; assert not os.path.exists('easyimg.db')"
    )
    loaded_after(code)
