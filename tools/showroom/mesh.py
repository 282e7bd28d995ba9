"""Meshes: arrays read from Wavefront OBJ, upright and centred, with a largest side of 1."""

from __future__ import annotations

import io
import posixpath
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .catalogue import Model, open_archive

TEXTURE_SIDE = 256
HIDDEN = ("edge_", "sweethome3d_window_mirror")
"""Materials that Sweet Home 3D itself does not draw."""

Floats = NDArray[np.float32]


@dataclass(slots=True)
class Material:
    """The material of a part of a mesh. `texture` is (H, W, 3 or 4) uint8 or None; colours are 0-1."""

    name: str = "default"
    diffuse: tuple[float, float, float] = (0.8, 0.8, 0.8)
    specular: float = 0.0
    shininess: float = 10.0
    opacity: float = 1.0
    map_file: str = ""
    texture: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Mesh:
    """T triangles: points, normals (T, 3, 3), uv (T, 3, 2), part (T,) into `materials`.

    y is up, the front faces +z, the lowest point is at y = 0, the footprint is centred, the largest side is 1.
    size: the (3,) extent in these units.
    """

    points: Floats
    normals: Floats
    uv: Floats
    part: NDArray[np.int32]
    materials: tuple[Material, ...]
    size: Floats = field(repr=False)


@lru_cache(maxsize=64)
def load_mesh(model: Model) -> Mesh:
    """Return the normalised mesh of a model with its textures."""
    folder = posixpath.dirname(model.key)
    library = open_archive(model.archive)
    names = {name.lower(): name for name in library.namelist()}
    points, normals, uv, part, materials = _parse(library.read(f"{model.key}.obj").decode("latin-1"), folder, model)
    for material in materials:
        if material.map_file:
            name = names.get(posixpath.normpath(posixpath.join(folder, material.map_file)).lower())
            material.texture = None if name is None else _texture(library.read(name))
    if model.rotation:
        rotation = np.array(model.rotation, np.float32).reshape(3, 3)
        points, normals = points @ rotation.T, normals @ rotation.T
    low, high = points.reshape(-1, 3).min(0), points.reshape(-1, 3).max(0)
    scale = float((high - low).max())
    foot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2], np.float32)
    return Mesh((points - foot) / scale, normals, uv, part, tuple(materials), (high - low) / scale)


def _parse(text: str, folder: str, model: Model):  # noqa: ANN202, C901 - five arrays; a case a keyword
    vertices, textures, normals = [], [], []
    corners, parts = [], []
    materials, places, current = [Material()], {}, 0
    known: dict[str, Material] = {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "v":
            vertices.append(rest.split()[:3])
        elif word == "vt":
            textures.append(rest.split()[:2])
        elif word == "vn":
            normals.append(rest.split()[:3])
        elif word == "f":
            face = [_corner(one, (len(vertices), len(textures), len(normals))) for one in rest.split()]
            for i in range(1, len(face) - 1):
                corners.append((face[0], face[i], face[i + 1]))
                parts.append(current)
        elif word == "usemtl":
            name = rest.strip()
            if name not in places:
                places[name] = len(materials)
                materials.append(known.get(name, Material(name)))
            current = places[name]
        elif word == "mtllib":
            library = open_archive(model.archive)
            path = posixpath.join(folder, rest.strip())
            if path in library.namelist():
                known |= _materials(library.read(path).decode("latin-1"))
    return _assemble(vertices, textures, normals, np.array(corners, np.int64), np.array(parts, np.int32), materials)


def _assemble(vertices, textures, normals, corners, parts, materials):  # noqa: ANN001, ANN202, PLR0917 - as above
    points = np.array(vertices, np.float32)[corners[:, :, 0] - 1]
    uv = np.zeros((len(corners), 3, 2), np.float32)
    if textures:
        uv = np.array(textures, np.float32)[np.maximum(corners[:, :, 1] - 1, 0)]
    flat = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    area = np.linalg.norm(flat, axis=1)
    flat /= np.maximum(area, 1e-12)[:, None]
    shading = np.repeat(flat[:, None], 3, axis=1)
    if normals:
        given = np.array(normals, np.float32)[np.maximum(corners[:, :, 2] - 1, 0)]
        length = np.linalg.norm(given, axis=2, keepdims=True)
        usable = (corners[:, :, 2:] > 0) & (length > 0.1)
        shading = np.where(usable, given / np.maximum(length, 1e-6), shading)
    hidden = np.array([material.name.lower().startswith(HIDDEN) for material in materials])
    keep = (area > 1e-12 * max(1e-9, float(np.ptp(points)) ** 2)) & ~hidden[parts]
    return points[keep], shading[keep].astype(np.float32), uv[keep], parts[keep], materials


def _corner(text: str, counts: tuple[int, int, int]) -> tuple[int, int, int]:
    numbers = [int(one) if one else 0 for one in [*text.split("/"), "", ""][:3]]
    return tuple(number if number >= 0 else count + 1 + number for number, count in zip(numbers, counts, strict=True))


def _materials(text: str) -> dict[str, Material]:
    found: dict[str, Material] = {}
    current = Material()
    for line in text.splitlines():
        words = line.split()
        match words:
            case ["newmtl", *name]:
                current = found.setdefault(" ".join(name), Material(" ".join(name)))
            case ["Kd", red, green, blue, *_]:
                current.diffuse = (float(red), float(green), float(blue))
            case ["Ks", red, green, blue, *_]:
                current.specular = (float(red) + float(green) + float(blue)) / 3
            case ["Ns", value, *_]:
                current.shininess = float(value)
            case ["d", *_, value]:
                current.opacity = float(value)
            case ["map_Kd", *_, name]:
                current.map_file = name.replace("\\", "/")
    return found


def _texture(content: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(content))
    transparent = image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info
    image = image.convert("RGBA" if transparent else "RGB")
    image.thumbnail((TEXTURE_SIDE, TEXTURE_SIDE))
    pixels = np.asarray(image)
    return pixels[..., :3] if transparent and pixels[..., 3].min() > 250 else pixels
