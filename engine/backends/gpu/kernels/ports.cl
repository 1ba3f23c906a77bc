// Inputs and outputs: between staging, the start of scratch, where channels are planes of pixels ([image][channel]
// [pixel]; float32 numbers, or bytes), and a view in the arena, where they are side by side.
#include "common.cl"
#include "ports_params.h"

#ifdef BYTES
typedef uchar STAGED;
typedef uchar STORED;
typedef uchar VALUE;
#define LOAD(p, i) ((p)[i])
#define STORE(p, i, value) ((p)[i] = (value))
#else
typedef float STAGED;
typedef ELEM STORED;
typedef float VALUE;
#define LOAD(p, i) load_elem(p, i)
#define STORE(p, i, value) store_elem(p, i, value)
#endif

INLINE size_t staged_at(struct PortParams p, uint image, uint pixel, uint channel) {
  return ((size_t)image * (size_t)p.all + (size_t)p.first + channel) * (size_t)p.pixels + pixel;
}
INLINE size_t stored_at(struct PortParams p, uint image, uint pixel, uint channel) {
  return ((size_t)image * (size_t)p.pixels + pixel) * p.stride + channel;
}

// In tiles of 32 channels and 32 pixels, so that both sides are read and written along neighbours.
KERNEL port_tiles(ARENA_PARAMETERS, struct PortParams p) {
  LOCAL VALUE tile[32][33];
  GLOBAL STAGED* staged = (GLOBAL STAGED*)scratch;
  GLOBAL STORED* stored = (GLOBAL STORED*)arena + p.at;
  GLOBAL const STORED* source = (GLOBAL const STORED*)(p.in_weights ? weights : arena) + p.at;
  uint rest = (uint)GROUP_ID(0);
  const uint channel = rest % (uint)p.tiles_channels * 32;
  rest /= (uint)p.tiles_channels;
  const uint pixel = rest % (uint)p.tiles_pixels * 32, image = rest / (uint)p.tiles_pixels;
  const uint channels = (uint)p.channels, pixels = (uint)p.pixels, x = (uint)LOCAL_ID(0);
  if (p.input) {
    for (uint y = (uint)LOCAL_ID(1); y < 32; y += GROUP_Y) {
      if (channel + y < channels && pixel + x < pixels) {
        tile[y][x] = staged[staged_at(p, image, pixel + x, channel + y)];
      }
    }
    BARRIER();
    for (uint y = (uint)LOCAL_ID(1); y < 32; y += GROUP_Y) {
      if (channel + x < channels && pixel + y < pixels) {
        STORE(stored, stored_at(p, image, pixel + y, channel + x), tile[x][y]);
      }
    }
  } else {
    for (uint y = (uint)LOCAL_ID(1); y < 32; y += GROUP_Y) {
      if (channel + x < channels && pixel + y < pixels) {
        tile[y][x] = LOAD(source, stored_at(p, image, pixel + y, channel + x));
      }
    }
    BARRIER();
    for (uint y = (uint)LOCAL_ID(1); y < 32; y += GROUP_Y) {
      if (channel + y < channels && pixel + x < pixels) {
        staged[staged_at(p, image, pixel + x, channel + y)] = tile[x][y];
      }
    }
  }
}

// One thread for each element, along channels: for images of one pixel, or few channels.
KERNEL port_direct(ARENA_PARAMETERS, struct PortParams p) {
  const uint item = (uint)GROUP_ID(0) * GROUP_X + (uint)LOCAL_ID(0);
  if (item >= p.items) return;
  GLOBAL STAGED* staged = (GLOBAL STAGED*)scratch;
  const uint pixel = item / (uint)p.channels, channel = item - pixel * (uint)p.channels;
  const uint image = pixel / (uint)p.pixels;
  const size_t outside = staged_at(p, image, pixel - image * (uint)p.pixels, channel);
  const size_t inside = p.at + (size_t)pixel * p.stride + channel;
  if (p.input) {
    STORE((GLOBAL STORED*)arena, inside, staged[outside]);
  } else {
    staged[outside] = LOAD((GLOBAL const STORED*)(p.in_weights ? weights : arena), inside);
  }
}
