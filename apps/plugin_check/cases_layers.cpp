// Cases of the steps that layers become.
#include <algorithm>
#include <cmath>

#include "plugin_check/families.h"

namespace sparsenet::plugin_check {
namespace {

using rt::StepOp;

int32_t channels(Random& random) {
  return random.chance(0.25f) ? random.pick({31, 32, 33, 48, 64, 65}) : random.integer(1, 20);
}

// Few pixels where there are many channels.
int32_t side(Random& random, int32_t c) {
  return random.chance(0.1f) && c <= 20 ? random.integer(15, 33) : random.integer(1, 9);
}

// An input of any layout, or one that is the output's own memory.
rt::View output_of(Case& c, const rt::View& in, Layout layout = Layout::kArena) {
  return c.view(in.n, in.h, in.w, in.c, layout);
}

bool in_place(Case& c, const rt::View& in) {
  return in.segment_count == 1 && !in.segments[0].constant && in.segments[0].pixel_stride >= in.c &&
         c.random.chance(0.3f);
}

}  // namespace

rt::Act random_act(Random& random) {
  rt::Act act{rt::Act::kClamp, -INFINITY, INFINITY, 0.f, 0.f};
  if (random.chance(0.3f)) return act;
  if (random.chance(0.4f)) {
    act.low = random.chance(0.8f) ? 0.f : random.real(-1.f, 0.f);
    act.high = random.chance(0.6f) ? INFINITY : random.real(0.5f, 6.f);
    return act;
  }
  act.kind = static_cast<rt::Act::Kind>(random.integer(rt::Act::kLeakyRelu, rt::Act::kLastActivation));
  act.alpha = act.kind == rt::Act::kSilu ? random.real(0.5f, 2.f) : random.real(0.05f, 0.5f);
  act.beta = random.real(0.2f, 0.8f);
  return act;
}

void set_affine(Case& c, rt::Step* step) {
  step->affine.scale = c.parameter(step->in.c, -1.5f, 1.5f);
  step->affine.shift = c.parameter(step->in.c, -1.f, 1.f);
  step->affine.low = c.random.chance(0.7f) ? 0.f : -INFINITY;
  step->affine.high = c.random.chance(0.3f) ? c.random.real(0.5f, 3.f) : INFINITY;
}

rt::Window random_conv_window(Random& random, int32_t in_h, int32_t in_w) {
  rt::Window w{1, 1, 1, 1, 1, 1, 0, 0, 0, 0};
  if (random.chance(0.35f)) {
    w.stride_h = w.stride_w = random.chance(0.3f) ? 2 : 1;
    return w;
  }
  w.kernel_h = random.pick({1, 2, 3, 3, 3, 5, 7});
  w.kernel_w = random.chance(0.7f) ? w.kernel_h : random.integer(1, 5);
  if (random.chance(0.35f)) w.stride_h = random.integer(1, 3), w.stride_w = random.integer(1, 3);
  if (random.chance(0.2f)) w.dilation_h = random.integer(1, 3), w.dilation_w = random.integer(1, 2);
  const int32_t reach_h = (w.kernel_h - 1) * w.dilation_h, reach_w = (w.kernel_w - 1) * w.dilation_w;
  w.pad_top = w.pad_bottom = reach_h / 2;
  w.pad_left = w.pad_right = reach_w / 2;
  if (random.chance(0.3f)) w.pad_top = random.integer(0, reach_h + 1), w.pad_left = random.integer(0, reach_w + 1);
  w.pad_bottom = std::max(w.pad_bottom, reach_h + 1 - in_h - w.pad_top);
  w.pad_right = std::max(w.pad_right, reach_w + 1 - in_w - w.pad_left);
  return w;
}

void set_conv_output(rt::Step* step, int32_t* out_h, int32_t* out_w) {
  const rt::Window& w = step->window;
  *out_h = (step->in.h + w.pad_top + w.pad_bottom - (w.kernel_h - 1) * w.dilation_h - 1) / w.stride_h + 1;
  *out_w = (step->in.w + w.pad_left + w.pad_right - (w.kernel_w - 1) * w.dilation_w - 1) / w.stride_w + 1;
}

Case make_conv(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kConv);
  // A third each of plain, grouped and depthwise ones; one in eight is a fully connected layer.
  const int32_t form = static_cast<int32_t>(seed % 8);
  int32_t groups = 1, in_c = channels(r), out_c = channels(r);
  if (form == 1 || form == 4) {  // depthwise, sometimes with two outputs for each channel
    groups = in_c;
    out_c = in_c * (r.chance(0.2f) ? 2 : 1);
  } else if (form == 2 || form == 5) {
    groups = r.integer(2, 4);
    in_c = groups * r.integer(1, 9);
    out_c = groups * r.integer(1, 9);
  }
  const bool connected = form == 3;
  if (connected) in_c = r.integer(1, 300), out_c = r.integer(1, 100);
  const int32_t h = connected ? 1 : side(r, in_c), w = connected ? 1 : side(r, in_c);
  s.in = c.view(r.integer(1, 3), h, w, in_c, Layout::kAny);
  s.window = connected ? rt::Window{1, 1, 1, 1, 1, 1, 0, 0, 0, 0} : random_conv_window(r, h, w);
  s.conv.groups = groups;
  const int32_t taps = in_c / groups * s.window.kernel_h * s.window.kernel_w;
  const float most = 2.f / std::sqrt(static_cast<float>(taps));
  s.conv.weight = c.parameter(int64_t{out_c} * taps, -most, most);
  if (r.chance(0.7f)) s.conv.bias = c.parameter(out_c, -1.f, 1.f);
  if (r.chance(0.4f)) set_affine(c, &s);
  int32_t out_h = 0, out_w = 0;
  set_conv_output(&s, &out_h, &out_w);
  s.out = c.view(s.in.n, out_h, out_w, out_c, Layout::kArena);
  if (r.chance(0.4f)) s.in2 = r.chance(0.3f) ? s.out : c.view(s.in.n, out_h, out_w, out_c, Layout::kArena);
  s.act = random_act(r);
  c.add(s);
  c.finish();
  return c;
}

rt::Window random_pool_window(Random& random, const rt::View& in, bool slice, int32_t* out_h, int32_t* out_w) {
  rt::Window w{1, 1, 1, 1, 1, 1, 0, 0, 0, 0};
  if (slice) {  // cuts off the first rows and columns, and takes every stride-th of the others
    w.pad_top = -random.integer(0, in.h - 1);
    w.pad_left = -random.integer(0, in.w - 1);
    w.stride_h = random.integer(1, 2);
    w.stride_w = random.integer(1, 2);
    *out_h = random.integer(1, (in.h + w.pad_top - 1) / w.stride_h + 1);
    *out_w = random.integer(1, (in.w + w.pad_left - 1) / w.stride_w + 1);
    return w;
  }
  w.kernel_h = random.integer(1, std::min(4, in.h + 1));
  w.kernel_w = random.chance(0.6f) ? std::min(w.kernel_h, in.w + 1) : random.integer(1, std::min(4, in.w + 1));
  w.stride_h = random.integer(1, 3);
  w.stride_w = random.integer(1, 3);
  w.pad_top = random.integer(0, w.kernel_h / 2);
  w.pad_left = random.integer(0, w.kernel_w / 2);
  w.pad_bottom = random.integer(0, w.kernel_h / 2);
  w.pad_right = random.integer(0, w.kernel_w / 2);
  // As many windows as fit, or as begin within the input and the padding in front of it.
  const auto outputs = [&](int32_t size, int32_t before, int32_t after, int32_t kernel, int32_t stride) {
    const int32_t room = std::max(size + before + after - kernel, 0);
    const int32_t most = (size + before - 1) / stride + 1;
    return std::min((random.chance(0.5f) ? room : room + stride - 1) / stride + 1, most);
  };
  *out_h = outputs(in.h, w.pad_top, w.pad_bottom, w.kernel_h, w.stride_h);
  *out_w = outputs(in.w, w.pad_left, w.pad_right, w.kernel_w, w.stride_w);
  return w;
}

Case make_pool(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kPool);
  const int32_t in_c = channels(r);
  s.in = c.view(r.integer(1, 3), side(r, in_c), side(r, in_c), in_c, Layout::kAny);
  int32_t out_h = 0, out_w = 0;
  s.window = random_pool_window(r, s.in, r.chance(0.15f), &out_h, &out_w);
  s.pool.max = seed % 2 == 0;
  s.pool.count_include_pad = r.chance(0.5f);
  if (r.chance(0.4f)) set_affine(c, &s);
  s.out = c.view(s.in.n, out_h, out_w, in_c, Layout::kArena);
  s.act = random_act(r);
  c.add(s);
  c.finish();
  return c;
}

Case make_global_pool(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kGlobalPool);
  const int32_t in_c = channels(r);
  s.in = c.view(r.integer(1, 4), side(r, in_c), side(r, in_c), in_c, Layout::kAny);
  if (r.chance(0.4f)) set_affine(c, &s);
  s.out = c.view(s.in.n, 1, 1, in_c, Layout::kArena);
  s.act = random_act(r);
  c.add(s);
  c.finish();
  return c;
}

Case make_affine(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kAffine);
  const int32_t in_c = channels(r);
  s.in = c.view(r.integer(1, 3), side(r, in_c), side(r, in_c), in_c, Layout::kAny);
  if (seed % 4 != 0) set_affine(c, &s);
  s.is_copy = seed % 4 == 0;
  s.out = in_place(c, s.in) ? s.in : output_of(c, s.in);
  s.act = random_act(r);
  c.add(s);
  c.finish();
  return c;
}

Case make_unary(const char* name, uint64_t seed, bool half_parameters) {
  constexpr uint64_t kSteps = 3;
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  for (uint64_t i = 0; i < kSteps; ++i) {
    rt::Step s = c.step(StepOp::kUnary);
    const auto kind = static_cast<rt::Act::Kind>((seed * kSteps + i) % (rt::Act::kLast + 1));  // each in turn
    const int32_t in_c = channels(r);
    const Layout layout = r.chance(0.5f) ? Layout::kAny : Layout::kGapless;
    s.in = c.view(r.integer(1, 3), side(r, in_c), side(r, in_c), in_c, layout);
    s.act = {kind, r.real(-1.f, 0.f), r.real(0.1f, 1.f), r.real(0.05f, 0.9f), r.real(0.2f, 0.8f)};
    if (kind == rt::Act::kLog || kind == rt::Act::kPow) c.fill(s.in, 0.2f, 3.f);
    if (kind == rt::Act::kPow) s.act.alpha = r.pick({0.5f, 2.f, 3.f, -1.f, 0.3f});
    if (kind > rt::Act::kTanh && kind <= rt::Act::kGeluTanh && r.chance(0.5f)) c.fill(s.in, -30.f, 30.f);
    s.out = in_place(c, s.in) ? s.in : output_of(c, s.in, r.chance(0.5f) ? Layout::kArena : Layout::kGapless);
    c.add(s);
  }
  c.finish();
  return c;
}

Case make_binary(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  for (const uint64_t kind : {2 * seed, 2 * seed + 1}) {  // each arithmetic in turn
    rt::Step s = c.step(StepOp::kBinary);
    s.binary.op = static_cast<rt::BinaryOp>(kind % (static_cast<uint64_t>(rt::kLastBinaryOp) + 1));
    const int32_t in_c = channels(r);
    s.in = c.view(r.integer(1, 3), side(r, in_c), side(r, in_c), in_c, Layout::kAny);
    s.in2 = c.view(s.in.n, s.in.h, s.in.w, in_c, Layout::kAny);
    if (s.binary.op == rt::BinaryOp::kDiv) c.fill(s.in2, 0.5f, 2.f, true);
    s.out = in_place(c, s.in) ? s.in : in_place(c, s.in2) ? s.in2 : output_of(c, s.in);
    s.act = random_act(r);
    c.add(s);
  }
  c.finish();
  return c;
}

// Infinities, and what is not a number, which must come through clamps and comparisons.
Case make_special(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(seed % 2 == 0 ? StepOp::kUnary : StepOp::kBinary);
  s.in = c.view(1, r.integer(1, 5), r.integer(1, 5), r.integer(1, 12), Layout::kArena);
  if (s.op == StepOp::kBinary) {
    s.in2 = c.view(1, s.in.h, s.in.w, s.in.c, Layout::kArena);
    s.binary.op = r.pick({rt::BinaryOp::kAdd, rt::BinaryOp::kMax, rt::BinaryOp::kMin});
  } else {
    s.act.low = -1.f;
    s.act.high = r.chance(0.5f) ? 1.f : INFINITY;
  }
  for (const rt::View& view : {s.in, s.op == StepOp::kBinary ? s.in2 : s.in}) {
    for (int32_t pixel = 0; pixel < view.h * view.w; ++pixel) {
      if (r.chance(0.4f)) *c.element(view, pixel, r.integer(0, view.c - 1)) = r.pick({NAN, INFINITY, -INFINITY});
    }
  }
  s.out = output_of(c, s.in);
  c.add(s);
  c.finish();
  return c;
}

Case make_attention(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kAttention);
  const int32_t n = channels(r);
  s.in = c.view(r.integer(1, 3), side(r, n), side(r, n), n, Layout::kArena);
  const int32_t hidden = seed % 2 == 0 ? 0 : r.integer(1, 2 * n);
  s.attention.hidden = hidden;
  const float of_n = 2.f / std::sqrt(static_cast<float>(n));
  if (hidden == 0) {
    const int64_t counts[8] = {n, n, int64_t{n} * n, n, 2 * n, 2 * n, int64_t{2} * n * n, n};
    for (int i = 0; i < 8; ++i) {
      const float most = i == 2 || i == 6 ? of_n : 1.f;
      s.attention.params[i] = c.parameter(counts[i], -most, most);
    }
  } else {
    const float of_hidden = 2.f / std::sqrt(static_cast<float>(hidden));
    s.attention.params[0] = c.parameter(int64_t{hidden} * n, -of_n, of_n);
    s.attention.params[1] = c.parameter(hidden, -1.f, 1.f);
    s.attention.params[2] = c.parameter(int64_t{n} * hidden, -of_hidden, of_hidden);
    s.attention.params[3] = c.parameter(n, -1.f, 1.f);
  }
  s.attention.act = random_act(r);
  s.attention.gate = random_act(r);
  s.out = in_place(c, s.in) ? s.in : output_of(c, s.in);
  c.add(s);
  c.finish();
  return c;
}

Case make_layer_norm(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kLayerNorm);
  const int32_t in_c = r.chance(0.3f) ? r.integer(100, 300) : r.integer(2, 40);
  s.in = c.view(r.integer(1, 3), r.integer(1, 5), r.integer(1, 5), in_c, Layout::kArena);
  if (r.chance(0.8f)) {
    set_affine(c, &s);
    s.affine.low = -INFINITY;
    s.affine.high = INFINITY;
  }
  s.train.alpha = r.pick({1e-5f, 1e-3f});
  s.out = in_place(c, s.in) ? s.in : output_of(c, s.in);
  s.act = random_act(r);
  c.add(s);
  c.finish();
  return c;
}

}  // namespace sparsenet::plugin_check
