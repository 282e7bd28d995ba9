"""ImageNet-D (Zhang et al. 2024): generated images, each with its object's name and a name that CLIP confuses it with.

    background/CLASS/IMAGE          also texture/, material/
    questions/background.csv        separated by tabs: image_dir, gt_category, top1_pred_cate, top2_pred_cate

The candidates of a published question are the true name and CLIP's first name that is not the true one, in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.questions.question_set import Question, QuestionRows, checked_options
from pytest_clip_robust.datasets.sources.delimited import read_delimited
from pytest_clip_robust.datasets.sources.listings import ImageFinder
from pytest_clip_robust.datasets.sources.rows import file_rows
from pytest_clip_robust.datasets.sources.splits import no_such_split
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, read_text

IMAGENET_D = "imagenet-d"
"""The name of the format, and of the published protocol."""
KINDS = ("background", "texture", "material")
FOLDER = "questions"
IMAGE, TRUTH, FIRST, SECOND = "image_dir", "gt_category", "top1_pred_cate", "top2_pred_cate"


def is_imagenet_d(root: Path) -> bool:
    """Return whether a folder has questions of one of the three kinds."""
    return any(is_file(_file(root, kind)) for kind in KINDS)


def read_imagenet_d(entry: DataEntry, root: Path) -> QuestionRows:
    """Read the questions of all kinds, without their text, which no file has.

    Raises:
        DataError: there is no file of questions, one has another form, or an image does not exist.
    """
    where = f"data set {entry.name!r}"
    if not is_imagenet_d(root):
        raise DataError(f"{where}: no {_file(root, KINDS[0])}, nor that of another kind: {', '.join(KINDS[1:])}")
    if entry.split:
        raise no_such_split(entry, "ImageNet-D has kinds and no splits")
    finder = ImageFinder(root)
    questions = []
    remarks = []
    for kind in KINDS:
        path = _file(root, kind)
        if not is_file(path):
            remarks.append(f"{where}: no {path}, so there are no questions of kind {kind!r}")
            continue
        columns, lines = read_delimited(read_text(path, where), f"{where}: {path}")
        missing = next((name for name in (IMAGE, TRUTH, FIRST, SECOND) if name not in columns), None)
        if missing is not None:
            raise DataError(f"{where}: {path}: no column {missing!r}; it has {', '.join(columns)}")
        for line in lines:
            which = f"{where}: {path}, line {line.number}"
            options = checked_options(_names(line.values), which)
            image = finder.place(line.values[IMAGE], which)
            questions.append(Question(image=image, text="", options=options, truth=0, kind=kind))
    if not questions:
        raise DataError(f"{where}: no questions in {root / FOLDER}")
    pictures = file_rows(finder.names, finder.paths, origin=f"{root}|{FOLDER}")
    return QuestionRows(pictures=replace(pictures, remarks=tuple(remarks)), questions=questions, protocol=IMAGENET_D)


def _file(root: Path, kind: str) -> Path:
    return root / FOLDER / f"{kind}.csv"


def _names(values: Mapping[str, str]) -> list[str]:
    """Return the true name and the first of CLIP's that is another one."""
    true = values[TRUTH]
    return [true, values[SECOND] if values[FIRST] == true else values[FIRST]]
