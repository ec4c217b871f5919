"""The table and the files of django-easy-images, as its migration and its engine make them."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

TYPES = {
    "sqlite": ("char(32)", "text"),
    "postgresql": ("uuid", "jsonb"),
    "mysql": ("char(32)", "json"),
}

Run = Callable[[str, list[Any]], Any]
"""Runs a statement with ``%s`` in the place of values."""


def make_table(run: Run, vendor: str) -> None:
    id_, args = TYPES[vendor]
    run(
        f"CREATE TABLE easy_images_easyimage (id {id_} PRIMARY KEY, status smallint NOT NULL, "
        f"storage varchar(512) NOT NULL, name varchar(512) NOT NULL, args {args} NOT NULL, "
        "image varchar(100) NOT NULL, height integer NULL, width integer NULL)",
        [],
    )


class Table:
    """Writes rows, and the files they name.

    Args:
        run: a statement.
        media: the folder of originals and files.
    """

    def __init__(self, run: Run, media: Path) -> None:
        self._run = run
        self._media = media
        self._rows = 0

    def add(self, name: str, file: bytes | None = None, **args: Any) -> str:
        """Insert a row, built if there is a file; return the file's name. Options as that package stores them."""
        self._rows += 1
        id_ = uuid.UUID(int=self._rows)
        options: dict[str, Any] = {"quality": 80, "crop": [0.5, 0.5], "contain": True, "window": None}
        options |= {"width": 320, "ratio": 16 / 9, "mimetype": "image/webp", **args}
        image = f"img/thumbs/{id_.hex}.{options['mimetype'].partition('/')[2].replace('jpeg', 'jpg')}" if file else ""
        if file:
            path = self._media / image
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file)
        values = [id_.hex, 2 if file else 0, "default", name, json.dumps(options), image]
        self._run(
            "INSERT INTO easy_images_easyimage (id, status, storage, name, args, image) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            values,
        )
        return image


def thumbnail(original: bytes, width: int, height: int, format: str = "webp", **options: Any) -> bytes:
    """Return what that package builds: filled and cut at the middle, its EXIF kept, its orientation not applied."""
    with Image.open(io.BytesIO(original)) as image:
        small = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, format, quality=80, exif=image.getexif(), **options)
    return out.getvalue()
