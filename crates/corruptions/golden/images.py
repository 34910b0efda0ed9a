"""Makes golden.safetensors: what Pillow and SciPy make of small images, and kernels by their definitions.

The keys are:

    image, wide, tiny      uint8 [3, h, w]: a smooth scene with edges, of 32 x 32, 37 x 50 and (for Pillow) 5 x 3 pixels
    KIND-PARAMETER/NAME    uint8 [3, h, w]: that image, corrupted
    disk-RADIUS-ALIAS      float32 [k, k]: the kernel of defocus_blur

Filters and zooms are scipy.ndimage's, JPEG and boxes are Pillow's, HSV is Python's colorsys; values are float64, cut to bytes as
the published files are. Run it with numpy, scipy, pillow and safetensors installed: `python images.py`.
"""

import colorsys
import io
from pathlib import Path

import numpy as np
import PIL
import scipy
from PIL import Image
from safetensors.numpy import save_file
from scipy import ndimage


def scene(h, w):
    y, x = np.mgrid[0:h, 0:w].astype(float)
    red = 120 + 90 * np.sin(x / 5.0) + 30 * np.cos(y / 3.0)
    green = 255 * (x + y) / (h + w)
    blue = np.where((x - w / 2) ** 2 + (y - h / 2) ** 2 < (h / 4) ** 2, 220, 40) + 20 * np.sin(x * y / 40)
    grey = y < 4  # rows without a hue, and black ones
    image = np.stack([red, green, blue])
    image[:, grey] = image[1][grey]
    image[:, :1] = 0
    return np.clip(image, 0, 255).astype(np.uint8)


def stored(x):
    # As in the corruptions: what rounding took from a whole level is given back.
    return np.clip(x * 255 + 1 / 1024, 0, 255).astype(np.uint8)


def pillow(image):
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def planes(picture):
    return np.asarray(picture).transpose(2, 0, 1).copy()


def gaussian_blur(x, sigma):
    return np.stack([ndimage.gaussian_filter(c, sigma, mode="nearest", truncate=4) for c in x])


def disk(radius, alias):
    reach, smooth = (8, 1) if radius <= 8 else (int(radius), 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = (x**2 + y**2 <= radius**2).astype(float)
    kernel /= kernel.sum()
    line = np.exp(-np.arange(-smooth, smooth + 1) ** 2 / (2 * alias**2))
    line /= line.sum()
    # scipy's "mirror" is OpenCV's reflect-101.
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, line, axis, mode="mirror")
    return kernel


def defocus_blur(x, radius, alias):
    return np.stack([ndimage.correlate(c, disk(radius, alias), mode="mirror") for c in x])


def clipped_zoom(plane, factor):
    parts = []
    for side in plane.shape:
        crop = int(np.ceil(side / factor))
        parts.append(slice((side - crop) // 2, (side - crop) // 2 + crop))
    zoomed = ndimage.zoom(plane[tuple(parts)], factor, order=1)
    trims = [(have - side) // 2 for have, side in zip(zoomed.shape, plane.shape)]
    return zoomed[trims[0] :, trims[1] :][: plane.shape[0], : plane.shape[1]]


def zoom_blur(x, stop, step):
    factors = np.arange(1, stop, step)
    return np.stack([(c + sum(clipped_zoom(c, f) for f in factors)) / (len(factors) + 1) for c in x])


def contrast(x, factor):
    means = x.mean(axis=(1, 2), keepdims=True)
    return (x - means) * factor + means


def in_hsv(x, change):
    out = x.copy()
    for y in range(x.shape[1]):
        for at in range(x.shape[2]):
            out[:, y, at] = colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*x[:, y, at])))
    return out


def brightness(x, more):
    return in_hsv(x, lambda h, s, v: (h, s, min(v + more, 1)))


def saturate(x, times, plus):
    return in_hsv(x, lambda h, s, v: (h, min(s * times + plus, 1), v))


def pixelate(image, scale):
    h, w = image.shape[1:]
    small = pillow(image).resize((int(w * scale), int(h * scale)), Image.BOX)
    return planes(small.resize((w, h), Image.BOX))


def jpeg(image, quality):
    file = io.BytesIO()
    pillow(image).save(file, "JPEG", quality=quality)
    return planes(Image.open(file))


images = {"image": scene(32, 32), "wide": scene(37, 50), "tiny": scene(5, 3)}
tensors = dict(images)
for name, image in images.items():
    for scale in (0.95, 0.65, 0.25):
        if min(image.shape[1:]) * scale >= 1:
            tensors[f"pixelate-{scale}/{name}"] = pixelate(image, scale)
    for quality in (80, 40, 7):
        tensors[f"jpeg-{quality}/{name}"] = jpeg(image, quality)
    if name == "tiny":
        continue
    x = image / 255.0
    for sigma in (0.4, 1.0, 6.0):
        tensors[f"gaussian_blur-{sigma}/{name}"] = stored(gaussian_blur(x, sigma))
    for radius, alias in ((0.5, 0.6), (1.5, 0.1), (10.0, 0.5)):
        tensors[f"defocus_blur-{radius}-{alias}/{name}"] = stored(defocus_blur(x, radius, alias))
    for stop, step in ((1.06, 0.01), (1.26, 0.01), (1.31, 0.03)):
        tensors[f"zoom_blur-{stop}-{step}/{name}"] = stored(zoom_blur(x, stop, step))
    for factor in (0.75, 0.05):
        tensors[f"contrast-{factor}/{name}"] = stored(contrast(x, factor))
    for more in (0.05, 0.5):
        tensors[f"brightness-{more}/{name}"] = stored(brightness(x, more))
    for times, plus in ((0.3, 0.0), (2.5, 0.2), (20.0, 0.2)):
        tensors[f"saturate-{times}-{plus}/{name}"] = stored(saturate(x, times, plus))
for radius, alias in ((0.3, 0.4), (1.5, 0.1), (3.0, 0.1), (8.0, 0.5), (10.0, 0.5)):
    tensors[f"disk-{radius}-{alias}"] = disk(radius, alias).astype(np.float32)

versions = {"numpy": np.__version__, "scipy": scipy.__version__, "pillow": PIL.__version__}
save_file(tensors, Path(__file__).with_name("golden.safetensors"), metadata=versions)
