"""Loading of question sets: from a DataEntry to a QuestionSet, without decoding an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_clip_robust import showroom
from pytest_clip_robust.datasets.entry import DataEntry, refuse_choice
from pytest_clip_robust.datasets.images.labels import entry_classes
from pytest_clip_robust.datasets.images.loading import distinct_image_set
from pytest_clip_robust.datasets.questions.imagenet_d import IMAGENET_D, is_imagenet_d, read_imagenet_d
from pytest_clip_robust.datasets.questions.question_set import QuestionRows, QuestionSet, folded, question_set
from pytest_clip_robust.datasets.questions.showroom_questions import read_showroom_questions
from pytest_clip_robust.datasets.questions.tables import read_question_table
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_folder, user_path


def load_question_set(entry: DataEntry, *, cache_dir: Path | None = None) -> QuestionSet:
    """Read the questions that `entry` describes; equal images are one image.

    The order of options is that of the file; in ImageNet-D and FOCI the true one is always the first. The entry's
    `classes`, a file with the names of a class per line (``sofa|couch``), give options their synonyms.

    Raises:
        DataError: the set cannot be read, an image does not exist, or a question has a wrong answer or wrong options;
            the message names the set, and the file and line or row.
    """
    refuse_choice(entry, "questions")
    found = _read(entry, cache_dir)
    images, places = distinct_image_set(entry, found.pictures, cache_dir=cache_dir)
    questions = [replace(one, image=int(places[one.image])) for one in found.questions]
    return question_set(images, questions, synonyms=_synonyms(entry, found), protocol=found.protocol)


def _read(entry: DataEntry, cache_dir: Path | None) -> QuestionRows:
    if not entry.location:
        raise DataError(f"data set {entry.name!r} has no location; give one with --clip-data {entry.name}=/path")
    if entry.location.startswith(showroom.PREFIX):
        return read_showroom_questions(entry, cache_dir)
    root = user_path(entry.location).absolute()
    if entry.format == IMAGENET_D and not is_folder(root):
        raise DataError(f"data set {entry.name!r}: no folder {entry.location}; format {IMAGENET_D!r} needs a folder")
    if entry.format == IMAGENET_D or (entry.format == "auto" and not entry.table and is_imagenet_d(root)):
        return read_imagenet_d(entry, root)
    return read_question_table(entry, cache_dir)


def _synonyms(entry: DataEntry, found: QuestionRows) -> dict[str, tuple[str, ...]]:
    """Return the other names of every option that the entry's list of classes has."""
    classes = entry_classes(entry)
    if classes is None:
        return {}
    of_name = {folded(name): names for names in classes.prompt_names for name in names}
    options = {option for question in found.questions for option in question.options}
    others = {
        option: tuple(name for name in of_name.get(folded(option), ()) if folded(name) != folded(option))
        for option in options
    }
    return {option: names for option, names in others.items() if names}
