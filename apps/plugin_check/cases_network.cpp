// Small networks: steps that read what others have written, and memory that is used again as soon as it may be.
#include <cmath>

#include "plugin_check/families.h"

namespace sparsenet::plugin_check {
namespace {

using rt::StepOp;

// The channels of all views, one after the other: a concatenation that costs nothing.
rt::View join(Case& c, const std::vector<rt::View>& views) {
  rt::View all = views[0];
  std::vector<rt::Segment> segments;
  all.c = 0;
  for (const rt::View& view : views) {
    all.c += view.c;
    segments.insert(segments.end(), view.segments, view.segments + view.segment_count);
  }
  c.segments.push_back(std::move(segments));
  all.segments = c.segments.back().data();
  all.segment_count = static_cast<int32_t>(c.segments.back().size());
  return all;
}

rt::Step conv(Case& c, const rt::View& in, const rt::View& out, int32_t kernel, int32_t groups) {
  rt::Step s = c.step(StepOp::kConv);
  const int32_t taps = in.c / groups * kernel * kernel, pad = kernel / 2;
  const float most = 2.f / std::sqrt(static_cast<float>(taps));
  s.in = in;
  s.out = out;
  s.window = {kernel, kernel, 1, 1, 1, 1, pad, pad, pad, pad};
  s.conv.groups = groups;
  s.conv.weight = c.parameter(int64_t{out.c} * taps, -most, most);
  s.conv.bias = c.parameter(out.c, -0.5f, 0.5f);
  s.act.low = 0.f;
  return s;
}

}  // namespace

Case make_network(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  const int32_t n = r.integer(1, 3), h = r.integer(2, 12), w = r.integer(2, 12), k = r.integer(4, 24),
                classes = r.integer(2, 20);
  const auto image = [&](int32_t channels) { return c.view(n, h, w, channels, Layout::kArena); };
  const rt::View x = image(r.integer(1, 6)), a = image(k), b = image(k), d = image(k);
  const rt::View small = c.view(n, h / 2, w / 2, 2 * k, Layout::kArena);
  const rt::View pooled = c.view(n, 1, 1, 2 * k, Layout::kGapless);
  const rt::View logits = c.view(n, 1, 1, classes, Layout::kGapless);

  c.add(conv(c, x, a, 3, 1));
  rt::Step dense = conv(c, join(c, {x, a}), b, 1, 1);  // as in a DenseNet: a normalisation in front
  set_affine(c, &dense);
  c.add(dense);
  c.add(conv(c, b, d, 3, k));
  rt::Step residual = conv(c, d, b, 1, 1);  // in the memory of what the step before has read
  residual.in2 = a;
  c.add(residual);

  rt::Step pool = c.step(StepOp::kPool);
  pool.in = join(c, {a, b});
  pool.out = small;
  pool.window = {2, 2, 2, 2, 1, 1, 0, 0, 0, 0};
  pool.pool.max = seed % 2 == 0;
  c.add(pool);
  rt::Step unary = c.step(StepOp::kUnary);  // in place
  unary.in = unary.out = small;
  unary.act.kind = r.pick({rt::Act::kHardSwish, rt::Act::kSilu, rt::Act::kSigmoid});
  unary.act.alpha = 1.f;
  c.add(unary);
  rt::Step mean = c.step(StepOp::kGlobalPool);
  mean.in = small;
  mean.out = pooled;
  c.add(mean);
  rt::Step connected = conv(c, pooled, logits, 1, 1);
  connected.act.low = -INFINITY;
  c.add(connected);

  rt::Strided space{};
  space.rank = 2;
  space.dims[0] = n;
  space.dims[1] = classes;
  space.reduced_from = 1;
  space.in_strides[0][0] = space.out_strides[0] = classes;
  space.in_strides[0][1] = space.out_strides[1] = 1;
  c.strided.push_back(space);
  rt::Step softmax = c.step(StepOp::kSoftmax);
  softmax.in = c.flat(1);  // seen as one pixel, in the same memory
  softmax.in.c = n * classes;
  c.segments.push_back({{logits.segments[0].offset, nullptr, n * classes, n * classes}});
  softmax.in.segments = c.segments.back().data();
  softmax.out = c.flat(int64_t{n} * classes);
  softmax.strided = &c.strided.back();
  c.add(softmax);
  c.finish();
  return c;
}

}  // namespace sparsenet::plugin_check
