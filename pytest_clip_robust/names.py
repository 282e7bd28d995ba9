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

OodScore = Literal["mcm", "msp", "max_logit", "energy", "entropy", "neglabel", "knn10", "mahalanobis"]
OOD_SCORES: tuple[OodScore, ...] = get_args(OodScore)

VIEW_FORMATS = ("blender", "navi", "open3d", "scannet-pairs")
KEYPOINT_FORMATS = ("spair",)
QUESTION_FORMATS = ("imagenet-d",)
DATA_FORMATS = (
    "auto",
    "imagefolder",
    "cue-conflict",
    "table",
    "parquet",
    "webdataset",
    "hub",
    *VIEW_FORMATS,
    *KEYPOINT_FORMATS,
    *QUESTION_FORMATS,
)

PRECISIONS = ("fp32", "bf16", "fp16")

CORRECTIONS = ("benjamini-hochberg", "bonferroni")
"""How the level of a run is kept with many gates."""

REPORTS_OF_FINDINGS = ("fail", "inform")
"""What a finding of the study does that does not hold: it fails its test, or is only shown."""

ASPECTS = {
    "calibration": "calibration",
    "composition": "composition",
    "correspondence": "3D correspondence",
    "corruption": "corruptions",
    "features": "geometry of the features",
    "multimodal": "large multimodal models",
    "ood": "OOD detection",
    "prompts": "prompts",
    "retrieval": "retrieval",
    "shape_bias": "shape bias",
    "shift": "natural shift",
    "visual_factors": "visual factors",
    "word_order": "word order",
    "zero_shot": "zero-shot accuracy",
}
"""The aspects of robustness: the first part of a metric's id, with its name in sentences."""
