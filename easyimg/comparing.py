"""Which files of another library are what easyimg would build: by their headers, then by what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from easyimg.bare import bare
from easyimg.build import is_heavy
from easyimg.errors import EasyImgError, SourceNotFound
from easyimg.formats import FORMATS, encoder_quality, sniff
from easyimg.geometry import Focus
from easyimg.likeness import pictures, shows
from easyimg.ports import App, Encoded, Engine, Storage
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec

Fault = Literal[
    "file_missing", "unreadable", "format", "size", "quality", "colours", "transparency", "picture"
]  # fmt: skip

FAULTS: Final[Mapping[str, str]] = {
    "file_missing": "the file is gone",
    "unreadable": "the file cannot be read",
    "format": "another format",
    "size": "another size",
    "quality": "another number for the quality",
    "colours": "holds a colour profile, transparency or other inks",
    "transparency": "the original is transparent",
    "picture": "looks different from the original",
}
"""Why a file is not what easyimg would build, in words."""


def header_engine(app: App) -> Engine:
    """Return what reads headers."""
    return app.limited_engine if app.settings.isolation == "always" else app.engine


class Original(NamedTuple):
    """A source that was read, and found acceptable."""

    data: bytes
    info: SourceInfo
    focus: Focus | None


class SameFile(NamedTuple):
    """A file that is what easyimg would build under a key; ``data`` without metadata, as easyimg writes it."""

    key: str
    spec: VariantSpec
    data: bytes
    info: SourceInfo


class Comparison:
    """Compares the files of one source with what easyimg would build of it.

    Args:
        app: whose engine looks at them.
        files: where they lie.
        original: the source.
    """

    def __init__(self, app: App, files: Storage, original: Original) -> None:
        self._app = app
        self._files = files
        self._original = original
        self.faults: list[Fault] = []
        """Of each file that is not the same, why."""

    def same(self, specs: Mapping[str, VariantSpec], names: Mapping[str, Sequence[str]]) -> list[SameFile]:
        """Return the files that are the same.

        Args:
            specs: by key.
            names: of the files that may be it, by key.
        """
        fitting = [file for key, some in names.items() if some and (file := self._fitting(key, specs[key], some))]
        engine, (data, info, focus) = self._engine(), self._original
        wanted = pictures(engine, data, info.format, [file.spec for file in fitting], focus)
        same = [file for file, picture in zip(fitting, wanted, strict=True) if self._shows(engine, file, picture)]
        self.faults += ["picture"] * (len(fitting) - len(same))
        return same

    def _engine(self) -> Engine:
        """Return what decodes a source as builds do: a heavy one in a limited child."""
        sheltered = self._app.settings.isolation == "auto" and is_heavy(self._original.info)
        return self._app.limited_engine if sheltered else header_engine(self._app)

    def _fitting(self, key: str, spec: VariantSpec, names: Sequence[str]) -> SameFile | None:
        """Return the first file whose header says what the spec does; else note why the first does not."""
        info = self._original.info
        if info.has_alpha:  # it was flattened onto black, or resized with colour bleeding out of what is invisible
            self.faults.append("transparency")
            return None
        asked = spec.actual_format(has_alpha=False)
        if encoder_quality(asked, spec.quality) != spec.quality:
            self.faults.append("quality")
            return None
        found = [self._by_header(key, spec, asked, name) for name in names]
        file = next((one for one in found if isinstance(one, SameFile)), None)
        if file is None and isinstance(found[0], str):
            self.faults.append(found[0])
        return file

    def _by_header(self, key: str, spec: VariantSpec, asked: str, name: str) -> SameFile | Fault:
        try:
            data = self._files.read(name, self._app.settings.max_bytes)
            form = sniff(data)
            if form != asked or form not in FORMATS:
                return "format"
            header = header_engine(self._app).probe(data, form)
            if header.size != spec.frame(self._original.info.size, self._original.focus).size:
                return "size"
            left = bare(data, form)
            return SameFile(key, spec, left, header) if left is not None else "colours"
        except SourceNotFound:
            return "file_missing"
        except (EasyImgError, OSError):
            return "unreadable"

    @staticmethod
    def _shows(engine: Engine, file: SameFile, picture: Encoded) -> bool:
        try:
            return shows(engine, file.data, file.info.format, picture)
        except EasyImgError:  # damaged behind its header
            return False
