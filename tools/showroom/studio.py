"""Studio: off-screen rendering of scenes with VTK, without a display or a GPU.

One render window is used for all pictures, because creating one takes a hundred times as long as rendering a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from . import surfaces
from .mesh import Mesh

ROOM, WALL_HEIGHT = 3.2, 4.0
NEAR, FAR = 0.1, 20.0
ALPHA_CUT = """//VTK::TCoord::Impl
  if (gl_FragData[0].a < 0.4) discard;
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """A mesh in a scene: on the floor at (x, z), rotated by `yaw` and `pitch` degrees, scaled along its axes.

    tint: a colour (0-1) for its larger parts. skin: a texture that replaces all materials, repeated `skin_scale` times.
    """

    mesh: Mesh
    x: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tint: tuple[float, float, float] | None = None
    skin: NDArray[np.uint8] | None = None
    skin_scale: float = 2.5


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera: position and target in scene units, vertical field of view in degrees."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fov: float = 35.0


@dataclass(frozen=True, slots=True)
class Light:
    """A distant light from `azimuth` and `elevation` degrees."""

    azimuth: float
    elevation: float
    intensity: float
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """The content of a picture. The first of `objects` is the main object, which gives the picture its label."""

    objects: tuple[Placed, ...]
    camera: Camera
    lights: tuple[Light, ...]
    floor: NDArray[np.uint8]
    wall: tuple[float, float, float]
    room_yaw: float = 0.0
    wall_texture: NDArray[np.uint8] | None = None
    ambient: float = 0.3


@dataclass(frozen=True, slots=True)
class Picture:
    """A render.

    rgb (S, S, 3) uint8; depth (S, S) float32, along the optical axis, in scene units; mask (S, S), the visible part of
    the main object; hidden_share, the share of the main object that other objects hide.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    mask: NDArray[np.bool_]
    hidden_share: float = field(default=0.0)


class Studio:
    """Renderer of scenes at `size` x `size` pixels, supersampled by a factor of two."""

    SUPERSAMPLING = 2

    def __init__(self, size: int = 128) -> None:
        vtk.vtkObject.GlobalWarningDisplayOff()
        self.size, side = size, size * self.SUPERSAMPLING
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(side, side)
        self._renderer = vtk.vtkRenderer()
        self._renderer.SetBackground(0.8, 0.85, 0.9)
        self._renderer.AutomaticLightCreationOff()
        self._window.AddRenderer(self._renderer)
        self._camera = vtk.vtkCamera()
        self._renderer.SetActiveCamera(self._camera)
        self._actors: dict[int, list[vtk.vtkActor]] = {}

    def shoot(self, scene: Scene) -> Picture:
        """Return the render of `scene`."""
        self._stage(scene)
        rgb = self._colours()
        every = [actor for actors in self._actors.values() for actor in actors]
        self._solid(every)  # transparent actors do not write depth
        depth = self._depth()
        others = [actor for place, actors in self._actors.items() if place != 0 for actor in actors]
        for actor in others:
            actor.SetVisibility(0)
        alone = self._depth() if others else depth
        for actor in self._actors.get(0, []):
            actor.SetVisibility(0)
        empty = self._depth()
        whole = alone < empty - 0.003
        mask = whole & (depth >= alone - 0.003)
        hidden = 1 - mask.sum() / max(1, whole.sum())
        return Picture(rgb, depth, mask, float(hidden))

    def _stage(self, scene: Scene) -> None:
        self._renderer.RemoveAllViewProps()
        self._renderer.RemoveAllLights()
        self._actors = {}
        for light in scene.lights:
            self._renderer.AddLight(_light(light))
        for actor in _room(scene):
            self._renderer.AddActor(actor)
        for place, placed in enumerate(scene.objects):
            self._actors[place] = _object(placed, scene.ambient)
            for actor in self._actors[place]:
                self._renderer.AddActor(actor)
        self._camera.SetPosition(*scene.camera.position)
        self._camera.SetFocalPoint(*scene.camera.target)
        self._camera.SetViewUp(0, 1, 0)
        self._camera.SetViewAngle(scene.camera.fov)
        self._camera.SetClippingRange(NEAR, FAR)

    def _solid(self, actors: Sequence[vtk.vtkActor]) -> None:
        for actor in actors:
            actor.GetProperty().SetOpacity(1)

    def _colours(self) -> NDArray[np.uint8]:
        self._window.Render()
        side = self.size * self.SUPERSAMPLING
        pixels = vtk.vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, side - 1, side - 1, 0, pixels, 0)
        rows = numpy_support.vtk_to_numpy(pixels).reshape(side, side, 3)[::-1].astype(np.float32)
        fine = rows.reshape(self.size, self.SUPERSAMPLING, self.size, self.SUPERSAMPLING, 3)
        return (fine.mean((1, 3)) + 0.5).astype(np.uint8)

    def _depth(self) -> NDArray[np.float32]:
        self._window.Render()
        side = self.size * self.SUPERSAMPLING
        values = vtk.vtkFloatArray()
        self._window.GetZbufferData(0, 0, side - 1, side - 1, values)
        buffer = numpy_support.vtk_to_numpy(values).reshape(side, side)[::-1].astype(np.float64)
        depth = NEAR * FAR / (FAR - buffer * (FAR - NEAR))
        middle = self.SUPERSAMPLING // 2
        return depth[middle :: self.SUPERSAMPLING, middle :: self.SUPERSAMPLING].astype(np.float32)


def model_matrix(placed: Placed) -> NDArray[np.float64]:
    """Return the (4, 4) matrix from mesh to scene coordinates; the lowest point is on the floor."""
    yaw, pitch = np.radians(placed.yaw), np.radians(placed.pitch)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    linear = turn @ tilt @ np.diag(placed.scale)
    points = placed.mesh.points.reshape(-1, 3) @ linear.T
    lowest = points[:, 1].min()
    middle = (points.min(0) + points.max(0)) / 2 if placed.pitch else np.zeros(3)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = (placed.x - middle[0], -lowest, placed.z - middle[2])
    return matrix


def intrinsics(camera: Camera, size: int) -> NDArray[np.float64]:
    """Return the (3, 3) camera matrix in pixels: x right, y down, pixel centres at half-integers."""
    focal = size / 2 / np.tan(np.radians(camera.fov / 2))
    return np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])


def extrinsics(camera: Camera) -> NDArray[np.float64]:
    """Return the (4, 4) matrix from scene coordinates to the camera's: x right, y down, z forward (OpenCV)."""
    position, target = np.array(camera.position), np.array(camera.target)
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    matrix[:3, 3] = -matrix[:3, :3] @ position
    return matrix


def _light(light: Light) -> vtk.vtkLight:
    azimuth, elevation = np.radians(light.azimuth), np.radians(light.elevation)
    found = vtk.vtkLight()
    found.SetLightTypeToSceneLight()
    found.SetPositional(False)
    found.SetPosition(
        10 * np.sin(azimuth) * np.cos(elevation), 10 * np.sin(elevation), 10 * np.cos(azimuth) * np.cos(elevation)
    )
    found.SetFocalPoint(0, 0, 0)
    found.SetIntensity(light.intensity)
    found.SetColor(*np.clip(light.colour, 0, 1))
    return found


def _room(scene: Scene) -> list[vtk.vtkActor]:
    r, h = ROOM, WALL_HEIGHT
    floor = _quad([(-r, 0, r), (r, 0, r), (r, 0, -r), (-r, 0, -r)], scene.floor, repeat=5)
    corners = (
        [(-r, 0, -r), (r, 0, -r), (r, h, -r), (-r, h, -r)],
        [(r, 0, r), (-r, 0, r), (-r, h, r), (r, h, r)],
        [(-r, 0, r), (-r, 0, -r), (-r, h, -r), (-r, h, r)],
        [(r, 0, -r), (r, 0, r), (r, h, r), (r, h, -r)],
    )
    actors = [floor, *(_quad(list(one), scene.wall_texture, repeat=4) for one in corners)]
    for actor in actors:
        actor.SetOrientation(0, scene.room_yaw, 0)
        actor.GetProperty().SetAmbient(scene.ambient + 0.05)
    for wall in actors[1:]:
        wall.GetProperty().SetColor(*scene.wall)
    return [*actors, *(shadow for placed in scene.objects if (shadow := _shadow(placed)) is not None)]


def _quad(corners: list, texture: NDArray[np.uint8] | None, *, repeat: float) -> vtk.vtkActor:
    points = np.array(corners, np.float32)
    triangles = [[0, 1, 2], [0, 2, 3]]
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    normals = np.broadcast_to(normal / np.linalg.norm(normal), (2, 3, 3))
    uv = np.array([[0, 0], [repeat, 0], [repeat, repeat], [0, repeat]], np.float32)[triangles]
    actor = _actor(points[triangles], normals, uv if texture is not None else None)
    actor.GetProperty().SetDiffuse(0.8)
    if texture is not None:
        actor.SetTexture(_texture(texture))
    return actor


def _shadow(placed: Placed) -> vtk.vtkActor | None:
    """Return a soft shadow on the floor in the shape of the object's footprint."""
    from scipy.ndimage import binary_closing, gaussian_filter

    matrix = model_matrix(placed)
    points = placed.mesh.points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    reach = 1.6 * max(placed.scale)
    local = (points[:, [0, 2]] - (placed.x, placed.z)) / reach
    grid, _, _ = np.histogram2d(local[:, 0], local[:, 1], bins=64, range=[[-1, 1], [-1, 1]])
    print_ = binary_closing(np.pad(grid > 0, 8), iterations=4)[8:-8, 8:-8].astype(np.float32)
    alpha = gaussian_filter(print_, 2.2)
    texture = np.zeros((64, 64, 4), np.uint8)
    texture[..., 3] = (alpha.T * 150).astype(np.uint8)
    x, z = placed.x, placed.z
    corners = [(x - reach, 0.003, z + reach), (x + reach, 0.003, z + reach)]
    corners += [(x + reach, 0.003, z - reach), (x - reach, 0.003, z - reach)]
    actor = _quad(corners, texture, repeat=1)
    actor.GetProperty().LightingOff()
    return actor


def _object(placed: Placed, ambient: float) -> list[vtk.vtkActor]:
    mesh = placed.mesh
    transform = vtk.vtkMatrix4x4()
    transform.DeepCopy(model_matrix(placed).ravel())
    areas = np.linalg.norm(
        np.cross(mesh.points[:, 1] - mesh.points[:, 0], mesh.points[:, 2] - mesh.points[:, 0]), axis=1
    )
    of_part = np.bincount(mesh.part, weights=areas, minlength=len(mesh.materials))
    actors = []
    for place, material in enumerate(mesh.materials):
        chosen = mesh.part == place
        if not chosen.any():
            continue
        texture, uv = material.texture, mesh.uv[chosen]
        colour = np.clip(material.diffuse, 0.04, 1)
        leafy = texture is not None and texture.shape[2] == 4
        if placed.skin is not None and not leafy:
            texture, uv = (
                placed.skin,
                _box_map(mesh.points[chosen] * np.array(placed.scale, np.float32)) * placed.skin_scale,
            )
            colour = np.full(3, 0.95)
        elif texture is not None and colour.max() < 0.5:
            colour = np.full(3, 0.95)
        if placed.tint is not None and of_part[place] > 0.12 * of_part.sum():
            light = float(texture[..., :3].mean() / 255) if texture is not None else float(colour.mean())
            colour = np.array(placed.tint) * (
                np.clip(0.75 + 0.5 * light, 0.6, 1.15) if of_part[place] < of_part.max() else 1
            )
            texture = texture if leafy else None
        actor = _actor(mesh.points[chosen], mesh.normals[chosen], uv if texture is not None else None)
        look = actor.GetProperty()
        look.SetColor(*np.clip(colour, 0, 1))
        look.SetAmbient(ambient)
        look.SetDiffuse(0.8)
        look.SetSpecular(min(0.4, material.specular))
        look.SetSpecularPower(float(np.clip(material.shininess, 2, 60)))
        if material.opacity < 0.98 and placed.skin is None:
            look.SetOpacity(max(0.3, material.opacity))
        if texture is not None:
            actor.SetTexture(_texture(texture))
            if leafy:
                actor.ForceOpaqueOn()
                actor.GetShaderProperty().AddFragmentShaderReplacement("//VTK::TCoord::Impl", True, ALPHA_CUT, False)
        actor.SetUserMatrix(transform)
        actors.append(actor)
    return actors


def _box_map(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (T, 3, 2) texture coordinates: each triangle projected along the axis that it faces most."""
    axis = np.abs(np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])).argmax(1)
    across = np.where((axis == 0)[:, None], points[..., 2], points[..., 0])
    up = np.where((axis == 1)[:, None], points[..., 2], points[..., 1])
    return np.stack([across, up], axis=-1)


def _actor(points: NDArray, normals: NDArray, uv: NDArray | None) -> vtk.vtkActor:
    count = len(points)
    data, cells, where = vtk.vtkPolyData(), vtk.vtkCellArray(), vtk.vtkPoints()
    where.SetData(numpy_support.numpy_to_vtk(np.ascontiguousarray(points.reshape(-1, 3), np.float32), deep=1))
    data.SetPoints(where)
    cells.SetData(
        numpy_support.numpy_to_vtkIdTypeArray(np.arange(0, 3 * count + 1, 3, dtype=np.int64), deep=1),
        numpy_support.numpy_to_vtkIdTypeArray(np.arange(3 * count, dtype=np.int64), deep=1),
    )
    data.SetPolys(cells)
    data.GetPointData().SetNormals(
        numpy_support.numpy_to_vtk(np.ascontiguousarray(normals.reshape(-1, 3), np.float32), deep=1)
    )
    if uv is not None:
        data.GetPointData().SetTCoords(
            numpy_support.numpy_to_vtk(np.ascontiguousarray(uv.reshape(-1, 2), np.float32), deep=1)
        )
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputData(data)
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    return actor


def _texture(pixels: NDArray[np.uint8]) -> vtk.vtkTexture:
    height, width, channels = pixels.shape
    image = vtk.vtkImageData()
    image.SetDimensions(width, height, 1)
    image.GetPointData().SetScalars(
        numpy_support.numpy_to_vtk(
            np.ascontiguousarray(pixels[::-1]).reshape(-1, channels), deep=1, array_type=vtk.VTK_UNSIGNED_CHAR
        )
    )
    texture = vtk.vtkTexture()
    texture.SetInputData(image)
    texture.InterpolateOn()
    texture.MipmapOn()
    texture.SetColorModeToDirectScalars()
    return texture


def named_wall(name: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return the colour of one of the WALLS, slightly varied."""
    red, green, blue = np.clip(np.array(surfaces.WALLS[name]) + rng.uniform(-0.05, 0.05, 3), 0, 1)
    return float(red), float(green), float(blue)
