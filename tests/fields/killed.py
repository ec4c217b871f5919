"""A process that is killed in the middle of a transaction: ``python -m tests.fields.killed FOLDER MOMENT``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from tests.fields.conftest import Shop, picture


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(write: Any) -> Any:
    """Let the first write, which is the note's, be the last."""

    def once(*args: Any) -> None:
        write(*args)
        die()

    return once


def run(folder: Path, moment: str) -> None:
    shop = Shop(folder)
    with shop.app, shop.Session() as session:
        product = shop.Product(name="kept", main_image=picture(1))
        session.add_all([product, shop.Product(name="other", main_image=picture(2))])
        session.commit()
        if moment == "before the file":
            shop.app.storage("default").write = dying(shop.app.storage("default").write)  # type: ignore[method-assign]
        if moment.endswith("delete"):
            session.delete(product)
        else:
            product.main_image = picture(3)
        session.flush()
        if moment.startswith("after the commit"):
            event.listen(session, "after_commit", die, insert=True)
            session.commit()
        die()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
