"""Vocabulary that profiles, code and reports share. Imports no other module of this package."""

from __future__ import annotations

from typing import Literal, get_args

ROLES = {
    "id": "the in-distribution set, at most one",
    "shift": "sets whose classes are among the ID set's, measured against it",
    "transfer": "sets with other classes than the ID set, measured by zero-shot accuracy only",
    "factors": "sets annotated with visual factors",
    "cue_conflict": "sets whose images have the shape of one class and the texture of another",
    "ood": "sets with no class of the ID set",
    "corruptions": "sets that are corrupted on the fly; kinds that use the scene's geometry need its depth",
    "corrupted": "sets that were corrupted before, as KIND/SEVERITY/CLASS/IMAGE",
    "typographic": "sets on whose images the name of a wrong class is painted",
    "attacked": "sets of photographs with a wrong word on a note, each with the name of its object and the word",
    "backgrounds": "sets with images of every class on a common and on an uncommon background",
    "invariance": "sets whose images and prompts are changed in ways that should not change an answer",
    "adversarial": "sets whose images are attacked through the model's own gradients",
    "captions": "sets of images with captions, measured by retrieval in both directions",
    "composition": "sets of images with true and false captions, or of pairs of images with pairs of captions",
    "views": "posed RGB-D views, measured by geometric correspondence",
    "keypoints": "images with semantic keypoints, measured by semantic correspondence",
    "questions": "sets of closed-set questions about images, asked to large multimodal models",
}
"""What a data set can be used for, each role with its meaning."""

FACTORS = (
    "pose",
    "background",
    "pattern",
    "color",
    "smaller",
    "shape",
    "partial_view",
    "subcategory",
    "texture",
    "larger",
    "darker",
    "object_blocking",
    "person_blocking",
    "style",
    "brighter",
    "multiple_objects",
)
"""The 16 visual factors, in the order of ImageNet-X (Idrissi et al. 2023)."""

CorruptionKind = Literal[
    "near_focus",
    "far_focus",
    "fog_3d",
    "flash",
    "xy_motion_blur",
    "z_motion_blur",
    "iso_noise",
    "low_light",
    "color_quant",
    "bit_error",
    "h265_abr",
    "h265_crf",
]
CORRUPTION_KINDS: tuple[CorruptionKind, ...] = get_args(CorruptionKind)
"""The kinds of ImageNet-3DCC (Kar et al. 2022); the first six need depth."""

Severity = Literal[1, 2, 3, 4, 5]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

AlsoUnderCorruption = Literal["calibration", "ood"]
ALSO_UNDER_CORRUPTION: tuple[AlsoUnderCorruption, ...] = get_args(AlsoUnderCorruption)
"""What can be measured under corruption in addition to accuracy."""

Transformation = Literal["flip", "rotation", "crop", "occluder", "hue", "darken", "brighten", "resize", "jpeg"]
TRANSFORMATIONS: tuple[Transformation, ...] = get_args(Transformation)
"""Transformations of images that should not change an answer, in the order in which a combination applies them."""

LARGEST_STRENGTHS: dict[Transformation, float] = {
    "flip": 1.0,
    "rotation": 48.0,
    "crop": 0.64,
    "occluder": 0.48,
    "hue": 180.0,
    "darken": 2.4,
    "brighten": 2.4,
    "resize": 0.88,
    "jpeg": 96.0,
}
"""The largest strength of each transformation, in its own units (`STRENGTH_UNITS`); 0 changes nothing."""

STRENGTH_UNITS: dict[Transformation, str] = {
    "flip": "mirrored",
    "rotation": "degrees",
    "crop": "of the area cut away",
    "occluder": "of the area hidden",
    "hue": "degrees of hue",
    "darken": "doublings of gamma",
    "brighten": "halvings of gamma",
    "resize": "of the pixels per side lost",
    "jpeg": "below JPEG quality 100",
}

STRENGTH_STEPS: dict[Transformation, int] = {name: 1 if name == "flip" else 8 for name in TRANSFORMATIONS}
"""The number of equal steps from 0 to the largest strength; an image is flipped or not, so that is one step."""


def strength_at(transformation: Transformation, step: int) -> float:
    """Return the strength of a step, 0 to the number of steps, in the units of the transformation.

    >>> strength_at("rotation", 2), strength_at("flip", 1)
    (12.0, 1.0)
    """
    return LARGEST_STRENGTHS[transformation] * step / STRENGTH_STEPS[transformation]


TextChange = Literal["paraphrase", "lower_case", "upper_case", "no_article", "plural", "synonym", "class_order"]
TEXT_CHANGES: tuple[TextChange, ...] = get_args(TextChange)
"""Changes of prompts that should not change an answer."""

ATTACK_BUDGETS = (0.5, 1.0, 2.0, 4.0)
"""How far an attack may change each pixel, in 1/255 of its range."""

OodScore = Literal["mcm", "msp", "max_logit", "energy", "entropy", "neglabel", "knn10", "mahalanobis"]
OOD_SCORES: tuple[OodScore, ...] = get_args(OodScore)

VIEW_FORMATS = ("blender", "navi", "open3d", "scannet-pairs")
KEYPOINT_FORMATS = ("spair",)
QUESTION_FORMATS = ("imagenet-d",)
DATA_FORMATS = (
    "auto",
    "imagefolder",
    "cue-conflict",
    "objectnet",
    "counteranimal",
    "table",
    "parquet",
    "webdataset",
    "hub",
    *VIEW_FORMATS,
    *KEYPOINT_FORMATS,
    *QUESTION_FORMATS,
)

REFERENCE_PANELS = {
    "timm": ("imagenet-v2", "imagenet-sketch", "imagenet-r", "imagenet-a"),
    "open_clip": ("imagenet-v2", "imagenet-sketch", "imagenet-r", "imagenet-a", "objectnet"),
    "testbed": ("imagenet-v2", "imagenet-sketch", "imagenet-r", "imagenet-a", "objectnet"),
}
"""Shipped panels of published accuracies, each with the shifted sets that it has results on."""

PUBLISHED_SETS = ("imagenet-1k", *dict.fromkeys(name for sets in REFERENCE_PANELS.values() for name in sets))
"""Sets with published accuracies; the first one is the ID set of all panels."""

SUGARCREPE_PP, WHATSUP_PAIR, WHATSUP_SET = "sugarcrepe_pp_image_to_text", "whatsup_pair", "whatsup_set"
"""Scores of hard pairs that count whole groups of pairs: the last parts of their ids."""

PHOTO = "photo"
"""The group of the versions of one photograph with and without a word on a note. Texts of such sets are names."""

COUNTER_BACKGROUND = "counter_background"
"""The annotation of images that show their class on an uncommon background."""

PRECISIONS = ("fp32", "bf16", "fp16")

LOCAL_ENGINE, RAY_ENGINE = "local", "ray"
"""What encodes: this process, or a Ray cluster, which can also be named by its address."""

CORRECTIONS = ("benjamini-hochberg", "bonferroni")
"""How the level of a run is kept with many gates."""

REPORTS_OF_FINDINGS = ("fail", "inform")
"""What a finding of the study does that does not hold: it fails its test, or is only shown."""

ASPECTS = {
    "adversarial": "attacks through gradients",
    "backgrounds": "reliance on backgrounds",
    "calibration": "calibration",
    "composition": "composition",
    "correspondence": "3D correspondence",
    "corruption": "corruptions",
    "features": "geometry of the features",
    "invariance": "invariance",
    "multimodal": "large multimodal models",
    "ood": "OOD detection",
    "prompts": "prompts",
    "retrieval": "retrieval",
    "shape_bias": "shape bias",
    "shift": "natural shift",
    "typographic": "typographic attacks",
    "visual_factors": "visual factors",
    "word_order": "word order",
    "zero_shot": "zero-shot accuracy",
}
"""The aspects of robustness: the first part of a metric's id, with its name in sentences."""
