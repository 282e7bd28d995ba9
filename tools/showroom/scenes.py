"""Scenes: one object in a natural view, and the same scene with one thing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from . import surfaces
from .mesh import Mesh
from .studio import ROOM, Camera, Light, Placed, Scene, named_wall

SMALLEST_MASK = 0.02
"""A main object that covers a smaller share of the picture is hard to recognise; another view is rendered."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A scene and its attributes. Angles are in degrees; colour is the object's tint, ``""`` if it has none."""

    scene: Scene
    floor: str
    wall: str
    colour: str
    azimuth: float
    elevation: float


def natural(mesh: Mesh, rng: np.random.Generator, *, tint_share: float = 0.5, azimuth: float = 75.0) -> Setting:
    """Return a scene as in ordinary photographs: from the front half, from eye level or above, in a plain room."""
    floor = surfaces.FLOORS[rng.integers(len(surfaces.FLOORS))]
    wall = list(surfaces.WALLS)[rng.integers(len(surfaces.WALLS))]
    colour = list(surfaces.COLOURS)[rng.integers(len(surfaces.COLOURS))] if rng.random() < tint_share else ""
    side, height = float(rng.uniform(-azimuth, azimuth)), float(rng.uniform(8, 38))
    size = mesh.size
    distance = float(rng.uniform(1.75, 2.5) * (0.35 + 0.65 * np.linalg.norm(size) / 1.2))
    target = np.array([0, size[1] / 2, 0]) + rng.uniform(-0.08, 0.08, 3) * [1, 0.6, 1]
    scene = Scene(
        objects=(Placed(mesh, tint=_tint(colour, rng)),),
        camera=look_at(target, side, height, distance),
        lights=daylight(rng, side, height),
        floor=surfaces.floor(floor, rng),
        wall=named_wall(wall, rng),
        room_yaw=float(rng.uniform(-180, 180)),
    )
    return Setting(scene, floor, wall, colour, side, height)


def look_at(target: np.ndarray, azimuth: float, elevation: float, distance: float, fov: float = 35.0) -> Camera:
    """Return a camera at `distance` from `target`; azimuth 0 is in front of the object."""
    a, e = np.radians(azimuth), np.radians(elevation)
    position = target + distance * np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    position[1] = max(position[1], 0.08)
    return Camera(tuple(map(float, position)), tuple(map(float, target)), fov)


def daylight(rng: np.random.Generator, azimuth: float, elevation: float) -> tuple[Light, ...]:
    """Return a key light from the side, a fill from the camera and a rim from behind."""
    key, height, warmth = rng.uniform(-90, 90) + azimuth, rng.uniform(30, 75), rng.uniform(-0.08, 0.08)
    return (
        Light(float(key), float(height), float(rng.uniform(0.6, 0.9)), (1 + warmth, 1, 1 - warmth)),
        Light(azimuth, elevation + 5, float(rng.uniform(0.2, 0.4))),
        Light(float(key) + 180, 40, float(rng.uniform(0.1, 0.3)), (1 - warmth, 1, 1 + warmth)),
    )


Change = Callable[[Setting, np.random.Generator, "Props"], Scene]


@dataclass(frozen=True, slots=True)
class Props:
    """Meshes that a change can add: people, other objects, and a rare instance of the class."""

    people: list[Mesh]
    others: list[Mesh]
    rare: Mesh


def main_object(scene: Scene, **changes: object) -> Scene:
    """Return `scene` with changes to its first object."""
    return replace(scene, objects=(replace(scene.objects[0], **changes), *scene.objects[1:]))


def pose(setting: Setting, rng: np.random.Generator, _: Props) -> Scene:
    """Lay the object on its side or back, turned."""
    tilt = float(rng.choice([-90.0, 90.0, 180.0]))
    return main_object(setting.scene, pitch=tilt, yaw=float(rng.uniform(100, 260)))


def background(setting: Setting, rng: np.random.Generator, _: Props) -> Scene:
    """Put the object on another floor, between walls with a bold pattern."""
    kinds = [kind for kind in surfaces.FLOORS if kind != setting.floor]
    walls = surfaces.pattern(surfaces.PATTERNS[rng.integers(len(surfaces.PATTERNS))], rng)
    floor = surfaces.floor(kinds[rng.integers(len(kinds))], rng)
    return replace(setting.scene, floor=floor, wall=(0.95, 0.95, 0.95), wall_texture=walls)


def pattern(setting: Setting, rng: np.random.Generator, _: Props) -> Scene:
    """Paint the object with stripes, dots, zigzags or plaid."""
    kind = surfaces.PATTERNS[rng.integers(len(surfaces.PATTERNS))]
    return main_object(setting.scene, skin=surfaces.pattern(kind, rng), skin_scale=1.5, tint=None)


def color(setting: Setting, rng: np.random.Generator, _: Props) -> Scene:
    """Paint the object in another bold colour."""
    bold = [name for name in ("red", "green", "blue", "yellow", "orange", "purple", "pink") if name != setting.colour]
    return main_object(setting.scene, tint=_tint(bold[rng.integers(len(bold))], rng), skin=None)


def smaller(setting: Setting, _: np.random.Generator, __: Props) -> Scene:
    """Shrink the object to two fifths of its size."""
    return main_object(setting.scene, scale=(0.4, 0.4, 0.4))


def larger(setting: Setting, _: np.random.Generator, __: Props) -> Scene:
    """Enlarge the object until it extends beyond the picture."""
    return main_object(setting.scene, scale=(1.6, 1.6, 1.6))


def shape(setting: Setting, rng: np.random.Generator, _: Props) -> Scene:
    """Stretch or squeeze the object along one axis."""
    stretched = [(1.9, 0.75, 1.0), (0.5, 1.35, 0.7), (1.0, 0.45, 1.6)][rng.integers(3)]
    return main_object(setting.scene, scale=stretched)


def partial_view(setting: Setting, rng: np.random.Generator, _: Props) -> Scene:
    """Turn the camera so that about half of the object is outside the picture."""
    camera = setting.scene.camera
    position, target = np.array(camera.position), np.array(camera.target)
    forward = target - position
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    half_width = np.linalg.norm(forward) * np.tan(np.radians(camera.fov / 2))
    moved = target + right * half_width * float(rng.choice([-1, 1])) * rng.uniform(0.85, 1.0)
    return replace(setting.scene, camera=replace(camera, target=tuple(map(float, moved))))


def subcategory(setting: Setting, _: np.random.Generator, props: Props) -> Scene:
    """Replace the object by a rare instance of its class."""
    return main_object(setting.scene, mesh=props.rare)


def texture(setting: Setting, rng: np.random.Generator, _: Props) -> Scene:
    """Make the object of brick, marble, fur, rust or wool."""
    kind = surfaces.MATERIALS[rng.integers(len(surfaces.MATERIALS))]
    return main_object(setting.scene, skin=surfaces.material(kind, rng), skin_scale=1.8, tint=None)


def darker(setting: Setting, _: np.random.Generator, __: Props) -> Scene:
    """Dim all light."""
    return _lit(setting.scene, 0.22)


def brighter(setting: Setting, _: np.random.Generator, __: Props) -> Scene:
    """Overexpose the picture."""
    return _lit(setting.scene, 2.3)


def object_blocking(setting: Setting, rng: np.random.Generator, props: Props) -> Scene:
    """Put another object between camera and object."""
    return _in_front(setting.scene, props.others[rng.integers(len(props.others))], rng, height=0.62)


def person_blocking(setting: Setting, rng: np.random.Generator, props: Props) -> Scene:
    """Put a person between camera and object."""
    return _in_front(setting.scene, props.people[rng.integers(len(props.people))], rng, height=0.95)


def multiple_objects(setting: Setting, rng: np.random.Generator, props: Props) -> Scene:
    """Put two other objects next to the main object, just as prominent."""
    camera = np.radians(setting.azimuth)
    placed = []
    for side in (-1, 1):
        mesh = props.others[rng.integers(len(props.others))]
        angle = camera + side * np.radians(rng.uniform(70, 100))
        reach = 0.55 + 0.5 * float(np.hypot(mesh.size[0], mesh.size[2]))
        placed.append(
            Placed(mesh, float(reach * np.sin(angle)), float(reach * np.cos(angle)), float(rng.uniform(-40, 40)))
        )
    position, target = np.array(setting.scene.camera.position), np.array(setting.scene.camera.target)
    away = position - target
    # The camera stays inside the room for every rotation of the room.
    farthest = (0.95 * ROOM - np.hypot(*target[[0, 2]])) / np.hypot(*away[[0, 2]])
    back = target + away * min(1.35, farthest)
    wider = replace(setting.scene.camera, position=tuple(map(float, back)))
    return replace(setting.scene, objects=(*setting.scene.objects, *placed), camera=wider)


def clutter(setting: Setting, rng: np.random.Generator, props: Props) -> Scene:
    """Fill the room behind and next to the object with other things."""
    camera = np.radians(setting.azimuth)
    placed = []
    for angle in np.radians([75, 115, 150, 210, 245, 285]) + camera:
        mesh = props.others[rng.integers(len(props.others))]
        reach = rng.uniform(0.95, 1.5)
        turn = angle + np.radians(rng.uniform(-12, 12))
        size = float(rng.uniform(0.6, 1.0))
        placed.append(
            Placed(
                mesh,
                float(reach * np.sin(turn)),
                float(reach * np.cos(turn)),
                float(rng.uniform(0, 360)),
                0.0,
                (size,) * 3,
            )
        )
    return replace(setting.scene, objects=(*setting.scene.objects, *placed))


def night(setting: Setting, rng: np.random.Generator, _: Props) -> Scene:
    """Light the scene with the moon and one lamp."""
    moon = Light(setting.azimuth + float(rng.uniform(-60, 60)), 55, 0.28, (0.45, 0.55, 1.0))
    lamp = Light(setting.azimuth + float(rng.uniform(-50, 50)), 12, float(rng.uniform(0.25, 0.4)), (1.0, 0.75, 0.4))
    return replace(setting.scene, lights=(moon, lamp), ambient=0.05)


CHANGES: dict[str, Change] = {
    "pose": pose,
    "background": background,
    "pattern": pattern,
    "color": color,
    "smaller": smaller,
    "shape": shape,
    "partial_view": partial_view,
    "subcategory": subcategory,
    "texture": texture,
    "larger": larger,
    "darker": darker,
    "object_blocking": object_blocking,
    "person_blocking": person_blocking,
    "brighter": brighter,
    "multiple_objects": multiple_objects,
}
"""All factors except ``style``, which changes the picture instead of the scene."""


def _tint(colour: str, rng: np.random.Generator) -> tuple[float, float, float] | None:
    if not colour:
        return None
    red, green, blue = np.clip(np.array(surfaces.COLOURS[colour]) + rng.uniform(-0.06, 0.06, 3), 0, 1)
    return float(red), float(green), float(blue)


def _lit(scene: Scene, factor: float) -> Scene:
    lights = tuple(replace(light, intensity=light.intensity * factor) for light in scene.lights)
    return replace(scene, lights=lights, ambient=scene.ambient * factor)


def _in_front(scene: Scene, mesh: Mesh, rng: np.random.Generator, *, height: float) -> Scene:
    """Place `mesh` about a third of the way to the camera, `height` times as tall as the object's largest side."""
    position = np.array(scene.camera.position)[[0, 2]]
    target = np.array(scene.camera.target)[[0, 2]]
    towards = (position - target) / np.linalg.norm(position - target)
    aside = np.array([towards[1], -towards[0]]) * rng.choice([-1, 1]) * rng.uniform(0.0, 0.18)
    x, z = target + towards * rng.uniform(0.2, 0.42) * np.linalg.norm(position - target) + aside
    size = height * rng.uniform(0.8, 1.3) / max(float(mesh.size[1]), 0.35) * 0.8
    yaw = float(np.degrees(np.arctan2(towards[0], towards[1])) + rng.uniform(-30, 30))
    return replace(scene, objects=(*scene.objects, Placed(mesh, float(x), float(z), yaw, 0.0, (size,) * 3)))
