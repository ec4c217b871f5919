"""The whole corpus of real and hostile pictures through claim, limited child, storage and rows: the worker lives on."""

import csv
import io

import pytest
from PIL import Image

from easyimg import EasyImg, Img, Source
from easyimg.drain import drain
from easyimg.variant import VariantStatus, Wanted

IMG = Img(width="md")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["vips", "pillow"])
def test_every_ok_file_is_built_and_every_other_gets_a_reason_in_its_row(corpus, tmp_path, engine):
    manifest = list(csv.DictReader(io.StringIO((corpus / "manifest.csv").read_text())))
    app = EasyImg(
        storages={"default": f"file://{corpus}", "made": f"file://{tmp_path}"},
        base_urls={},
        variants="made",
        metadata=f"sqlite:///{tmp_path}/rows.db",
        queue="none",
        engine=engine,
        build_seconds=20,
    )
    sources = {row["file"]: Source("default", row["file"]) for row in manifest}
    app.metadata.enqueue(
        [
            Wanted(s, dict(zip(IMG.plan.keys(s.address), (p.canonical for p in IMG.plan.specs), strict=True)))
            for s in sources.values()
        ]
    )
    total = drain(app, isolate=True)
    assert total.sources >= len(manifest)
    wrong = [problem for row in manifest if (problem := check(app, tmp_path, row, sources[row["file"]]))]
    assert wrong == []
    assert app.metadata.counts(stale_after=0).pending == 0
    app.close()


def check(app, folder, row, source):
    """Return what is wrong with one source's rows and files; ``""`` if nothing is."""
    detail = app.metadata.inspect(source)
    built = [v for v in detail.variants if v.status == VariantStatus.BUILT]
    if len(built) not in (0, 3):
        return f"{source}: {len(built)} of 3 variants were built"
    if row["expected"].startswith("ok") and "refusal" not in row["expected"] and "refuse" not in row["expected"]:
        return check_built(folder, row, detail, built)
    if row["expected"].startswith(("refuse", "error:")) and built:
        return f"{source}: was built, but should be: {row['expected']}"
    if not built:
        if {v.status for v in detail.variants} != {VariantStatus.SOURCE_ERROR}:
            return f"{source}: {[v.status for v in detail.variants]}"
        if any("\n" in v.error or not v.error or not v.error_kind for v in detail.variants):
            return f"{source}: no readable reason: {detail.variants[0].error!r}"
    return ""


def check_built(folder, row, detail, built):
    if not built:
        return f"{detail.source}: {detail.variants[0].error_kind}: {detail.variants[0].error}"
    if row["displayed_wxh"] and f"{detail.info.width}x{detail.info.height}" != row["displayed_wxh"]:
        return f"{detail.source}: is {detail.info.size}, displayed {row['displayed_wxh']}"
    for variant in built:
        data = (folder / variant.file_name).read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            if picture.size != (variant.width, variant.height) or picture.format.lower() != variant.format:
                return f"{detail.source}: file {picture.size}, row {variant}"
            if picture.getexif() or "icc_profile" in picture.info or "xmp" in picture.info:
                return f"{detail.source}: metadata left in {variant.format}"
    return ""
