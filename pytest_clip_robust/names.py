"""The vocabulary that profiles, code and reports share. Imports nothing, so that every module can use it."""

from __future__ import annotations

ROLES = {
    "id": "the in-distribution set, at most one",
    "shift": "sets whose classes are among the ID set's, measured against it",
    "transfer": "sets with classes of their own, measured by zero-shot accuracy only",
    "factors": "sets annotated with visual factors",
    "cue_conflict": "sets whose images have the shape of one class and the texture of another",
    "ood": "sets with no class of the ID set",
    "corruptions": "sets that are corrupted on the fly; kinds that use the scene's geometry need its depth",
    "corrupted": "sets that were corrupted before, as KIND/SEVERITY/CLASS/IMAGE",
    "captions": "sets of images with captions, measured by retrieval in both directions",
    "composition": "sets of images with true and false captions, or of pairs of images with pairs of captions",
    "views": "posed RGB-D views, measured by geometric correspondence",
    "keypoints": "images with semantic keypoints, measured by semantic correspondence",
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

CORRUPTION_KINDS = (
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
)
"""The kinds of ImageNet-3DCC (Kar et al. 2022); the first six need depth."""

SEVERITIES = (1, 2, 3, 4, 5)

ALSO_UNDER_CORRUPTION = ("calibration", "ood")
"""What can be measured under corruption besides accuracy."""

OOD_SCORES = ("mcm", "msp", "max_logit", "energy", "entropy", "neglabel", "knn10", "mahalanobis")

VIEW_FORMATS = ("blender", "navi", "open3d", "scannet-pairs")
KEYPOINT_FORMATS = ("spair",)
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
)

PRECISIONS = ("fp32", "bf16", "fp16")
