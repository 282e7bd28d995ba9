"""Writers of small data sets in the forms that users have them."""

from __future__ import annotations

import csv
import io
import tarfile


def write_table(folder, rows, name="labels.csv"):
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_parquet(path, columns, *, image=None, features=None):
    import datasets

    found = datasets.Dataset.from_dict(columns)
    if image:
        found = found.cast_column(image, datasets.Image(decode=False))
    for name, feature in (features or {}).items():
        found = found.cast_column(name, feature)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.to_parquet(path)


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_files(root, files):
    """Write contents by relative path."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root
