"""Facts in the repository card of a model: the YAML front matter of README.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_clip_robust.models.card.facts import Claim, FineTuning
from pytest_clip_robust.models.card.tags import repository_claims, without_fine_tuning
from pytest_clip_robust.models.card.training_data import data_named
from pytest_clip_robust.system.files import is_file
from pytest_clip_robust.system.text import one_line, printable

README = "README.md"
LARGEST = 2**20
"""The largest README that is read, in bytes."""

RELATIONS: dict[str, FineTuning] = {"finetune": "unknown method", "adapter": "adapter", "merge": "interpolation"}
"""The Hub's ``base_model_relation``, see https://huggingface.co/docs/hub/model-cards; quantized is no fine-tuning."""


def readme_claims(folder: Path) -> list[Claim]:
    """Return the claims of the README.md in `folder`, or an empty list without one.

    A front matter that cannot be read states nothing, and becomes a remark: it never stops a run.
    """
    path = folder / README
    if not is_file(path) or path.stat().st_size > LARGEST:
        return []
    from huggingface_hub.repocard import metadata_load  # noqa: PLC0415 - imports requests

    try:
        content = metadata_load(path)  # YAML's safe loader: builds plain values only
    except Exception as error:  # noqa: BLE001 - YAML raises errors of many kinds
        return [Claim(source="repository card", remarks=(f"{README} has no valid front matter: {one_line(error)}",))]
    return card_claims(content) if isinstance(content, Mapping) else []


def card_claims(content: Mapping[str, Any]) -> list[Claim]:
    """Return the claims of a repository card's metadata: data sets, licence, and the model that it was made from.

    >>> card_claims({"license": "mit", "datasets": ["mlfoundations/datacomp_1b"]})[0].facts
    {'licence': 'mit', 'data': 'DataComp-1B'}
    """
    facts: dict[str, Any] = {"licence": next(iter(_words(content.get("license_name") or content.get("license"))), None)}
    trained_on, bases = _words(content.get("datasets")), _words(content.get("base_model"))
    known = [data_named(one) for one in trained_on]
    names = ", ".join(found.name if found else one for found, one in zip(known, trained_on, strict=True)) or None
    pairs = known[0].pairs if len(known) == 1 and known[0] else None
    relation = content.get("base_model_relation", "finetune")
    if not bases or not isinstance(relation, str) or relation not in RELATIONS:
        claims = [Claim(source="repository card", facts=facts | {"data": names})]
        return [*claims, Claim(source="published", facts={"pairs": pairs})] if pairs else claims
    facts |= {
        "fine_tuning": RELATIONS[relation],
        "fine_tuning_details": f"of {' and '.join(bases)}",
        "fine_tuned_on": names,
    }
    start = repository_claims(bases[0], source="repository card") if len(bases) == 1 else []
    return [Claim(source="repository card", facts=facts), *map(without_fine_tuning, start)]


def _words(value: object) -> list[str]:
    """Return a string or a list of strings as a list; a front matter can hold anything."""
    values = value if isinstance(value, list) else [value]
    return [printable(one) for one in values if isinstance(one, str) and one]
