"""AlexNet's top-1 accuracy under each corruption at severities 1 to 5: what corruption errors are divided by.

On the first 5,000 images of ImageNet-C (Hendrycks and Dietterich 2019) and ImageNet-3DCC (Kar et al. 2022), as
RobustBench (Croce et al. 2021) publishes them.
"""

from __future__ import annotations

from collections.abc import Mapping

IMAGENET_3DCC: Mapping[str, tuple[float, ...]] = {
    "near_focus": (0.4616, 0.4192, 0.3822, 0.3554, 0.3282),
    "far_focus": (0.4722, 0.3902, 0.3314, 0.29, 0.2586),
    "bit_error": (0.4432, 0.4, 0.3272, 0.263, 0.1498),
    "color_quant": (0.551, 0.5388, 0.5018, 0.3306, 0.0968),
    "flash": (0.2858, 0.248, 0.2082, 0.156, 0.0958),
    "fog_3d": (0.4374, 0.2808, 0.1852, 0.1328, 0.096),
    "h265_abr": (0.498, 0.4836, 0.4494, 0.3626, 0.3694),
    "h265_crf": (0.5028, 0.5012, 0.4886, 0.4496, 0.4318),
    "iso_noise": (0.1308, 0.1052, 0.0658, 0.0286, 0.012),
    "low_light": (0.2832, 0.2364, 0.1874, 0.1246, 0.056),
    "xy_motion_blur": (0.3028, 0.209, 0.153, 0.1156, 0.0954),
    "z_motion_blur": (0.2792, 0.2308, 0.193, 0.166, 0.1516),
}

IMAGENET_C: Mapping[str, tuple[float, ...]] = {
    "shot_noise": (0.2944, 0.1598, 0.0726, 0.0196, 0.012),
    "motion_blur": (0.4174, 0.295, 0.1794, 0.1022, 0.0698),
    "snow": (0.2788, 0.114, 0.132, 0.085, 0.0502),
    "pixelate": (0.4754, 0.4502, 0.267, 0.1288, 0.0858),
    "gaussian_noise": (0.311, 0.1814, 0.0724, 0.0214, 0.0058),
    "defocus_blur": (0.3404, 0.262, 0.1502, 0.085, 0.0522),
    "brightness": (0.5504, 0.514, 0.464, 0.3886, 0.2906),
    "fog": (0.3154, 0.2324, 0.157, 0.1214, 0.0556),
    "zoom_blur": (0.3028, 0.2308, 0.1936, 0.163, 0.1312),
    "frost": (0.3788, 0.1976, 0.1052, 0.0994, 0.0616),
    "glass_blur": (0.3486, 0.2412, 0.1126, 0.08, 0.0636),
    "impulse_noise": (0.2234, 0.1154, 0.0556, 0.014, 0.0054),
    "contrast": (0.3496, 0.2334, 0.1094, 0.0266, 0.0094),
    "jpeg_compression": (0.4858, 0.4522, 0.4228, 0.3488, 0.2564),
    "elastic_transform": (0.471, 0.3022, 0.44, 0.3568, 0.1898),
}

ACCURACY: Mapping[str, tuple[float, ...]] = {**IMAGENET_C, **IMAGENET_3DCC}
