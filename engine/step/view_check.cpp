#include "step/view_check.h"

namespace sparsenet::rt {

int64_t pixels(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

bool countable(const int32_t* factors, int count) {
  int64_t product = 1;
  for (int i = 0; i < count; ++i) {
    if (factors[i] < 1) return false;
    product *= factors[i];
    if (product > kMostElements) return false;
  }
  return true;
}

bool countable(const View& v) {
  const int32_t factors[] = {v.n, v.h, v.w, v.c};
  return countable(factors, 4);
}

int64_t extent(const View& v, const Segment& s) {
  return (pixels(v) - 1) * s.pixel_stride + s.channels;
}

int64_t extent(const View& v) {
  return extent(v, v.segments[0]);
}

namespace {

bool readable(const void* at, DataType type, int64_t elements, const PlanRoom& room) {
  return at && room.bytes(room.self, at) >= elements * static_cast<int64_t>(size_of(type));
}

}  // namespace

bool readable(const Parameter& parameter, int64_t elements, const PlanRoom& room) {
  const bool real = parameter.type == DataType::kFloat32 || parameter.type == DataType::kFloat16;
  return real && readable(parameter.data, parameter.type, elements, room);
}

bool readable_as(DataType type, const Parameter& parameter, int64_t elements, const PlanRoom& room) {
  return parameter.type == type && readable(parameter.data, type, elements, room);
}

const char* check_view(const View& view, const PlanRoom& room, bool written) {
  if (view.segment_count < 1) return "expected at least one range of channels";
  if (!countable(view)) return "expected 1 to 1073741824 elements";
  const size_t size = size_of(view.type);
  int64_t channels = 0;
  for (int32_t i = 0; i < view.segment_count; ++i) {
    const Segment& s = view.segments[i];
    if (s.channels < 1 || s.channels > view.c) return "expected ranges of channels that add up";
    channels += s.channels;
    // Stride 0, the same channels at every pixel, is only for views that are read.
    if (s.pixel_stride < s.channels && (written || s.pixel_stride != 0)) return "expected pixels that do not overlap";
    // Other operands of the same step have all these pixels in the arena, so there cannot be more of them than it has
    // elements. This keeps sums over pixels from overflowing.
    if (s.pixel_stride == 0 && static_cast<uint64_t>(pixels(view)) > room.arena_bytes / size) {
      return "expected at most as many pixels as the arena has elements";
    }
    const int64_t elements = extent(view, s);
    if (s.constant) {
      if (written) return "a constant is not written to";
      if (!readable(s.constant, view.type, elements, room)) return "it leaves its constant";
    } else {
      const auto all = static_cast<int64_t>(room.arena_bytes / size);
      const auto first = static_cast<int64_t>(s.offset / size);
      if (s.offset % size != 0 || first > all || elements > all - first) return "it leaves the arena";
    }
  }
  return channels == view.c ? nullptr : "expected ranges of channels that add up";
}

size_t arena_end(const View& view) {
  size_t end = 0;
  for (int32_t i = 0; i < view.segment_count; ++i) {
    const Segment& s = view.segments[i];
    const size_t last = s.constant ? 0 : s.offset + static_cast<size_t>(extent(view, s)) * size_of(view.type);
    if (last > end) end = last;
  }
  return end;
}

size_t arena_end(const Step& step) {
  size_t end = 0;
  const auto add = [&end](const View& view) {
    const size_t last = arena_end(view);
    if (last > end) end = last;
  };
  add(step.in);
  add(step.in2);
  add(step.out);
  for (int32_t i = 0; i < step.train.operand_count; ++i) add(step.train.operands[i]);
  return end;
}

}  // namespace sparsenet::rt
