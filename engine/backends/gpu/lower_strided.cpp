// Steps over index spaces: arithmetic with broadcasting, copies, softmax and means.
#include "backends/gpu/index_space.h"
#include "backends/gpu/kernels/strided_params.h"
#include "backends/gpu/lower_pointwise.h"

namespace sparsenet::gpu {
namespace {

constexpr uint32_t kCopyTile = 32;  // of the transposing copy

// Whether an operand's neighbours along the fastest dimension can be taken four at a time, or are one element that is
// read for all of them.
bool walks_in_fours(const Operand& operand, const Space& space, const unsigned* distances, bool written) {
  if (distances[0] == 0 && !written) return true;
  if (distances[0] != 1 || operand.at % 4 != 0) return false;
  for (int d = 1; d < space.rank; ++d)
    if (distances[d] % 4 != 0) return false;
  return true;
}

// act(in op in2) over the whole index space; without in2, a copy.
void launch_pointwise(const snp_step& step, int op, const IndexSpace& space, const Activation& act, Builder& builder) {
  StridedParams p{};
  p.in = in_of(step, builder);
  if (op >= 0) p.in2 = in2_of(step, builder);
  p.out = out_of(step);
  p.space = space.arg();
  p.op = op;
  p.act = act;
  const bool fours = p.space.rank > 0 && p.space.dims[0] % 4 == 0 &&
                     walks_in_fours({p.out, 0}, p.space, p.space.out, true) &&
                     walks_in_fours(p.in, p.space, p.space.in, false) &&
                     (op < 0 || walks_in_fours(p.in2, p.space, p.space.in2, false));
  p.width = fours ? 4 : 1;
  if (fours) {
    p.space.dims[0] /= 4;
    p.space.out[0] *= 4;
    p.space.in[0] *= 4;
    p.space.in2[0] *= 4;
  }
  p.items = space.elements() / static_cast<uint32_t>(p.width);
  Launch& launch = builder.launch("strided", "strided_pointwise", "", {divide_up(p.items, 256), 1, 1}, {256, 1, 1}, p);
  const uint64_t bytes = uint64_t{space.elements()} * builder.element_bytes();
  launch.bytes_read = op >= 0 ? 2 * bytes : bytes;
  launch.bytes_written = bytes;
}

// Copies in tiles if the input's neighbours are not those of the output. Returns whether it does.
bool launch_transpose(const snp_step& step, IndexSpace space, Builder& builder) {
  std::vector<IndexSpace::Dim>& dims = space.dims();  // sorted by the output
  if (dims.empty() || dims[0].out != 1 || dims[0].in == 1 || dims[0].size < 8) return false;
  const uint32_t elements = space.elements();
  for (size_t d = 1; d < dims.size(); ++d) {
    if (dims[d].in != 1 || dims[d].size < 8) continue;
    TransposeParams p{};
    p.in = in_of(step, builder);
    p.out = out_of(step);
    p.along = dims[0].size;
    p.in_along = dims[0].in;
    p.across = dims[d].size;
    p.out_across = dims[d].out;
    p.tiles_along = divide_up(p.along, kCopyTile);
    p.tiles_across = divide_up(p.across, kCopyTile);
    dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(d));
    dims.erase(dims.begin());
    p.rest = space.arg();
    const uint32_t groups = p.tiles_along * p.tiles_across * space.elements();
    Launch& launch = builder.launch("strided", "transpose", "", {groups, 1, 1}, {kCopyTile, 8, 1}, p);
    launch.bytes_read = launch.bytes_written = uint64_t{elements} * builder.element_bytes();
    return true;
  }
  return false;
}

// Softmax and means. `entry`: the kernel; `reduced`: it writes one element for each row.
const char* launch_rows(const snp_step& step, const char* entry, bool reduced, Builder& builder) {
  if (const char* reason = check_strided(step)) return reason;
  const int from = step.strided->reduced_from;
  IndexSpace outer(step, 0, from), inner(step, from, step.strided->rank);
  outer.sort_by_in();
  inner.sort_by_in();
  RowsParams p{};
  p.in = in_of(step, builder);
  p.out = out_of(step);
  p.outer = outer.arg();
  p.inner = inner.arg();
  p.rows = outer.elements();
  p.terms = inner.elements();
  p.lanes = lanes_for(p.rows, p.terms, builder.device());
  // Neighbouring threads read neighbours.
  p.lanes_near = p.outer.rank == 0 || (p.inner.rank > 0 && p.inner.in[0] <= p.outer.in[0]);
  if (!p.lanes_near && p.rows > 8 && p.lanes > 32) p.lanes = 32;
  p.act = Builder::activation(step.act);
  const uint32_t group_rows = 256u / static_cast<uint32_t>(p.lanes);
  Launch& launch = builder.launch("strided", entry, "", {divide_up(p.rows, group_rows), 1, 1}, {256, 1, 1}, p);
  launch.bytes_read = uint64_t{p.rows} * p.terms * builder.element_bytes();
  launch.bytes_written = reduced ? uint64_t{p.rows} * builder.element_bytes() : launch.bytes_read;
  return nullptr;
}

}  // namespace

const char* lower_binary(const snp_step& step, Builder& builder) {
  if (!step.in2) return "it has no second operand";
  if (step.binary > SNP_PRELU) return "its arithmetic is of an unknown kind";
  const int op = static_cast<int>(step.binary);
  if (!step.strided) return lower_elements(step, op, builder);
  if (const char* reason = check_strided(step)) return reason;
  IndexSpace space(step, 0, step.strided->rank);
  space.sort_by_out();
  launch_pointwise(step, op, space, Builder::activation(step.act), builder);
  return nullptr;
}

const char* lower_copy(const snp_step& step, Builder& builder) {
  if (const char* reason = check_strided(step)) return reason;
  const snp_strided& s = *step.strided;
  if (s.fill_first) {
    if (s.out_elements > 0x7fffffff) return "it fills more elements than 31 bits count";
    FillParams p{};
    p.out = static_cast<uint32_t>(step.out->segments[0].offset / 4);
    p.items = static_cast<uint32_t>(s.out_elements);
    p.value = s.fill_value;
    if (p.items > 0) {
      Launch& launch = builder.launch("strided", "fill", "", {divide_up(p.items, 256), 1, 1}, {256, 1, 1}, p);
      launch.bytes_written = uint64_t{p.items} * builder.element_bytes();
    }
  }
  IndexSpace space(step, 0, s.rank);
  space.sort_by_out();
  if (!launch_transpose(step, space, builder)) launch_pointwise(step, -1, space, Builder::activation(nullptr), builder);
  return nullptr;
}

const char* lower_softmax(const snp_step& step, Builder& builder) {
  return launch_rows(step, "softmax", false, builder);
}

const char* lower_reduce(const snp_step& step, Builder& builder) {
  return launch_rows(step, "reduce_mean", true, builder);
}

}  // namespace sparsenet::gpu
