"""Accuracy in distribution, under natural shift, by visual factor, and by shape and texture: rows with intervals."""

from __future__ import annotations

from dataclasses import replace

from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.panel import Panel, rows_panel
from pytest_clip_robust.report.html.row import Row


def zero_shot_panels(gates: Gates) -> list[Panel]:
    """Return the accuracies of every set."""
    return rows_panel("Accuracy in distribution", gates.rows(gates.of_aspect("zero_shot")))


def shift_panels(gates: Gates) -> list[Panel]:
    """Return the accuracy of every shift below that in distribution, and the relative robustness."""
    in_distribution = gates.rows(gates.of("zero_shot.top1"), by="dataset")
    shifted = sorted(gates.rows(gates.of("shift.top1"), by="dataset"), key=lambda row: -row.value)
    return [
        *rows_panel("Top-1 accuracy in distribution and under shift", in_distribution + shifted if shifted else []),
        *rows_panel(
            "Relative robustness",
            gates.rows(gates.of("shift.relative_robustness"), by="dataset"),
            note="Accuracy under shift divided by accuracy in distribution.",
        ),
    ]


def factor_panels(gates: Gates) -> list[Panel]:
    """Return the accuracy and the error ratio of every factor, hardest first."""
    panels = []
    for dataset in dict.fromkeys(record["dataset"] for record in gates.of_aspect("visual_factors")):
        for metric, title, note in (
            ("visual_factors.accuracy_top", "Accuracy by factor", "Hardest first."),
            (
                "visual_factors.error_ratio_top",
                "Error ratio by factor",
                "The error on images with the factor, divided by the average error; below 1 is easier than average.",
            ),
        ):
            records = [record for record in gates.of(metric, subsets=True) if record["dataset"] == dataset]
            rows = gates.rows(records, by="subset")
            rows.sort(key=lambda row: -row.value if row.lower_is_better else row.value)
            panels += rows_panel(f"{title}, {dataset}", rows, note=note)
    return panels


def shape_panels(gates: Gates) -> list[Panel]:
    """Return shape against texture: how often each cue decides, and the share of shape decisions of every class."""
    names = {
        "ratio": "shape bias",
        "shape_accuracy": "answers by shape",
        "texture_accuracy": "answers by texture",
        "cue_coverage": "answers by either cue",
    }
    panels = []
    for ratio in gates.starting("shape_bias.ratio_"):
        way = ratio["metric"].removeprefix("shape_bias.ratio_")
        siblings = [gates.of(f"shape_bias.{name}_{way}") for name in names]
        rows = [
            gates.row(record, name)
            for name, records in zip(names.values(), siblings, strict=True)
            for record in records
            if record["dataset"] == ratio["dataset"]
        ]
        title = f"Shape against texture, {ratio['dataset']}"
        note = "Shape bias is the share of shape among the answers by either cue: 0 is all texture, 1 is all shape."
        # Answers by texture are better when rarer; on one axis with answers by shape, all rows run from 0 to 1.
        panels += rows_panel(title, [replace(row, lower_is_better=False) for row in rows], note=note)
        classes = [
            Row(label=name.removeprefix("ratio."), value=value)
            for name, value in sorted(ratio["details"].items(), key=lambda item: (item[1], item[0]))
            if name.startswith("ratio.")
        ]
        panels += rows_panel(f"Shape bias by class of the shape, {ratio['dataset']}", classes)
    return panels
