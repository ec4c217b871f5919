"""Settings: one frozen value, read from a mapping (code, Django, Flask) or the environment. Nothing connects here."""

from __future__ import annotations

import json
import os
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from easyimg.errors import ConfigError, did_you_mean, shown
from easyimg.formats import ALIASES, DEFAULT_ALLOWED, FORMATS
from easyimg.logs import without_secrets
from easyimg.options import parse_options
from easyimg.plan import make_plan
from easyimg.source import Limits
from easyimg.spec import MAX_SIDE

ENV_PREFIX = "EASYIMG_"

QUEUE_NAMES = ("thread", "immediate", "none", "dramatiq")
QUEUE_SCHEMES = ("redis", "rediss", "amqp", "amqps")
"""What ``queue`` may be as text: one of the names, or a URL with one of the schemes."""

_ENV_ONLY = frozenset({"EASYIMG_APP"})
"""Environment names that are not settings (read by the command line itself)."""


_MEDIA: Mapping[str, str] = {"default": "/media/"}
"""This very object says that nothing was said."""

_ON_THIS_MACHINE = ("file", "local", "memory")


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """Everything that can be chosen. Unknown keys and values out of range raise ConfigError when it is made.

    Args:
        storages: alias -> fsspec URL, or a Storage object. ``"default"`` holds sources given by name alone.
        storage_options: alias -> options handed to that storage's fsspec filesystem; ``sign_seconds`` among them says
            how long its signed URLs are valid.
        base_urls: alias -> URL prefix under which the storage's files are served; an alias without one has no URLs,
            unless its filesystem can sign. Where this is not set and ``default`` is a local folder: ``/media/``.
        variants: alias of the storage that variants are written to.
        variants_prefix: folder of the variants inside that storage.
        metadata: database URL of the rows. In Django also ``"django"`` (the default there) and ``"django:alias"``.
        queue: ``"thread"``, ``"immediate"``, ``"none"``, ``redis://...``, ``amqp://...``, a Dramatiq broker, or
            ``"dramatiq"``: the broker that the site has given to ``dramatiq.set_broker``.
        queue_name: Dramatiq queue to send to.
        namespace: prefix of Redis keys.
        engine: ``"auto"`` (libvips, else Pillow), ``"vips"`` or ``"pillow"``.
        presets: name -> options of Img, checked as those of an Img are.
        pending: what ``src`` shows before the fallback is built: the source itself, an inline placeholder, or the
            fallback all the same, which is built before the page is finished (``"build"``).
        csp: ``"strict"`` uses no inline style anywhere.
        strict: raise for missing and broken sources in templates instead of falling back and logging once. Django and
            Flask sites have it on in debug mode and in tests, unless their settings say otherwise.
        cache_seconds: how long built rows are remembered in this process; 0 turns that off, at most 10.
        cache_size: how many sources are remembered.
        max_bytes, max_pixels, max_progressive_pixels, max_animation_pixels, max_side, formats: see ``source.Limits``.
        lease_seconds: how long a claim lasts unless renewed.
        sweep_seconds: how long something owed can go unnoticed; also the least time between two doorbells for one
            source.
        max_attempts: builds of a variant before it is given up.
        build_seconds: time limit of one source's build.
        build_memory: address space of a limited child, bytes.
        isolation: which builds run in a limited child: ``"auto"`` = all in the thread queue, else only those of heavy
            sources and after a crash; ``"always"``; ``"never"``.
        threads: builder threads of the thread queue.
    """

    storages: Mapping[str, Any] = field(default_factory=lambda: {"default": "file://media"})
    storage_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    base_urls: Mapping[str, str] = field(default_factory=lambda: _MEDIA)
    variants: str = "default"
    variants_prefix: str = "img"
    metadata: Any = "sqlite:///easyimg.db"
    queue: Any = "thread"
    queue_name: str = "easyimg"
    namespace: str = "easyimg"
    engine: Any = "auto"
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pending: Literal["source", "placeholder", "build"] = "source"
    csp: Literal["strict"] | None = None
    strict: bool = False
    cache_seconds: float = 10.0
    cache_size: int = 5000
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_progressive_pixels: int = 25_000_000
    max_animation_pixels: int = 50_000_000
    max_side: int = MAX_SIDE
    formats: tuple[str, ...] = DEFAULT_ALLOWED
    lease_seconds: float = 60.0
    sweep_seconds: float = 30.0
    max_attempts: int = 3
    build_seconds: float = 30.0
    build_memory: int = 2 << 30
    isolation: Literal["auto", "always", "never"] = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "formats", _formats(self.formats))
        if isinstance(self.storages, str):
            object.__setattr__(self, "storages", {"default": self.storages})
        if isinstance(self.base_urls, str):
            object.__setattr__(self, "base_urls", {"default": self.base_urls})
        _check_mappings(self)
        _check_presets(self.presets)
        if self.base_urls is _MEDIA and _is_elsewhere(self.storages["default"]):
            object.__setattr__(self, "base_urls", {})  # a web server can serve a local folder, but no bucket
        _check_choices(self)
        _check_numbers(self)
        _check_texts(self)
        if self.variants not in self.storages:
            raise ConfigError(f"variants: no storage {self.variants!r}{did_you_mean(self.variants, self.storages)}")
        for name in ("base_urls", "storage_options"):
            for alias in getattr(self, name):
                if alias not in self.storages:
                    raise ConfigError(f"{name}: no storage {alias!r}{did_you_mean(alias, self.storages)}")

    def __repr__(self) -> str:
        """Return all that was chosen, but of storage options only their names, and no password of a URL."""
        shown_ = {f.name: getattr(self, f.name) for f in fields(self)}
        shown_["storage_options"] = {alias: sorted(options) for alias, options in self.storage_options.items()}
        return without_secrets(f"Settings({', '.join(f'{name}={value!r}' for name, value in shown_.items())})")

    @property
    def limits(self) -> Limits:
        """What is accepted from an upload."""
        return Limits(
            max_bytes=self.max_bytes,
            max_pixels=self.max_pixels,
            max_progressive_pixels=self.max_progressive_pixels,
            max_animation_pixels=self.max_animation_pixels,
            max_side=self.max_side,
            formats=self.formats,
        )

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with changes, checked like a new one."""
        _refuse_unknown(changes, "setting", "")
        return replace(self, **changes)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, prefix: str = "", besides: Collection[str] = ()) -> Settings:
        """Return settings from a mapping (Django's ``EASYIMG``, Flask's config).

        Args:
            values: names in any case; with a prefix, only names that begin with it are read.
            prefix: e.g. ``"EASYIMG_"``.
            besides: names in lower case, without prefix, that an adapter reads itself.
        """
        chosen = {
            name[len(prefix) :].lower(): value
            for name, value in values.items()
            if name.startswith(prefix) and name not in _ENV_ONLY
        }
        _refuse_unknown(chosen, "setting", prefix, besides)
        return cls(**{name: value for name, value in chosen.items() if name not in besides})

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Return settings from ``EASYIMG_*`` variables.

        Mappings are JSON objects (``EASYIMG_STORAGES='{"default": "file:///srv/media"}'``) or, for storages and base
        URLs, one plain value that means ``default``. Lists are separated by commas.
        """
        env = os.environ if environ is None else environ
        raw = {n: v for n, v in env.items() if n.startswith(ENV_PREFIX) and n not in _ENV_ONLY}
        _refuse_unknown({n[len(ENV_PREFIX) :].lower(): v for n, v in raw.items()}, "setting", ENV_PREFIX)
        return cls(**{n[len(ENV_PREFIX) :].lower(): _from_text(n, v) for n, v in raw.items()})


_HINTS: dict[str, Any] = {}


def _hint(name: str) -> Any:
    if not _HINTS:
        _HINTS.update(typing.get_type_hints(Settings))
    return _HINTS[name]


def _refuse_unknown(values: Mapping[str, Any], what: str, prefix: str, besides: Collection[str] = ()) -> None:
    known = {f.name for f in fields(Settings)} | set(besides)
    for name in values:
        if name not in known:
            spelled = {(prefix + k).upper() if prefix else k for k in known}
            wrong = (prefix + name).upper() if prefix else name
            raise ConfigError(f"unknown {what} {wrong!r}{did_you_mean(wrong, spelled)}")


def _from_text(variable: str, text: str) -> Any:
    """Return an environment variable's text as the type of its setting."""
    name = variable[len(ENV_PREFIX) :].lower()
    hint = _hint(name)
    try:
        if typing.get_origin(hint) is Mapping or hint is Mapping:
            return _mapping(name, text)
        if hint is int:
            return int(text.replace("_", ""))
        if hint is float:
            return float(text)
    except ValueError as exc:
        raise ConfigError(f"{variable}: {_told(name, text)} cannot be read: {exc}") from exc
    if hint is bool:
        return _boolean(variable, text)
    if typing.get_origin(hint) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return None if name == "csp" and not text else text


def _told(name: str, value: Any) -> str:
    """Return a wrong value as a message may hold it: those of some settings may hold passwords."""
    return "what is set" if name.startswith("storage") else without_secrets(repr(value))[:80]


def _mapping(name: str, text: str) -> Any:
    if text.lstrip().startswith("{"):
        return json.loads(text)
    if name in ("storages", "base_urls"):
        return {"default": text}
    raise ValueError("write a JSON object")


def _boolean(variable: str, text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ConfigError(f"{variable}: {shown(text)} is not one of {', '.join(words)}")
    return words[text.lower()]


def _formats(value: Any) -> tuple[str, ...]:
    names = tuple(ALIASES.get(n, n) for n in ([value] if isinstance(value, str) else value))
    for name in names:
        if name not in FORMATS or name == "svg":
            raise ConfigError(f"formats: {shown(name)} is not in {', '.join(n for n in FORMATS if n != 'svg')}")
    return names


def _is_elsewhere(storage: Any) -> bool:
    return isinstance(storage, str) and "://" in storage and storage.partition("://")[0] not in _ON_THIS_MACHINE


def _check_mappings(settings: Settings) -> None:
    for name in ("storages", "storage_options", "base_urls", "presets"):
        value = getattr(settings, name)
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}: {_told(name, value)} is not a mapping")
    if "default" not in settings.storages:
        raise ConfigError("storages: one must be called 'default'; it holds sources given by name alone")
    for alias, options in settings.storage_options.items():
        if not isinstance(options, Mapping):
            raise ConfigError(f"storage_options: {alias!r}: what is set is not a mapping")
    for alias, url in settings.base_urls.items():
        if not isinstance(url, str) or not url.startswith(("/", "./", "http://", "https://")) or url.startswith("//"):
            raise ConfigError(
                f"base_urls: {alias!r}: {_told('base_urls', url)} must start with '/', './', 'http://' or 'https://'"
            )
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise ConfigError(f"base_urls: {alias!r}: a user or password in it would be in every page; leave it out")


def _check_presets(presets: Mapping[str, Any]) -> None:
    for name, options in presets.items():
        if not isinstance(options, Mapping) or not all(isinstance(option, str) for option in options):
            raise ConfigError(f"presets: {shown(name)}: {shown(options)} is not a dict of options of Img")
        try:
            make_plan(parse_options(options))
        except (TypeError, ValueError) as exc:  # a SpecError is one
            raise ConfigError(f"presets: {shown(name)}: {exc}") from exc


def _check_choices(settings: Settings) -> None:
    for name, allowed in (
        ("pending", ("source", "placeholder", "build")),
        ("csp", (None, "strict")),
        ("isolation", ("auto", "always", "never")),
    ):
        value = getattr(settings, name)
        if value not in allowed:
            raise ConfigError(f"{name}: {shown(value)} is not one of {', '.join(map(repr, allowed))}")
    check_queue(settings.queue)
    if isinstance(settings.engine, str) and settings.engine not in ("auto", "vips", "pillow"):
        raise ConfigError(f"engine: {shown(settings.engine)} is not one of 'auto', 'vips', 'pillow'")


def check_queue(value: Any) -> None:
    """Refuse a text that is no queue; objects are looked at when the queue is made."""
    if not isinstance(value, str) or value in QUEUE_NAMES:
        return
    scheme, colon, _ = value.partition(":")
    if not ("://" in value and scheme in QUEUE_SCHEMES):
        # A URL, also one that is written wrong, may hold a password: only its scheme is repeated.
        wrong, known = (f"{scheme}://", [f"{s}://" for s in QUEUE_SCHEMES]) if colon else (value, list(QUEUE_NAMES))
        if "@" in wrong:
            wrong = "***"
        raise ConfigError(f"queue: {shown(wrong)} is not known{did_you_mean(wrong, known)}")


_RANGES = {
    "cache_seconds": (0, 10),
    "cache_size": (0, 1_000_000),
    "max_bytes": (1, 1 << 40),
    "max_pixels": (1, 1 << 40),
    "max_progressive_pixels": (1, 1 << 40),
    "max_animation_pixels": (1, 1 << 40),
    "max_side": (1, 1_000_000),
    "lease_seconds": (0.05, 86_400),
    "sweep_seconds": (0.05, 86_400),
    "max_attempts": (1, 100),
    "build_seconds": (0.05, 86_400),
    "build_memory": (256 << 20, 1 << 50),
    "threads": (1, 64),
}


_WHOLE = frozenset(f.name for f in fields(Settings) if f.type == "int")
_TEXTS = tuple(f.name for f in fields(Settings) if f.type == "str")


def _check_numbers(settings: Settings) -> None:
    """Refuse what is out of range, or no whole number where one is needed; 2e9 is one, as JSON and people write it."""
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ConfigError(f"{name}: {shown(value)} is not in {low}..{high}")
        if name in _WHOLE and isinstance(value, float):
            if not value.is_integer():
                raise ConfigError(f"{name}: {shown(value)} is not a whole number in {low}..{high}")
            object.__setattr__(settings, name, int(value))


def _check_texts(settings: Settings) -> None:
    for name in _TEXTS:
        value = getattr(settings, name)
        if not isinstance(value, str):
            raise ConfigError(f"{name}: {shown(value)} is not a text")
