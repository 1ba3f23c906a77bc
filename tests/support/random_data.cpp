// Random graphs of ops that move or combine data: concatenation, splitting, padding, broadcasts, reshapes.
#include <algorithm>

#include "support/random_graphs.h"

namespace sparsenet::test {
namespace {

std::vector<int64_t> random_parts(Random& random, int64_t total) {
  std::vector<int64_t> sizes;
  while (total > 0 && sizes.size() < 4) {
    sizes.push_back(1 + static_cast<int64_t>(random.next() % static_cast<uint64_t>(total)));
    total -= sizes.back();
  }
  if (total > 0) sizes.push_back(total);
  return sizes;
}

Graph concat_channels(Random& random) {
  GraphMaker g(random);
  const Shape shape = random_image(random);
  std::vector<ValueId> parts;
  const int count = random.integer(1, 5);
  for (int i = 0; i < count; ++i) {
    Shape part = shape;
    part[1] = random_channels(random);
    ValueId x = g.input(part);
    if (random.chance(0.5)) x = g.conv(x, random_channels(random), 1);
    parts.push_back(x);
  }
  if (random.chance(0.3)) parts.push_back(parts[0]);  // the same value twice
  return g.finish({g.concat(parts)});
}

Graph concat_other_axis(Random& random) {
  GraphMaker g(random);
  const bool image = random.chance(0.7);
  Shape shape = random_image(random, 1, 9);
  if (!image) shape.resize(random.chance(0.5) ? 2 : 3);
  const auto axis = static_cast<int32_t>(random.integer(1, static_cast<int>(shape.size()) - 1));
  std::vector<ValueId> parts;
  for (int i = random.integer(2, 4); i > 0; --i) {
    shape[static_cast<size_t>(axis)] = random.integer(1, 6);
    parts.push_back(g.input(shape));
  }
  return g.finish({g.concat(parts, axis)});
}

// Nested concats, whose parts are also read elsewhere.
Graph concat_nested(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random, 1, 9));
  const ValueId a = g.conv(x, random_channels(random), 1);
  const ValueId b = g.relu(g.conv(a, random_channels(random), 3));
  const ValueId ab = random.chance(0.5) ? g.concat({a, b}) : g.concat({b, a});
  const ValueId c = g.conv(g.relu(g.batch_norm(ab)), random_channels(random), 1);
  std::vector<ValueId> last{ab, c};
  if (random.chance(0.4)) last.push_back(x);
  if (random.chance(0.4)) std::swap(last[0], last[1]);
  const ValueId all = g.concat(last);
  ValueId y = g.conv(random.chance(0.5) ? g.relu(g.batch_norm(all)) : all, random_channels(random), 3);
  if (random.chance(0.4)) return g.finish({y, random.chance(0.5) ? ab : all});
  return g.finish({y});
}

Graph split_channels(Random& random) {
  GraphMaker g(random);
  ValueId x = g.input(random_image(random));
  if (random.chance(0.5)) x = g.conv(x, random_channels(random), 1);
  return g.finish(g.split(x, 1, random_parts(random, g.shape(x)[1])));
}

Graph split_other_axis(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random, 1, 9));
  const int32_t axis = random.integer(2, 3);
  return g.finish(g.split(x, axis, random_parts(random, g.shape(x)[static_cast<size_t>(axis)])));
}

Graph split_shuffle_concat(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.conv(g.input(random_image(random, 1, 9)), 24, 1);
  std::vector<ValueId> parts = g.split(x, 1, random_parts(random, 24));
  for (size_t i = parts.size(); i > 1; --i) std::swap(parts[i - 1], parts[random.index(i)]);
  if (random.chance(0.5)) parts[0] = g.relu(parts[0]);
  if (random.chance(0.3)) parts.push_back(parts[0]);
  if (parts.size() > 2 && random.chance(0.3)) parts.pop_back();
  ValueId y = g.concat(parts);
  if (random.chance(0.6)) y = g.conv(random.chance(0.5) ? g.relu(g.batch_norm(y)) : y, random_channels(random), 1);
  return g.finish({y});
}

Graph slice(Random& random) {
  GraphMaker g(random);
  ValueId x = g.input(random_image(random));
  if (random.chance(0.4)) x = g.conv(x, random_channels(random), 1);
  SliceAttrs attrs;
  for (int32_t axis = 1; axis < 4; ++axis) {
    if (random.chance(0.4)) continue;
    const auto dim = static_cast<int>(g.shape(x)[static_cast<size_t>(axis)]);
    const int start = random.integer(0, dim - 1);
    attrs.axes.push_back(axis);
    attrs.starts.push_back(start);
    attrs.ends.push_back(random.integer(start + 1, dim));
    attrs.steps.push_back(random.integer(1, 3));
  }
  if (random.chance(0.3)) std::reverse(attrs.axes.begin(), attrs.axes.end());  // any order is allowed
  for (size_t i = 0; i < attrs.axes.size(); ++i) {                             // bounds must fit the reordered axes
    const int64_t dim = g.shape(x)[static_cast<size_t>(attrs.axes[i])];
    attrs.starts[i] = std::min(attrs.starts[i], dim - 1);
    attrs.ends[i] = std::min(std::max(attrs.ends[i], attrs.starts[i] + 1), dim);
  }
  ValueId y = g.node(Op::kSlice, {x}, attrs);
  if (random.chance(0.4)) y = g.conv(y, random_channels(random), 1);
  return g.finish({y});
}

Graph pad(Random& random) {
  GraphMaker g(random);
  ValueId x = g.input(random_image(random, 1, 9));
  PadAttrs attrs;
  attrs.before = {0, 0, 0, 0};
  attrs.after = {0, 0, 0, 0};
  for (size_t d = 1; d < 4; ++d) {
    if (d == 1 && random.chance(0.6)) continue;
    attrs.before[d] = random.integer(0, 3);
    attrs.after[d] = random.integer(0, 3);
  }
  if (random.chance(0.4)) attrs.value = static_cast<float>(random.real(-2, 2));
  ValueId y = g.node(Op::kPad, {x}, attrs);
  if (random.chance(0.5)) {  // a pass may put zero padding into the convolution
    ConvAttrs conv;
    conv.kernel = {static_cast<int32_t>(std::min<int64_t>(3, g.shape(y)[2])),
                   static_cast<int32_t>(std::min<int64_t>(3, g.shape(y)[3]))};
    y = g.conv(y, random_channels(random), conv);
  } else if (random.chance(0.3)) {
    y = g.pool(random.chance(0.5) ? Op::kMaxPool : Op::kAveragePool, y, 1, 2);
  }
  return g.finish({y});
}

// Two operands whose shapes broadcast in one of the ways that occur in classifiers.
Graph binary(Random& random, Op op) {
  GraphMaker g(random);
  const Shape x = random_image(random, 1, 9);
  const int64_t n = x[0], c = x[1], h = x[2], w = x[3];
  const auto operand = [&](Shape shape, bool constant, bool divisor) {
    if (constant) return divisor ? g.nonzero(shape, 0.5, 2, false) : g.constant(shape, 0.2, 1);
    ValueId v = g.input(shape);
    if (divisor) {  // |v| + 1/2, with ops that exist
      v = g.node(Op::kAdd, {g.node(Op::kMul, {v, v}), g.constant({1}, 0.5, 0)});
    }
    return v;
  };
  Shape a = x, b = x;
  bool constant = false;
  switch (random.integer(0, 11)) {
    case 0:
      break;
    case 1:
      b = {n, c, 1, 1};
      break;
    case 2:
      b = {n, 1, h, w};
      break;
    case 3:
      b = {c, 1, 1};
      constant = true;
      break;
    case 4:
      b = {1, c, 1, 1};
      constant = true;
      break;
    case 5:
      b = {1};
      constant = true;
      break;
    case 6:
      b = {};
      constant = true;
      break;
    case 7:
      b = {1, c, h, w};
      constant = true;
      break;
    case 8:
      b = {h, w};
      constant = true;
      break;
    case 9:
      a = {n, c, 1, 1};
      b = {n, 1, h, w};
      break;
    case 10:
      a = {n, c};
      b = random.chance(0.5) ? Shape{c} : Shape{1};
      constant = true;
      break;
    default:
      a = {n, c};
      b = random.chance(0.5) ? a : Shape{n, 1};
      break;
  }
  const bool swapped = random.chance(0.3);
  const bool divide = op == Op::kDiv;
  const ValueId left = operand(a, false, divide && swapped), right = operand(b, constant, divide && !swapped);
  std::vector<ValueId> operands{left, right};
  if (swapped) std::swap(operands[0], operands[1]);
  ValueId y = g.node(op, operands);
  if (random.chance(0.3)) y = g.relu(y);
  return g.finish({y});
}

Graph add(Random& r) {
  return binary(r, Op::kAdd);
}
Graph sub(Random& r) {
  return binary(r, Op::kSub);
}
Graph mul(Random& r) {
  return binary(r, Op::kMul);
}
Graph div(Random& r) {
  return binary(r, Op::kDiv);
}

Graph same_operand_twice(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random, 1, 9));
  const Op op = random.pick(std::vector<Op>{Op::kAdd, Op::kMul, Op::kSub});
  return g.finish({g.node(op, {x, x})});
}

Graph residual_add(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random));
  const int64_t c = g.shape(x)[1];
  ValueId y = g.conv(x, c, random.chance(0.5) ? 3 : 1);
  if (random.chance(0.5)) y = g.batch_norm(y);
  y = random.chance(0.5) ? g.node(Op::kAdd, {x, y}) : g.node(Op::kAdd, {y, x});
  if (random.chance(0.7)) y = g.relu(y);
  if (random.chance(0.3)) y = g.node(Op::kAdd, {g.conv(y, c, 1), x});
  return g.finish({y});
}

Graph reshape(Random& random) {
  GraphMaker g(random);
  const Shape shape = random_image(random, 1, 6);
  const int64_t c = shape[1], h = shape[2], w = shape[3];
  ValueId x = g.input(shape);
  if (random.chance(0.4)) x = g.relu(g.conv(x, c, 1));
  std::vector<int64_t> dims;
  switch (random.integer(0, 5)) {
    case 0:
      dims = {0, -1};
      break;
    case 1:
      dims = {0, c, h * w};
      break;
    case 2:
      dims = {0, h, c, w};
      break;
    case 3:
      dims = {0, 1, -1, w};
      break;
    case 4:
      dims = {0, -1, 1, 1};
      break;
    default:
      dims = {0, c * h, w};
      break;
  }
  ValueId y = g.node(Op::kReshape, {x}, ReshapeAttrs{dims});
  if (random.chance(0.4)) y = g.node(Op::kReshape, {y}, ReshapeAttrs{{0, c, h, w}});
  if (random.chance(0.4)) y = g.node(Op::kTanh, {y});
  return g.finish({y});
}

Graph transpose(Random& random) {
  GraphMaker g(random);
  Shape shape = random_image(random, 1, 7);
  if (random.chance(0.3)) shape.resize(3);
  std::vector<int32_t> perm;  // the batch stays first
  for (size_t d = 0; d < shape.size(); ++d) perm.push_back(static_cast<int32_t>(d));
  for (size_t i = perm.size(); i > 2; --i) std::swap(perm[i - 1], perm[1 + random.index(i - 1)]);
  ValueId y = g.node(Op::kTranspose, {g.input(shape)}, TransposeAttrs{perm});
  if (random.chance(0.5)) y = g.flatten(y);
  return g.finish({y});
}

Graph transpose_with_batch(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input({random_batch(random), random_channels(random)});
  return g.finish({g.node(Op::kTranspose, {x}, TransposeAttrs{{1, 0}})});
}

Graph shuffle_channels(Random& random) {  // as ShuffleNet does
  GraphMaker g(random);
  const int64_t groups = random.integer(2, 4), width = random.integer(1, 8);
  const Shape image = random_image(random, 1, 7);
  ValueId x = g.conv(g.input(image), groups * width, 1);
  x = g.node(Op::kReshape, {x}, ReshapeAttrs{{0, groups, width, image[2], image[3]}});
  x = g.node(Op::kTranspose, {x}, TransposeAttrs{{0, 2, 1, 3, 4}});
  x = g.node(Op::kReshape, {x}, ReshapeAttrs{{0, groups * width, image[2], image[3]}});
  return g.finish({g.conv(x, random_channels(random), 1)});
}

Graph identity(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random, 1, 7));
  ValueId y = g.node(Op::kIdentity, {x});
  if (random.chance(0.5)) y = g.node(Op::kIdentity, {g.relu(y)});
  return g.finish({y});
}

// Outputs that are also inputs, are listed twice, or are read by later nodes.
Graph odd_outputs(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random, 1, 7));
  const ValueId unused = random.chance(0.3) ? g.input({g.shape(x)[0], 3}) : kNoValue;
  const ValueId a = g.relu(g.conv(x, random_channels(random), 1));
  const ValueId b = g.relu(g.batch_norm(a));
  std::vector<ValueId> outputs{b, a};
  if (random.chance(0.4)) outputs.push_back(b);
  if (random.chance(0.4)) outputs.push_back(x);
  if (random.chance(0.4)) outputs.push_back(g.flatten(b));
  if (unused != kNoValue && random.chance(0.5)) outputs.push_back(unused);
  if (random.chance(0.2)) outputs.push_back(g.constant({1, 3}, 0, 1));
  g.conv(b, 3, 1);  // dead
  return g.finish(outputs);
}

Graph constant_arithmetic(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random, 1, 7));
  const Shape gate{1, g.shape(x)[1], 1, 1};
  const ValueId c = g.relu(g.node(Op::kAdd, {g.constant(gate, 0, 1), g.constant(gate, 0, 1)}));
  return g.finish({g.node(Op::kMul, {x, c})});
}

Graph softmax_over_batch(Random& random) {
  GraphMaker g(random);
  return g.finish({g.node(Op::kSoftmax, {g.input({3, random_channels(random)})}, AxisAttrs{0})});
}

}  // namespace

const std::vector<Generator>& data_generators() {
  static const std::vector<Generator> list{
      {"concat_channels", concat_channels},
      {"concat_other_axis", concat_other_axis},
      {"concat_nested", concat_nested},
      {"split_channels", split_channels},
      {"split_other_axis", split_other_axis},
      {"split_shuffle_concat", split_shuffle_concat},
      {"slice", slice},
      {"pad", pad},
      {"add", add},
      {"sub", sub},
      {"mul", mul},
      {"div", div},
      {"same_operand_twice", same_operand_twice},
      {"residual_add", residual_add},
      {"reshape", reshape},
      {"transpose", transpose},
      {"transpose_with_batch", transpose_with_batch, true},
      {"shuffle_channels", shuffle_channels},
      {"identity", identity},
      {"odd_outputs", odd_outputs},
      {"constant_arithmetic", constant_arithmetic, true},
      {"softmax_over_batch", softmax_over_batch, true},
  };
  return list;
}

}  // namespace sparsenet::test
