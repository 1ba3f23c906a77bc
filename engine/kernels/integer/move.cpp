// Channel ranges brought side by side, also with a scale per channel (the op Scale), and copies of general shapes.
#include "kernels/integer/integer.h"
#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct GatherState {
  int32_t ranges, chunk_pixels;
  int64_t pixels;
  int8_t* out;
  ptrdiff_t out_stride;
  ChannelScales scales;
};

constexpr int kGatherPixels = 1024;

bool gather_supports(const Step& s) {
  return s.op == StepOp::kAffine && s.quant && !s.affine.scale && s.out.segment_count == 1 &&
         int64_t{s.out.n} * s.out.h * s.out.w < int64_t{kGatherPixels} * 65000;
}

void gather_query(const Step& s, KernelNeeds* needs) {
  const int64_t pixels = int64_t{s.out.n} * s.out.h * s.out.w;
  needs->state_bytes = sizeof(GatherState) + static_cast<size_t>(s.in.segment_count) * sizeof(ByteRange);
  if (s.quant->channels) needs->weight_bytes = scales_bytes(s.in.c);
  needs->chunks = static_cast<int32_t>((pixels + kGatherPixels - 1) / kGatherPixels);
}

const char* gather_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<GatherState*>(place.state);
  *s = {step.in.segment_count,
        kGatherPixels,
        int64_t{step.out.n} * step.out.h * step.out.w,
        byte_pointer(step.out, place.arena),
        step.out.segments[0].pixel_stride,
        make_scales(step.quant->channels, step.in.c, reinterpret_cast<int32_t*>(place.weights))};
  auto* ranges = reinterpret_cast<ByteRange*>(s + 1);
  for (int32_t i = 0; i < step.in.segment_count; ++i) ranges[i] = byte_range(step.in.segments[i], place.arena);
  return nullptr;
}

void gather_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const GatherState*>(memory);
  const auto* ranges = reinterpret_cast<const ByteRange*>(&s + 1);
  const int64_t begin = int64_t{chunk} * s.chunk_pixels;
  const int64_t end = begin + s.chunk_pixels < s.pixels ? begin + s.chunk_pixels : s.pixels;
  int first = 0;
  for (int32_t i = 0; i < s.ranges; first += ranges[i].channels, ++i) {
    const int8_t* x = ranges[i].base + begin * ranges[i].pixel_stride;
    int8_t* y = s.out + begin * s.out_stride + first;
    for (int64_t p = begin; p < end; ++p, x += ranges[i].pixel_stride, y += s.out_stride) {
      if (!s.scales.multiplier) {
        memmove(y, x, static_cast<size_t>(ranges[i].channels));
        continue;
      }
      for (int c = 0; c < ranges[i].channels; c += kLanes) {
        const int lanes = imin(kLanes, ranges[i].channels - c);
        store_bytes(y + c, scaled_vector(load_bytes(x + c, lanes), s.scales, first + c), lanes);
      }
    }
  }
}

struct StridedState {
  const int8_t* in;
  int8_t* out;
  Strided strided;
};

bool strided_supports(const Step& s) {
  return s.op == StepOp::kStridedCopy && s.quant && s.strided && s.strided->rank >= 1 && s.in.segment_count == 1 &&
         !s.in.segments[0].constant && s.out.segment_count == 1;
}

void strided_query(const Step&, KernelNeeds* needs) {
  needs->state_bytes = sizeof(StridedState);
  needs->chunks = 1;
}

const char* strided_prepare(const Step& step, const Place& place) {
  *static_cast<StridedState*>(place.state) = {byte_pointer(step.in, place.arena), byte_pointer(step.out, place.arena),
                                              *step.strided};
  return nullptr;
}

// The dimensions from `d` on.
void copy_from(const Strided& s, int d, const int8_t* x, int8_t* y) {
  const int64_t count = s.dims[d], in = s.in_strides[0][d], out = s.out_strides[d];
  if (d + 1 < s.rank) {
    for (int64_t i = 0; i < count; ++i) copy_from(s, d + 1, x + i * in, y + i * out);
  } else if (in == 1 && out == 1) {
    memmove(y, x, static_cast<size_t>(count));
  } else {
    for (int64_t i = 0; i < count; ++i) y[i * out] = x[i * in];
  }
}

void strided_run(const void* memory, int32_t, void*) {
  const auto& s = *static_cast<const StridedState*>(memory);
  if (s.strided.fill_first) {
    memset(s.out, static_cast<int8_t>(s.strided.fill_value), static_cast<size_t>(s.strided.out_elements));
  }
  copy_from(s.strided, 0, s.in + s.strided.in_start[0], s.out + s.strided.out_start);
}

}  // namespace

const Kernel kIntegerGather = {
    .name = "copy_s8_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = gather_supports,
    .query = gather_query,
    .prepare = gather_prepare,
    .run = gather_run,
    .types = of_views(DataType::kInt8),
};
const Kernel kIntegerStrided = {
    .name = "strided_copy_s8_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = strided_supports,
    .query = strided_query,
    .prepare = strided_prepare,
    .run = strided_run,
    .types = of_views(DataType::kInt8),
};

}  // namespace sparsenet::rt::SPARSENET_ISA
