"""Makes the small images in this folder and the resized arrays that Pillow computes from them.

Run by hand (pip install pillow numpy); the results are kept beside it so that tests need neither.
"""
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 24, 16
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
rgb = np.stack([x * 255 // (WIDTH - 1), y * 255 // (HEIGHT - 1), ((x // 4 + y // 4) % 2) * 200], -1).astype(np.uint8)
image = Image.fromarray(rgb)
image.save("rgb.png")
image.convert("L").save("gray.png")
image.quantize(16).save("palette.png")
with_alpha = image.convert("RGBA")
with_alpha.putalpha(Image.fromarray((x * 10).astype(np.uint8)))
with_alpha.save("alpha.png")
Image.fromarray((x * 2000 + y).astype(np.uint16)).save("gray16.png")
image.save("rgb.jpg", quality=95, subsampling=0)
image.save("progressive.jpg", quality=80, progressive=True)
image.convert("L").save("gray.jpg", quality=95)
image.convert("CMYK").save("cmyk.jpg", quality=95)

# The decoders' answers, for comparison: [H, W, C] as float32.
np.save("palette.npy", np.asarray(Image.open("palette.png").convert("RGB")).astype(np.float32))
np.save("progressive.npy", np.asarray(Image.open("progressive.jpg")).astype(np.float32))
np.save("cmyk.npy", np.asarray(Image.open("cmyk.jpg").convert("RGB")).astype(np.float32))


def resized(channel_images, size, box=None):
    # Mode F keeps fractions, so nothing is lost to rounding.
    return np.stack([np.asarray(c.resize(size, Image.Resampling.BILINEAR, box=box)) for c in channel_images])


planes = [Image.fromarray(rgb[..., c].astype(np.float32)) for c in range(3)]
np.save("resized-7x5.npy", resized(planes, (7, 5)))
np.save("resized-40x50.npy", resized(planes, (40, 50)))
np.save("cropped-8x8.npy", resized(planes, (8, 8), box=(4, 0, 20, 16)))
