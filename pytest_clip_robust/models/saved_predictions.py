"""A model that is known only by its answers: ``predictions:FILE``, an NPZ, Parquet or CSV file.

One row per sample, with its name and one of:

- the logits or the probabilities of all classes;
- the answer, with its probability if that is known, as ImageNet-X publishes them;
- the answer alone, as tables of decisions on cue-conflict images have it.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.expansion import check_gzip, check_parquet, check_zip
from pytest_clip_robust.system.files import is_file, user_path
from pytest_clip_robust.system.text import one_line, printable

SAMPLES = ("sample", "file_name", "filename", "imagename", "image", "path", "name", "file")
DATASETS = ("dataset", "set")
CLASSES = ("classes", "class_ids", "class_names")
ANSWERS = ("answer", "predicted_class", "prediction", "predicted", "pred", "object_response")
CONFIDENCES = ("confidence", "predicted_probability", "probability")
LOGITS, PROBABILITIES = ("logits",), ("probabilities", "probs")
UNDECIDED = ("predictions", "outputs", "scores")
"""Names of arrays that hold logits or probabilities: the values tell which."""
NO_CLASS = ("subj", "session", "trial", "rt", "category", "condition", "label", "is_correct", "correct", "target")
"""Columns of public tables that are not logits."""

IMAGENET, IMAGENET_CLASSES = "imagenet-1k", 1000
SUM_TOLERANCE = 1e-3
"""The largest difference from 1 of a row's sum of probabilities; half precision needs that much."""

Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPredictions:
    """The answers of a model to M samples, by name.

    samples: M names of files or rows. datasets: M names of data sets, or None if the file does not tell sets apart.
    logits: (M, C) float32; normalised: whether they are logarithms of probabilities. None if only answers are known.
    answers: M names or positions of classes; confidence: (M,) their probabilities (0-1), or None if unknown.
    classes: the C classes, in the form of `Classifies`, or None if answers are names.
    """

    samples: Sequence[str]
    datasets: Sequence[str] | None = None
    logits: NDArray[np.float32] | None = None
    normalised: bool = False
    answers: Sequence[str] = ()
    confidence: NDArray[np.float64] | None = None
    classes: str | Sequence[str] | None = None


def load_predictions(spec: ModelSpec, **_not_used: object) -> LoadedModel:
    """Read the file that `spec` names.

    Raises:
        ModelError: it does not exist, is damaged, has no names of samples, or has values that are not answers.
    """
    path = user_path(spec.name)
    where = f"model {spec.label}"
    if not is_file(path):
        raise ModelError(f"{where}: no file {path}; expected an NPZ, Parquet or CSV file of saved predictions")
    try:
        columns = _read(path)
    except (OSError, ValueError, KeyError, EOFError, pa.ArrowException, zipfile.BadZipFile, MemoryError) as error:
        raise ModelError(f"{where}: {path} cannot be read: {one_line(error)}") from error
    saved, notes = _interpret(columns, spec, where)
    digest = hashlib.sha256(f"{spec.option('classes') or ''}|".encode() + path.read_bytes()).hexdigest()
    return LoadedModel(
        spec=spec,
        encoder=saved,
        weights=digest,
        preprocess=digest,
        text=digest,
        precision="saved",
        device="none",
        notes=(f"its {len(saved.samples):,} answers are read from {path.name}; nothing is encoded", *notes),
    )


def _read(path: Path) -> Columns:
    name = path.name.casefold()
    if name.endswith(".npz"):
        check_zip(path)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    if name.endswith((".parquet", ".pq")):
        check_parquet(parquet.read_metadata(path))
        return _of_table(parquet.read_table(path))
    if name.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
        if name.endswith(".gz"):
            check_gzip(path)
        return _of_table(_read_csv(path, "\t" if ".tsv" in name else ","))
    raise ValueError("expected a file that ends in .npz, .parquet, .csv, .tsv, .csv.gz or .tsv.gz")


def _read_csv(path: Path, separator: str) -> pa.Table:
    parsing = csv.ParseOptions(delimiter=separator)
    with csv.open_csv(path, parse_options=parsing) as reader:
        names = reader.schema.names
    texts = [name for name in names if _key(name) in {*SAMPLES, *DATASETS, *ANSWERS}]
    options = csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=False)
    return csv.read_csv(path, parse_options=parsing, convert_options=options)


def _of_table(table: pa.Table) -> Columns:
    """Return the columns by name; lists become rows of an array, and columns of one number per class one array."""
    twice = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"it has two columns {twice!r}")
    columns: dict[str, Any] = {}
    by_class: dict[str, NDArray[np.float32]] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            columns[name] = _rows_of_lists(column, name)
        elif (_is_number(column.type) or pa.types.is_null(column.type)) and _key(name) not in {
            *ANSWERS,
            *CONFIDENCES,
            *NO_CLASS,
        }:
            by_class[name] = column.cast(pa.float32()).to_numpy(zero_copy_only=False)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns if any(_key(name) in ANSWERS for name in columns) else {**columns, **_joined(by_class)}


def _joined(by_class: Mapping[str, NDArray[np.float32]]) -> Columns:
    """Return one array of columns of numbers, and their classes; if some say what they are, only those count."""
    named = {name: _class_of(name) for name in by_class}
    kind = next((kind for kind, _ in named.values() if kind), "")
    chosen = [name for name, (of_column, _) in named.items() if of_column == kind]
    if len(chosen) < 2:
        return {}
    values = np.stack([by_class[name] for name in chosen], axis=1)
    return {kind or "scores": values, "classes": np.array([named[name][1] for name in chosen])}


def _rows_of_lists(column: Any, name: str) -> NDArray[np.float32]:
    sizes = np.unique(pa.compute.list_value_length(column).to_numpy(zero_copy_only=False))
    if len(sizes) != 1:
        raise ValueError(
            f"the lists of column {name!r} have {sizes.min()} to {sizes.max()} numbers; expected one length"
        )
    flat = column.flatten().to_numpy(zero_copy_only=False)
    rows: NDArray[np.float32] = flat.reshape(len(column), -1).astype(np.float32)
    return rows


def _class_of(name: str) -> tuple[str, str]:
    """Return the kind of a column of numbers, such as ``logits``, and its class.

    >>> _class_of("logit_n01440764"), _class_of("cat")
    (('logits', 'n01440764'), ('', 'cat'))
    """
    for prefixes, kind in (
        (("logit_", "logits_", "logit."), "logits"),
        (("prob_", "probability_", "p_"), "probabilities"),
    ):
        for prefix in prefixes:
            if name.casefold().startswith(prefix):
                return kind, name[len(prefix) :]
    return "", name


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _interpret(columns: Columns, spec: ModelSpec, where: str) -> tuple[SavedPredictions, list[str]]:
    names = _find(columns, SAMPLES)
    if names is None:
        raise ModelError(
            f"{where}: no column with the names of the samples, but {_listed(columns)}; call it {SAMPLES[0]} or "
            f"{SAMPLES[1]}"
        )
    samples = [str(name) for name in np.asarray(names).tolist()]
    if not samples:
        raise ModelError(f"{where}: it has no rows")
    sets = _find(columns, DATASETS)
    datasets = None if sets is None else [str(name) for name in np.asarray(sets).tolist()]
    logits, normalised = _logits(columns, len(samples), where)
    classes: str | Sequence[str] | None = None
    notes: list[str] = []
    if logits is not None:
        classes, notes = _classes(columns, logits.shape[1], spec, where)
        return SavedPredictions(
            samples=samples, datasets=datasets, logits=logits, normalised=normalised, classes=classes
        ), notes
    answers = _find(columns, ANSWERS)
    if answers is None:
        raise ModelError(
            f"{where}: neither logits, probabilities nor answers, but {_listed(columns)}; call the columns logits, "
            f"probabilities or {ANSWERS[0]}, or give each class a column"
        )
    words = [str(one) for one in np.asarray(answers).tolist()]
    if len(words) != len(samples):
        raise ModelError(f"{where}: {len(words)} answers for {len(samples)} samples; expected one each")
    numbered = all(word.isdecimal() for word in words)
    if numbered or spec.option("classes"):
        classes, notes = _classes(columns, 0, spec, where)
    return SavedPredictions(
        samples=samples,
        datasets=datasets,
        answers=words,
        confidence=_confidence(columns, len(samples), where),
        classes=classes,
    ), notes


def _logits(columns: Columns, rows: int, where: str) -> tuple[NDArray[np.float32] | None, bool]:
    """Return the (M, C) logits, or the logarithms of probabilities, and whether they are that."""
    found = _find(columns, (*LOGITS, *PROBABILITIES, *UNDECIDED), ndim=2)
    if found is None:
        return None, False
    values = np.asarray(found, dtype=np.float32)
    if len(values) != rows or values.shape[1] < 2:
        raise ModelError(
            f"{where}: values of shape {values.shape} for {rows} samples; expected one row each, and 2 classes"
        )
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ModelError(
            f"{where}: {int((~finite).sum())} of {rows} rows have NaN or infinite values, the first is row "
            f"{int(finite.argmin())}"
        )
    stated = _find(columns, PROBABILITIES, ndim=2) is not None
    sums = values.sum(axis=1, dtype=np.float64)
    are = bool((values >= 0).all() and (np.abs(sums - 1) <= SUM_TOLERANCE).all())
    if stated and not are:
        raise ModelError(
            f"{where}: its probabilities add up to {sums.min():.4g} to {sums.max():.4g} per sample and are "
            f"{values.min():.4g} or more; expected a sum of 1 and none below 0 (are they logits?)"
        )
    if _find(columns, LOGITS, ndim=2) is not None or not are:
        return values, False
    return np.log(np.maximum(values, np.finfo(np.float32).tiny)), True


def _classes(columns: Columns, count: int, spec: ModelSpec, where: str) -> tuple[str | list[str], list[str]]:
    """Return the classes as the spec or the file names them, or ImageNet's 1,000, and notes."""
    if stated := spec.option("classes"):
        return stated, []
    named = _find(columns, CLASSES)
    if named is not None:
        names = [str(one) for one in np.asarray(named).tolist()]
        if count and len(names) != count:
            raise ModelError(f"{where}: {len(names)} names of classes for {count} values per sample")
        if not all(name.isdecimal() for name in names):
            return names, []
        if names != [str(i) for i in range(len(names))]:
            raise ModelError(f"{where}: its classes are the numbers {names[0]}, {names[1]}, ...; write ?classes=FILE")
    if count in {0, IMAGENET_CLASSES}:
        return IMAGENET, [f"its classes are taken to be those of {IMAGENET}; ?classes=FILE states others"]
    raise ModelError(
        f"{where}: the names of its {count} classes are not known; add an array classes to the file, or write "
        f"{spec}?classes=FILE with one id or name per line"
    )


def _confidence(columns: Columns, rows: int, where: str) -> NDArray[np.float64] | None:
    found = _find(columns, CONFIDENCES)
    if found is None:
        return None
    values = np.asarray(found, dtype=np.float64)
    good = (values >= 0) & (values <= 1)
    if values.shape != (rows,) or not good.all():
        first = f", first {values[int(good.argmin())]} in row {int(good.argmin())}" if values.shape == (rows,) else ""
        raise ModelError(f"{where}: {int((~good).sum())} of {rows} confidences are not in 0..1{first}")
    return values


def _find(columns: Columns, names: Sequence[str], *, ndim: int = 1) -> Any | None:
    """Return the first of the columns with one of `names`, in singular or plural, and with `ndim` dimensions."""
    for wanted in names:
        for name, column in columns.items():
            if _key(name) in {wanted, f"{wanted}s"} and np.ndim(column) == ndim:
                return column
    return None


def _key(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _listed(columns: Columns) -> str:
    return ", ".join(printable(name) for name in list(columns)[:10]) or "nothing"
