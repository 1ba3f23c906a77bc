#include "plugin_check/case.h"

#include <sparsenet/half.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "plugin_check/failure.h"
#include "step/step_check.h"
#include "step/step_kinds.h"

namespace sparsenet::plugin_check {
namespace {

constexpr size_t kRegionAlignment = 64;
constexpr float kLowest = -2.f, kHighest = 2.f;  // of numbers that no generator has chosen

int64_t readable_bytes(const void* self, const void* place) {
  const auto* at = static_cast<const uint8_t*>(place);
  for (const Constant& constant : static_cast<const Case*>(self)->constants()) {
    if (at >= constant.data() && at < constant.data() + constant.bytes) return constant.data() + constant.bytes - at;
  }
  return 0;
}

std::string shape_of(const rt::View& v) {
  std::string shape = text("[%d,%d,%d,%d]", v.n, v.h, v.w, v.c);
  if (v.segment_count > 1) shape += text(" in %d ranges", v.segment_count);
  return shape;
}

}  // namespace

Case::Case(const char* kind, uint64_t seed)
    : random(seed * 977 + 13), name_(text("%s %d", kind, static_cast<int>(seed))) {}

void Case::randomize(uint8_t* at, rt::DataType type, int64_t elements) {
  for (int64_t i = 0; i < elements; ++i) {
    if (type == rt::DataType::kFloat32) {
      const float value = random.real(kLowest, kHighest);
      std::memcpy(at + i * 4, &value, sizeof value);
    } else {
      at[i] = static_cast<uint8_t>(random.next());
    }
  }
}

void Case::grow(rt::DataType type, int64_t elements) {
  const size_t first = arena_.size();
  arena_.resize(first + static_cast<size_t>(elements) * rt::size_of(type));
  randomize(arena_.data() + first, type, elements);
  regions_.back().elements += elements;
}

size_t Case::place(rt::DataType type, int64_t elements) {
  if (regions_.empty() || regions_.back().type != type) {
    if (!regions_.empty()) grow(regions_.back().type, random.integer(1, 9));
    arena_.resize((arena_.size() + kRegionAlignment - 1) / kRegionAlignment * kRegionAlignment);
    regions_.push_back({type, arena_.size(), 0});
  }
  grow(type, random.chance(0.3f) ? 0 : random.integer(1, 11));
  const size_t at = arena_.size();
  grow(type, elements);
  return at;
}

void Case::finish() {
  grow(regions_.back().type, random.integer(1, 9));
}

void* Case::constant(rt::DataType type, int64_t elements) {
  const int64_t front = random.chance(0.5f) ? 0 : random.integer(1, 9);
  const size_t bytes = static_cast<size_t>(front + elements) * rt::size_of(type);
  constants_.push_back({type, std::vector<uint64_t>((bytes + 7) / 8), bytes});
  return constants_.back().data() + static_cast<size_t>(front) * rt::size_of(type);
}

rt::View Case::view(int32_t n, int32_t h, int32_t w, int32_t c, Layout layout, rt::DataType type) {
  std::vector<rt::Segment> ranges;
  const int32_t most = layout == Layout::kAny && random.chance(0.6f) ? std::min(c, random.integer(2, 4)) : 1;
  const int64_t pixels = int64_t{n} * h * w;
  for (int32_t left = c, i = most; left > 0; --i) {
    const int32_t channels = i == 1 ? left : random.integer(1, left - i + 1);
    left -= channels;
    const bool is_constant = layout == Layout::kAny && most > 1 && random.chance(0.2f);
    const bool everywhere = layout == Layout::kAny && most > 1 && random.chance(0.15f);
    int32_t stride = channels;
    if (layout != Layout::kGapless && random.chance(0.5f)) stride += random.integer(1, 7);
    if (everywhere) {
      stride = 0;
      place(type, pixels);  // plans have at most as many such pixels as their arena has elements
    }
    const int64_t elements = (pixels - 1) * stride + channels;
    if (is_constant) {
      void* data = constant(type, elements);
      randomize(static_cast<uint8_t*>(data), type, elements);
      ranges.push_back({0, data, channels, stride});
    } else {
      ranges.push_back({place(type, elements), nullptr, channels, stride});
    }
  }
  segments.push_back(std::move(ranges));
  return {n, h, w, c, segments.back().data(), static_cast<int32_t>(segments.back().size()), type};
}

rt::View Case::flat(int64_t elements, rt::DataType type) {
  return view(1, 1, 1, static_cast<int32_t>(elements), Layout::kGapless, type);
}

rt::Parameter Case::parameter(int64_t count, float low, float high) {
  const rt::DataType type = half_parameters ? rt::DataType::kFloat16 : rt::DataType::kFloat32;
  void* data = constant(type, count);
  for (int64_t i = 0; i < count; ++i) {
    const float value = random.real(low, high);
    if (half_parameters) {
      static_cast<uint16_t*>(data)[i] = float_to_half(value);
    } else {
      static_cast<float*>(data)[i] = value;
    }
  }
  return {data, type};
}

rt::Parameter Case::integers(int64_t count, rt::DataType type, int32_t low, int32_t high) {
  void* data = constant(type, count);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t value = random.integer(low, high);
    if (type == rt::DataType::kInt32) {
      static_cast<int32_t*>(data)[i] = value;
    } else {
      static_cast<int8_t*>(data)[i] = static_cast<int8_t>(value);
    }
  }
  return {data, type};
}

float* Case::element(const rt::View& view, int64_t pixel, int32_t c) {
  const rt::Segment* s = view.segments;
  for (; c >= s->channels; ++s) c -= s->channels;
  const void* base = s->constant ? s->constant : arena_.data() + s->offset;
  return static_cast<float*>(const_cast<void*>(base)) + pixel * s->pixel_stride + c;  // it is ours
}

void Case::fill(const rt::View& view, float low, float high, bool around_zero) {
  for (int64_t pixel = 0; pixel < int64_t{view.n} * view.h * view.w; ++pixel) {
    for (int32_t c = 0; c < view.c; ++c) {
      const float value = random.real(low, high);
      *element(view, pixel, c) = around_zero && random.chance(0.5f) ? -value : value;
    }
  }
}

rt::Step Case::step(rt::StepOp op) {
  rt::Step step{};
  step.op = op;
  names_.push_back(text("%s_%d", rt::step_name(op), static_cast<int>(steps_.size())));
  step.name = names_.back().c_str();
  step.act = {rt::Act::kClamp, -__builtin_inff(), __builtin_inff(), 0.f, 0.f};
  return step;
}

void Case::add(const rt::Step& step) {
  const rt::PlanRoom room{arena_.size(), readable_bytes, this};
  if (const char* message = rt::check_step(step, {-1, -1}, room)) {
    throw std::logic_error("case '" + name_ + "' is not a plan: " + message);
  }
  steps_.push_back(step);
}

void Case::round_to_half() {
  const auto round_all = [](uint8_t* at, int64_t elements) {
    for (int64_t i = 0; i < elements; ++i) {
      float value;
      std::memcpy(&value, at + i * 4, sizeof value);
      value = half_to_float(float_to_half(value));
      std::memcpy(at + i * 4, &value, sizeof value);
    }
  };
  for (const Region& region : regions_) {
    if (region.type == rt::DataType::kFloat32) round_all(arena_.data() + region.offset, region.elements);
  }
  for (Constant& constant : constants_) {
    if (constant.type == rt::DataType::kFloat32) round_all(constant.data(), static_cast<int64_t>(constant.bytes / 4));
  }
}

std::string Case::describe() const {
  std::string all = name_ + ": ";
  for (const rt::Step& s : steps_) {
    if (&s != steps_.data()) all += "; ";
    all += std::string(rt::step_name(s.op)) + ' ' + shape_of(s.in);
    if (s.in2.segment_count > 0) all += ", " + shape_of(s.in2);
    if (s.window.kernel_h > 0) {
      all += text(", window %dx%d, stride %dx%d, padding %d,%d", s.window.kernel_h, s.window.kernel_w,
                  s.window.stride_h, s.window.stride_w, s.window.pad_top, s.window.pad_left);
    }
    if (s.conv.groups > 1) all += text(", %d groups", s.conv.groups);
    if (s.op == rt::StepOp::kBinary) all += text(", operation %d", static_cast<int>(s.binary.op));
    if (s.affine.scale) all += ", affine";
    if (s.act.kind != rt::Act::kClamp) all += text(", activation %d", static_cast<int>(s.act.kind));
    all += " -> " + shape_of(s.out);
  }
  return all;
}

}  // namespace sparsenet::plugin_check
