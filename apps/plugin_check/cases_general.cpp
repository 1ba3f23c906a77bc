// Cases of the steps over index spaces.
#include <algorithm>
#include <cmath>

#include "plugin_check/families.h"

namespace sparsenet::plugin_check {
namespace {

using rt::StepOp;

// Sets some strides to 0, so that the operand is the same along these dimensions.
void broadcast(Random& random, const rt::Strided& space, int64_t* strides) {
  for (int32_t d = 0; d < space.rank; ++d) {
    if (random.chance(0.3f)) strides[d] = 0;
  }
}

rt::Strided* keep(Case& c, const rt::Strided& space) {
  c.strided.push_back(space);
  return &c.strided.back();
}

}  // namespace

rt::Strided random_space(Random& random, int32_t least_rank, int32_t most_rank) {
  rt::Strided space{};
  space.rank = random.integer(least_rank, most_rank);
  int64_t elements = 1;
  for (int32_t d = 0; d < space.rank; ++d) {
    space.dims[d] = random.chance(0.15f) || elements > 1500 ? 1 : random.integer(2, elements > 100 ? 3 : 9);
    elements *= space.dims[d];
  }
  if (space.rank > 0 && elements < 200 && random.chance(0.3f)) space.dims[space.rank - 1] = random.integer(30, 140);
  space.reduced_from = space.rank;
  return space;
}

int64_t random_strides(Random& random, const rt::Strided& space, int32_t rank, int64_t* strides) {
  int32_t order[rt::kMaxDims] = {};
  for (int32_t d = 0; d < rank; ++d) order[d] = rank - 1 - d;  // row-major
  if (random.chance(0.5f)) {
    for (int32_t d = rank - 1; d > 0; --d) std::swap(order[d], order[random.integer(0, d)]);
  }
  int64_t next = random.chance(0.2f) ? 2 : 1, last = 0;
  for (int32_t i = 0; i < rank; ++i) {
    strides[order[i]] = next;
    last += (space.dims[order[i]] - 1) * next;
    next *= space.dims[order[i]];
    if (random.chance(0.2f)) next += random.integer(1, 3);
  }
  return last + 1;
}

Case make_strided_binary(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  for (const uint64_t kind : {2 * seed, 2 * seed + 1}) {  // each arithmetic in turn
    rt::Step s = c.step(StepOp::kBinary);
    s.binary.op = static_cast<rt::BinaryOp>(kind % (static_cast<uint64_t>(rt::kLastBinaryOp) + 1));
    rt::Strided space = random_space(r, kind == 5 ? 0 : 1, kind % 9 == 0 ? rt::kMaxDims : 4);
    space.out_start = r.chance(0.3f) ? r.integer(1, 6) : 0;
    space.in_start[0] = r.chance(0.3f) ? r.integer(1, 6) : 0;
    space.in_start[1] = r.chance(0.3f) ? r.integer(1, 6) : 0;
    const int64_t of_out = random_strides(r, space, space.rank, space.out_strides);
    const int64_t of_in = random_strides(r, space, space.rank, space.in_strides[0]);
    const int64_t of_in2 = random_strides(r, space, space.rank, space.in_strides[1]);
    const int first = r.integer(0, 1);
    broadcast(r, space, space.in_strides[first]);
    if (r.chance(0.2f)) broadcast(r, space, space.in_strides[1 - first]);
    s.in = c.flat(of_in + space.in_start[0]);
    s.in2 = c.flat(of_in2 + space.in_start[1]);
    if (s.binary.op == rt::BinaryOp::kDiv) c.fill(s.in2, 0.5f, 2.f, true);
    s.out = c.flat(of_out + space.out_start);
    s.strided = keep(c, space);
    s.act = random_act(r);
    c.add(s);
  }
  c.finish();
  return c;
}

Case make_softmax(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kSoftmax);
  rt::Strided space = random_space(r, 1, 4);
  space.reduced_from = r.chance(0.7f) ? space.rank - 1 : r.integer(0, space.rank - 1);
  const int64_t of_in = random_strides(r, space, space.rank, space.in_strides[0]);
  s.in = c.flat(of_in);
  if (r.chance(0.4f)) c.fill(s.in, -20.f, 100.f);  // whose exponentials a float cannot hold
  if (r.chance(0.3f)) {
    std::copy_n(space.in_strides[0], rt::kMaxDims, space.out_strides);
    s.out = s.in;
  } else {
    s.out = c.flat(random_strides(r, space, space.rank, space.out_strides));
  }
  s.strided = keep(c, space);
  c.add(s);
  c.finish();
  return c;
}

Case make_reduce_mean(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kReduceMean);
  rt::Strided space = random_space(r, 1, 5);
  space.reduced_from = r.integer(0, space.rank);
  const int64_t of_in = random_strides(r, space, space.rank, space.in_strides[0]);
  const int64_t of_out = random_strides(r, space, space.reduced_from, space.out_strides);
  s.in = c.flat(of_in);
  s.out = c.flat(of_out);
  s.strided = keep(c, space);
  s.act = random_act(r);
  c.add(s);
  c.finish();
  return c;
}

Case make_strided_copy(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kStridedCopy);
  rt::Strided space = random_space(r, 1, seed % 9 == 0 ? rt::kMaxDims : 4);
  space.out_start = r.chance(0.4f) ? r.integer(1, 9) : 0;
  space.in_start[0] = r.chance(0.4f) ? r.integer(1, 9) : 0;
  const int64_t of_out = random_strides(r, space, space.rank, space.out_strides);
  const int64_t of_in = random_strides(r, space, space.rank, space.in_strides[0]);
  if (r.chance(0.2f)) broadcast(r, space, space.in_strides[0]);
  const int64_t behind = r.integer(0, 9);
  s.in = c.flat(of_in + space.in_start[0]);
  s.out = c.flat(of_out + space.out_start + behind);
  space.fill_first = seed % 2 == 0;  // padding
  space.fill_value = space.fill_first ? r.pick({0.f, 1.5f, -2.25f}) : 0.f;
  space.out_elements = space.fill_first ? s.out.c - r.integer(0, static_cast<int32_t>(behind)) : 0;
  s.strided = keep(c, space);
  c.add(s);
  c.finish();
  return c;
}

Case make_mat_mul(const char* name, uint64_t seed, bool half_parameters) {
  Case c(name, seed);
  c.half_parameters = half_parameters;
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kMatMul);
  rt::Strided space = random_space(r, 3, 5);
  const int32_t row = space.rank - 3, column = space.rank - 2, sum = space.rank - 1;
  space.reduced_from = sum;
  if (r.chance(0.3f)) space.dims[row] = r.integer(15, 40);
  if (r.chance(0.3f)) space.dims[column] = r.integer(15, 40);
  const int64_t of_out = random_strides(r, space, sum, space.out_strides);
  // Each operand is the same along the dimension that only the other one has; sometimes along a leading one, too.
  rt::Strided sizes = space;
  sizes.dims[column] = 1;
  const int64_t of_in = random_strides(r, sizes, space.rank, space.in_strides[0]);
  sizes = space;
  sizes.dims[row] = 1;
  const int64_t of_in2 = random_strides(r, sizes, space.rank, space.in_strides[1]);
  space.in_strides[0][column] = space.in_strides[1][row] = 0;
  if (row > 0 && r.chance(0.4f)) space.in_strides[seed % 2][r.integer(0, row - 1)] = 0;
  s.in = c.flat(of_in);
  s.in2 = c.flat(of_in2);
  s.out = c.flat(of_out);
  s.strided = keep(c, space);
  s.act = random_act(r);
  c.add(s);
  c.finish();
  return c;
}

}  // namespace sparsenet::plugin_check
