"""Panels of many models made by hand, with the study's results on them, and the parts of a page."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
from handmade_panels import model, row

from pytest_clip_robust.core.finding import Answer, Effect, FindingResult, Status
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.core.study_results import (
    FactorResidual,
    FactorShare,
    PublishedPoint,
    Share,
    StudyResults,
)
from pytest_clip_robust.names import FACTORS

KEYS = (
    "shift.top1[imagenet-v2]", "shift.top1[imagenet-a]", "visual_factors.average[imagenet-x]",
    "visual_factors.worst_factor_top[imagenet-x]", "corruption.mean_top1[imagenet]", "shape_bias.ratio_direct[cues]",
    "ood.auroc_mcm[sun]", "ood.auroc_mcm[places]", "calibration.ece_15_equal_width[imagenet]",
    "calibration.ece_15_equal_width[imagenet-v2]", "calibration.ece_15_equal_width_scaled[imagenet]",
    "retrieval.recall_at_1_image_to_text[coco]", "retrieval.recall_at_1_text_to_image[coco]",
    "composition.accuracy[sugarcrepe]", "correspondence.pck_10[spair]",
)  # fmt: skip
"""15 measurements of each model, in addition to its accuracy in distribution; each is one figure."""

TUNINGS = ("zero-shot", "cross-entropy", "contrastive", "supervised")
FAMILIES = ("ViT", "ResNet", "ConvNeXt", "EVA", "SwinV2", "MobileNet V3", "VGG", "DenseNet")


def panel(n, *, name="model-{}@tag"):
    """Return a table of n models; every fourth one begins a family."""
    rng = np.random.default_rng(n)
    rows = []
    for i in range(n):
        parent = name.format(i - i % 4)
        one = model(
            name.format(i), group=parent, parent="" if i % 4 == 0 else parent, fine_tuning=TUNINGS[i % 4],
            family=FAMILIES[i % 8], architecture="B/32", parameters=151_277_313, samples_seen=34e9, prompts="openai-80",
        )  # fmt: skip
        rows.append(row(one, "zero_shot.top1[imagenet]", rng.uniform(0.4, 0.9), error=0.005))
        rows += [row(one, key, rng.uniform(0.1, 0.9)) for key in KEYS]
    return PanelTable(rows=tuple(rows))


def study(table, *, line=lambda x: x - 0.1):
    """Return residuals of every factor, shares of one property, and published points on a line."""
    residuals = [
        FactorResidual(
            factor=factor, model=label, reference=i % 2 == 0, average=0.5 + 0.01 * i, accuracy=0.4 + 0.01 * i,
            expected=line(0.5 + 0.01 * i), residual=2.0, low=1.0, high=3.0, n=100,
        )
        for factor in FACTORS
        for i, label in enumerate(table.models)
    ]  # fmt: skip
    share, fall = Share(value=0.75, low=0.5, high=0.9), Share(value=-0.001, low=-0.1, high=0.1)
    shares = [
        FactorShare(
            metric="shift.top1", dataset="imagenet-a", factor=factor, alone=None if factor == "prompts" else share,
            unique=None if factor in ("all", "prompts") else fall, models=9, families=7,
            warning="has one level" if factor == "prompts" else "",
        )
        for factor in ("all", "architecture", "prompts")
    ]  # fmt: skip
    published = [
        PublishedPoint(
            panel="testbed", dataset="imagenet-v2", model=label, id_accuracy=0.5 + 0.01 * i,
            shifted_accuracy=0.45 + 0.01 * i, expected=line(0.5 + 0.01 * i),
        )
        for i, label in enumerate(table.models)
    ]  # fmt: skip
    return StudyResults(
        residuals=tuple(residuals), shares=tuple(shares), warnings={"prompts": "has one level"},
        published=tuple(published),
    )  # fmt: skip


def answer(status, value, low, high, *, smallest=0.1, predicts="above 0", unit="", of="families"):
    """Return an answer about three models of two families."""
    effect = Effect(value=value, low=low, high=high, models=3, units=2, of=of)
    return Answer(
        status=status, effect=effect, statistic="a minus b", unit=unit, reason="because", smallest=smallest,
        predicts=predicts,
    )  # fmt: skip


def finding(name, found=None, *, why="needs x"):
    """Return the result of a finding, which was not tested without an answer."""
    status = Status.NOT_TESTED if found is None else found.status
    return FindingResult(name=name, claim=f"Claim {name}.", status=status, why=why, answer=found)


FINDINGS = (
    finding("one", answer(Status.DOES_NOT_HOLD, -0.2, -0.3, -0.1)),
    finding("two", answer(Status.HOLDS, 0.3, 0.2, 0.4)),
    finding("three", answer(Status.NOT_DECIDED, 0.05, -0.4, 1.2, predicts="none", unit="points", smallest=1)),
    finding("four"),
    finding("five"),
    finding("six", why="needs y"),
)


class Elements(HTMLParser):
    """The elements of a page as (tag, attributes), and its text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag, **attributes):
        """Return the attributes of the elements with a tag, and with these words in these attributes."""
        return [
            found
            for name, found in self.found
            if name == tag
            and all(
                set(value.split()) <= set(found.get(key.rstrip("_"), "").split()) for key, value in attributes.items()
            )
        ]

    @property
    def text(self):
        """The text with single spaces."""
        return " ".join(" ".join(self.texts).split())
