"""Build one claim: read the source once -> engine -> write -> publish. The only writer of variant files."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import xxhash

from easyimg.errors import (
    BuildCrashed,
    BuildError,
    BuildTimeout,
    ConfigError,
    EasyImgError,
    MetadataError,
    SourceError,
    SpecError,
    StorageError,
)
from easyimg.formats import FORMATS
from easyimg.geometry import Focus
from easyimg.logs import event, without_secrets
from easyimg.ports import App, Encoded, Engine, Storage
from easyimg.preview import Preview, glimpsed, make_preview
from easyimg.signals import img_built, img_failed, source_settled
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec
from easyimg.variant import Built, Claim, Failure, GivenUp, VariantStatus

HEAVY_PIXELS = 25_000_000
"""A source of more pixels, or an interlaced one of a third of that, is built in a limited child even in a worker; so is
every animation that is kept, whose frames are decoded and held all together."""

PATIENCE, _AGAIN = 8.0, 0.5
"""Seconds for which publishing a finished build is tried again, and between two attempts: a database that is started
again need not cost the builds under way. Less than a worker has to stop."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one claim. ``lost`` = keys whose lease or generation was gone when the files were ready."""

    claim: Claim
    built: tuple[Built, ...] = ()
    failed: tuple[Failure, ...] = ()
    lost: frozenset[str] = frozenset()
    seconds: float = 0.0


def tell_given_up(app: App, given_up: GivenUp) -> None:
    """Log and signal what a claim closed: whoever built it last did not live to do so."""
    if not given_up.failed:
        return
    app.cache.discard(given_up.source_id)
    source = given_up.source
    _log_failures("given up", given_up.failed, source=source, source_id=None if source else given_up.source_id)
    if source is not None:  # else there is nothing to name
        for failure in given_up.failed:
            img_failed.send_robust(app, source=source, failure=failure)


def build_claim(app: App, claim: Claim, *, isolate: bool = False, patience: float = PATIENCE) -> Outcome:
    """Build one claim and publish what came of it; whatever goes wrong with the picture ends in its rows."""
    started = time.perf_counter()
    work = _Work(app, claim)
    with _kept(app, claim):
        try:
            work.run(isolate)
        except (BuildCrashed, BuildTimeout) as exc:
            work.crashed = True
            work.fail_rest(exc, VariantStatus.BUILD_ERROR)
        except SourceError as exc:
            work.fail_rest(exc, VariantStatus.SOURCE_ERROR)
        except ConfigError:  # nothing can be built here, and nothing is wrong with the picture
            app.metadata.release(claim)
            raise
        except EasyImgError as exc:
            work.fail_rest(exc, VariantStatus.BUILD_ERROR)
        except Exception as exc:  # noqa: BLE001  # the worker's border: one odd picture must not stop the others
            event(logging.ERROR, "a build failed in an unforeseen way", exc_info=True, source=claim.source)
            work.fail_rest(BuildError(f"{type(exc).__name__}: {exc}"), VariantStatus.BUILD_ERROR)
        return _publish(app, claim, work, started, patience)


def _kept(app: App, claim: Claim) -> AbstractContextManager[None]:
    """Keep the claim's lease until the build is over, or until its time limit is."""
    lease, limit = app.settings.lease_seconds, app.settings.build_seconds
    if limit < lease * 0.9:  # the child is killed, and the row settled, before the lease can end
        limit = lease
    return app.leases.keep(claim, seconds=lease, limit=limit)


class _Job(NamedTuple):
    """One variant still to be built."""

    key: str
    spec: VariantSpec
    attempts: int


@dataclass(slots=True)
class _Work:
    """The state of one claim being built."""

    app: App
    claim: Claim
    info: SourceInfo | None = None
    version: str = ""
    preview: Preview | None = None
    crashed: bool = False
    jobs: list[_Job] = field(default_factory=list)
    built: list[Built] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def run(self, isolate: bool) -> None:
        """Read, check, build and write; what cannot be built is noted per variant, what stops everything is raised."""
        self.jobs = self._parse()
        if not self.jobs:
            return
        app, limits = self.app, self.app.settings.limits
        data = self._storage().read(self.claim.source.name, limits.max_bytes)
        found = limits.check_content(data)
        self.version = content_version(data, self.claim.focus)
        limited = self._is_limited(isolate)
        engine = app.limited_engine if limited else app.engine
        info = engine.probe(data, found)
        limits.check_info(info)
        self.info = info
        # Stills first: all frames of an animation may be too much, or damaged, where the first is fine.
        moving = self._animations(info)
        stills = [job for job in self.jobs if job not in moving]
        for jobs, is_large in ((stills, is_heavy(info)), (self._allowed(moving, info), True)):
            sheltered = not limited and is_large and app.settings.isolation == "auto"
            self._build(app.limited_engine if sheltered else engine, data, found, jobs, info)

    def _animations(self, info: SourceInfo) -> list[_Job]:
        """Return the jobs whose files keep all frames of the source."""
        return [job for job in self.jobs if job.spec.animated] if info.is_animated else []

    def _allowed(self, jobs: Sequence[_Job], info: SourceInfo) -> list[_Job]:
        """Return the animations within limits; note the others as failed."""
        allowed = []
        for job in jobs:
            try:
                size = job.spec.frame(info.size, self.claim.focus).size
                self.app.settings.limits.check_animation(info, size)
            except SourceError as exc:
                self._fail(job, exc, VariantStatus.SOURCE_ERROR)
            else:
                allowed.append(job)
        return allowed

    def _build(self, engine: Engine, data: bytes, found: str, jobs: list[_Job], info: SourceInfo) -> None:
        """Build and write jobs with one call of the engine, and one more for each that its encoder refuses.

        The same call gives the glimpse that becomes the preview.
        """
        focus = self.claim.focus
        while jobs:
            specs = [job.spec for job in jobs]
            place = glimpsed(specs, info, focus, self.claim.preview)
            try:
                encoded = engine.build(data, found, specs, focus, glimpse_of=place)
            except BuildError as exc:
                if exc.spec_index is None:
                    raise
                self._fail(jobs.pop(exc.spec_index), exc, VariantStatus.BUILD_ERROR)
                continue
            glimpse = None if place is None else encoded[place].glimpse
            if place is not None and glimpse is not None:
                self.preview = make_preview(glimpse, specs[place], info, focus)
            self._write(jobs, encoded)
            return

    def _is_limited(self, isolate: bool) -> bool:
        """Return whether to build in a limited child; if so, this process does not even import the pixel library."""
        isolation = self.app.settings.isolation
        return isolation == "always" or (isolation == "auto" and (isolate or self.claim.crashes > 0))

    def _storage(self) -> Storage:
        try:
            return self.app.storage(self.claim.source.storage)
        except ConfigError as exc:  # this row's fault, not this process's: others can still be built
            raise BuildError(str(exc)) from exc

    def _parse(self) -> list[_Job]:
        """Return the jobs whose stored spec can be read; note the others as failed."""
        jobs = []
        for ordered in self.claim.variants:
            try:
                jobs.append(_Job(ordered.key, VariantSpec.from_canonical(ordered.spec), ordered.attempts))
            except SpecError as exc:
                self.failed.append(Failure(ordered.key, VariantStatus.BUILD_ERROR, exc.kind, str(exc)))
        return jobs

    def _write(self, jobs: Sequence[_Job], encoded: Sequence[Encoded]) -> None:
        """Write one file per variant."""
        settings = self.app.settings
        storage = self.app.storage(settings.variants)
        for job, file in zip(jobs, encoded, strict=True):
            form = FORMATS[file.format]
            name = variant_name(settings.variants_prefix, job.key, self.version, form.extension)
            try:
                storage.write(name, file.data, form.mime)
            except StorageError as exc:
                self._fail(job, exc, VariantStatus.BUILD_ERROR)
                continue
            self.jobs.remove(job)
            self.built.append(
                Built(job.key, settings.variants, name, file.format, file.width, file.height, len(file.data))
            )

    def fail_rest(self, error: EasyImgError, status: VariantStatus) -> None:
        """Note everything not yet built as failed, or to be tried again."""
        for job in list(self.jobs):
            self._fail(job, error, status)

    def _fail(self, job: _Job, error: EasyImgError, status: VariantStatus) -> None:
        self.jobs.remove(job)
        retry = error.retryable and job.attempts < self.app.settings.max_attempts
        message = without_secrets(str(error))
        if error.retryable and not retry:
            message = f"{message} (gave up after {job.attempts} attempts)"
        self.failed.append(Failure(job.key, status, error.kind, message, retry_delay(job.attempts) if retry else None))


def _publish(app: App, claim: Claim, work: _Work, started: float, patience: float) -> Outcome:
    accepted = _settled(app, claim, work, patience)
    app.cache.discard(claim.source_id)
    built = tuple(b for b in work.built if b.key in accepted)
    failed = tuple(f for f in work.failed if f.key in accepted)
    lost = frozenset(o.key for o in claim.variants) - accepted
    if lost:
        event(logging.INFO, "taken over or replaced while building", source=claim.source, variants=len(lost))
    for file in built:
        event(
            logging.DEBUG,
            "built",
            source=claim.source,
            key=file.key,
            file=file.file_name,
            format=file.format,
            width=file.width,
            height=file.height,
            bytes=file.bytes,
        )
        img_built.send_robust(app, source=claim.source, built=file)
    _log_failures("not built", failed, source=claim.source)
    for failure in failed:
        img_failed.send_robust(app, source=claim.source, failure=failure)
    outcome = Outcome(claim, built, failed, lost, time.perf_counter() - started)
    source_settled.send_robust(app, outcome=outcome)
    return outcome


def _log_failures(text: str, failed: Sequence[Failure], **of_source: Any) -> None:
    """Write one line per reason, not one a variant: a source that cannot be read fails all of them."""
    keys: dict[tuple[str, str, float | None], list[str]] = {}
    for failure in failed:
        keys.setdefault((failure.kind, failure.message, failure.retry_in), []).append(failure.key)
    for (kind, message, retry_in), of in keys.items():
        event(
            logging.WARNING,
            text,
            **of_source,
            key=of[0] if len(of) == 1 else None,
            keys=" ".join(of) if len(of) > 1 else None,
            variants=len(of),
            kind=kind,
            error=message,
            retry_in=retry_in,
        )


def _settled(app: App, claim: Claim, work: _Work, patience: float) -> frozenset[str]:
    """Settle the rows and return the accepted keys; the files are there, so it is tried again for a while."""
    deadline = time.monotonic() + patience
    again = False
    while True:
        try:
            return app.metadata.publish(
                claim,
                work.built,
                work.failed,
                info=work.info,
                version=work.version,
                preview=work.preview,
                crashed=work.crashed,
                again=again,
            )
        except MetadataError as exc:
            again = True  # the server may have gone away after it had committed
            if time.monotonic() + _AGAIN > deadline:
                raise
            event(logging.WARNING, "built, and waits to be published", source=claim.source, kind=exc.kind, error=exc)
            time.sleep(_AGAIN)


def content_version(data: bytes, focus: Focus | None) -> str:
    """Return 12 hex digits that change with the source's content or its focus point: part of every file name.

    They tell a picture from the one it replaces, and guard nothing. SHA-256 took 2 % of a build of 24 megapixels.
    """
    digest = xxhash.xxh3_128(data)
    if focus is not None:
        digest.update(f"focus:{focus.x},{focus.y}".encode())
    return digest.hexdigest()[:12]


def variant_name(prefix: str, key: str, version: str, extension: str) -> str:
    """Return ``prefix/key.version.ext``: one row, one file, never overwritten by other content."""
    return f"{prefix}/{key}.{version}.{extension}" if prefix else f"{key}.{version}.{extension}"


def retry_delay(attempts: int) -> float:
    """Return seconds until the next try: 5, 20, 80, at most 300."""
    return min(300.0, 5.0 * 4.0 ** (attempts - 1))


def is_heavy(info: SourceInfo) -> bool:
    """Return whether decoding may need hundreds of megabytes."""
    pixels = info.width * info.height
    return pixels > HEAVY_PIXELS or (info.interlaced and pixels * 3 > HEAVY_PIXELS)
