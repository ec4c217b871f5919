"""A folder's pictures, whole and then broken, one after the other, and the counts."""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from easyimg.ports import Engine
from easyimg.source import Limits
from easyimg.spec import VariantSpec
from tests.fuzz.mutate import mutated
from tests.fuzz.trial import SETS, Verdict, judged

_VARYING = re.compile(r"0x[0-9a-f]+|\d+")


@dataclass(slots=True)
class Counts:
    """The totals.

    Args:
        ok: built, every file as promised.
        refused: (class of the error, message without numbers) -> how many.
        strange: name of the picture -> what happened; must stay empty.
        slowest: seconds, and the name of the picture.
    """

    ok: int = 0
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    strange: dict[str, str] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")

    @property
    def tried(self) -> int:
        """Pictures so far."""
        return self.ok + self.refused.total() + len(self.strange)

    def by_kind(self) -> dict[str, int]:
        """Return the refusals by the class of their error, most frequent first."""
        kinds: Counter[str] = Counter()
        for (kind, _), count in self.refused.items():
            kinds[kind] += count
        return dict(kinds.most_common())

    def add(self, name: str, verdict: Verdict) -> None:
        """Count one picture."""
        self.slowest = max(self.slowest, (verdict.seconds, name))
        if verdict.outcome == "ok":
            self.ok += 1
        elif verdict.outcome == "refused":
            self.refused[verdict.kind, _VARYING.sub("#", verdict.message)] += 1
        else:
            self.strange[name] = f"{verdict.kind}: {verdict.message}" if verdict.kind else verdict.message

    def as_dict(self) -> dict[str, Any]:
        """Return all counts as JSON values."""
        reasons = [{"kind": k, "message": m, "count": n} for (k, m), n in self.refused.most_common()]
        return {
            "tried": self.tried,
            "ok": self.ok,
            "refused": self.by_kind(),
            "else": self.strange,
            "reasons": reasons,
            "slowest": {"seconds": round(self.slowest[0], 3), "file": self.slowest[1]},
        }


class Picture(NamedTuple):
    """One picture to try: a name that says what it is, the file, what to build of it."""

    name: str
    data: bytes
    specs: Sequence[VariantSpec]


def pictures(files: dict[str, bytes], mutations: int, seed: int) -> Iterator[Picture]:
    """Yield every file whole, with each set of specs, then each broken once, then each once more, and so on."""
    others = [data for data in files.values() if data]
    for name, data in files.items():
        yield from (Picture(f"{name} {kind}", data, specs) for kind, specs in SETS.items())
    for number in range(mutations):
        for name, data in files.items():
            chance = f"{seed}/{name}/{number}"
            kind = random.Random(chance).choice(tuple(SETS))
            yield Picture(f"{name} {kind} {seed}.{number}", mutated(data, others, chance), SETS[kind])


def read_files(folder: Path, max_bytes: int) -> dict[str, bytes]:
    """Return the content of every file below a folder by its relative name; of one too large, enough to show that."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = file.read(max_bytes + 1)
    return found


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a run is made of.

    Args:
        engine: as for ``judged``.
        limits: as for ``judged``.
        call_seconds: the engine's limit of one call.
        keep: folder for the pictures that something strange happened with; None = they are not kept.
    """

    engine: Engine
    limits: Limits
    call_seconds: float
    keep: Path | None = None

    def run(
        self,
        some: Iterable[Picture],
        *,
        seconds: float | None = None,
        progress: Callable[[Counts], None] = lambda counts: None,
    ) -> Counts:
        """Return the counts of all pictures, or of those that could be tried in that many seconds."""
        counts, deadline = Counts(), None if seconds is None else time.monotonic() + seconds
        for name, data, specs in some:
            if deadline is not None and time.monotonic() > deadline:
                break
            verdict = judged(self.engine, self.limits, data, specs, self.call_seconds)
            counts.add(name, verdict)
            if verdict.outcome == "else" and self.keep is not None:
                self._keep_file(name, data)
            progress(counts)
        return counts

    def _keep_file(self, name: str, data: bytes) -> None:
        assert self.keep is not None
        self.keep.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(data).hexdigest()[:8]
        (self.keep / f"{digest}-{name.replace('/', '-').replace(' ', '-')}").write_bytes(data)
