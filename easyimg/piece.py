"""Piece: one plan applied to one source, and which of its files exist, are owed, or are to be built. Pure."""

from __future__ import annotations

from typing import Literal

from easyimg.plan import Plan
from easyimg.source import Source, is_svg
from easyimg.variant import ERROR_STATUSES, SourceRecord, VariantStatus

Choice = Literal["src", "srcset", "all"]
CHOICES: tuple[Choice, ...] = ("src", "srcset", "all")
"""What ``build=`` builds inline: the base image, the candidates, or both."""

_BUILT = VariantStatus.BUILT


class Piece:
    """One plan applied to one source: a picture without art direction, or one of the pictures of art direction.

    ``keys`` are those of ``plan.specs``, in order; none for an empty source.
    """

    __slots__ = ("keys", "plan", "source")

    def __init__(self, plan: Plan, source: Source | None) -> None:
        self.plan = plan
        self.source = source
        self.keys: tuple[str, ...] = () if source is None else plan.keys(source.address)

    def is_complete(self, record: SourceRecord) -> bool:
        """Return whether the files of all specs are built, also of those not needed."""
        rows = record.variants
        for key in self.keys:
            row = rows.get(key)
            if row is None or row.status != _BUILT:
                return False
        return True

    def is_svg(self, record: SourceRecord | None) -> bool:
        """Return whether the source is shown as it is: there are no files, and none is owed."""
        return self.source is not None and is_svg(self.source, None if record is None else record.info)

    def has_built(self, record: SourceRecord | None, choice: Choice) -> bool:
        """Return whether every file of a choice that is worth building is built; an SVG needs none."""
        if record is None:
            return self.is_svg(record)
        return all(_status(record, key) == _BUILT for key in self._needed_keys(record, choice))

    def owes(self, record: SourceRecord | None) -> bool:
        """Return whether a file is still owed: not built, and not given up."""
        if self.source is None or self.is_svg(record):
            return False
        return record is None or bool(self.pending_keys(record))

    def missing_specs(self, record: SourceRecord | None) -> dict[str, str]:
        """Return key -> canonical spec of what is worth building and has no row yet, or one no page has asked for."""
        info = record.info if record is not None else None
        rows = record.variants if record is not None else {}
        keys = self.keys
        asked = {key for key in keys if (row := rows.get(key)) is not None and not row.is_background}
        if len(asked) == len(keys) or self.is_svg(record):
            return {}
        needed = self.plan.needed(info)
        return {
            key: spec.canonical
            for key, spec, need in zip(keys, self.plan.specs, needed, strict=True)
            if need and key not in asked
        }

    def pending_keys(self, record: SourceRecord) -> list[str]:
        """Return the keys of files that are owed."""
        return [
            key for key in self._needed_keys(record, "all") if _status(record, key) not in (_BUILT, *ERROR_STATUSES)
        ]

    def due_keys(self, record: SourceRecord | None, choice: Choice) -> list[str]:
        """Return the keys of a choice that may be built now."""
        due = (None, VariantStatus.QUEUED, VariantStatus.BUILDING)
        return [key for key in self._needed_keys(record, choice) if _status(record, key) in due]

    def _needed_keys(self, record: SourceRecord | None, choice: Choice) -> list[str]:
        if self.is_svg(record):
            return []
        needed = self.plan.needed(record.info if record is not None else None)
        keys = [key for key, need in zip(self.keys, needed, strict=True) if need]
        if choice == "src":
            return keys[:1]
        return keys[1:] if choice == "srcset" else keys


def _status(record: SourceRecord | None, key: str) -> VariantStatus | None:
    row = record.variants.get(key) if record is not None else None
    return None if row is None else row.status
