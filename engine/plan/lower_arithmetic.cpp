// Lowering of arithmetic with broadcasting, matrix products, Softmax and means. Their steps walk an index space with
// strides, except arithmetic on two images or vectors of the same shape, for which pixels and channels are enough.
#include <algorithm>
#include <utility>

#include "graph/ops.h"
#include "plan/lower.h"

namespace sparsenet {
namespace {

rt::BinaryOp binary_op(Op op) {
  switch (op) {
    case Op::kSub:
      return rt::BinaryOp::kSub;
    case Op::kMul:
      return rt::BinaryOp::kMul;
    case Op::kDiv:
      return rt::BinaryOp::kDiv;
    case Op::kMax:
      return rt::BinaryOp::kMax;
    case Op::kMin:
      return rt::BinaryOp::kMin;
    case Op::kPrelu:
      return rt::BinaryOp::kPrelu;
    default:
      return rt::BinaryOp::kAdd;
  }
}

// The order in which logical dimensions are walked: pixel order (NHWC) for images that are in it.
std::vector<size_t> walk_order(size_t rank, bool rows) {
  if (rank == 4 && !rows) return {0, 2, 3, 1};
  std::vector<size_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = i;
  return order;
}

}  // namespace

Status Lowering::lower_binary(const Node& node) {
  const Shape& out_shape = shape(node.outputs[0]);
  Draft draft = start(node, rt::StepOp::kBinary);
  draft.step.binary.op = binary_op(node.op);
  draft.share_in = draft.share_in2 = true;
  bool same = true;
  for (size_t i = 0; i < 2; ++i) {
    const auto in = static_cast<size_t>(node.inputs[i]), out = static_cast<size_t>(node.outputs[0]);
    same = same && shape(node.inputs[i]) == out_shape && rows_[in] == rows_[out];
  }
  if (same && has_channels(out_shape)) {
    SPARSENET_ASSIGN_OR_RETURN(draft.in, value(node.inputs[0]));
    SPARSENET_ASSIGN_OR_RETURN(draft.in2, value(node.inputs[1]));
  } else {
    if (out_shape.size() > rt::kMaxDims) {
      return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(out_shape));
    }
    rt::Strided st{};
    st.rank = static_cast<int32_t>(out_shape.size());
    Lowered operands[2];
    std::vector<int64_t> strides[2];
    for (size_t i = 0; i < 2; ++i) {
      SPARSENET_ASSIGN_OR_RETURN(Lowered v, dense(node.inputs[i], node));
      operands[i] = v;
      strides[i] = physical_strides(shape(node.inputs[i]), operands[i]);
    }
    draft.in = operands[0];
    draft.in2 = operands[1];
    draft.out = new_value(node.outputs[0]);
    const std::vector<int64_t> out_strides = physical_strides(out_shape, draft.out);
    const std::vector<size_t> order = walk_order(out_shape.size(), draft.out.rows);
    for (size_t d = 0; d < order.size(); ++d) {
      const size_t axis = order[d];
      st.dims[d] = out_shape[axis];
      st.out_strides[d] = out_strides[axis];
      for (size_t i = 0; i < 2; ++i) {
        const Shape& s = shape(node.inputs[i]);
        const size_t missing = out_shape.size() - s.size();
        st.in_strides[i][d] = axis < missing || s[axis - missing] == 1 ? 0 : strides[i][axis - missing];
      }
    }
    st.out_elements = element_count(out_shape);
    plan_.strided.push_back(st);
    draft.step.strided = &plan_.strided.back();
    values_[static_cast<size_t>(node.outputs[0])] = draft.out;
    finish(std::move(draft));
    return {};
  }
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

// The index space of a matrix product: the dimensions in front, rows, columns, and last what is summed over.
Status Lowering::lower_mat_mul(const Node& node) {
  const Shape& out_shape = shape(node.outputs[0]);
  const size_t rank = out_shape.size();
  Draft draft = start(node, rt::StepOp::kMatMul);
  rt::Strided st{};
  st.rank = static_cast<int32_t>(rank + 1);
  st.reduced_from = static_cast<int32_t>(rank);
  for (size_t i = 0; i < 2; ++i) {
    const Shape& s = shape(node.inputs[i]);
    SPARSENET_ASSIGN_OR_RETURN(Lowered v, dense(node.inputs[i], node));
    const std::vector<int64_t> strides = physical_strides(s, v);
    const size_t missing = rank - s.size();
    for (size_t d = missing; d + 2 < rank; ++d) {
      st.in_strides[i][d] = s[d - missing] == 1 ? 0 : strides[d - missing];
    }
    st.in_strides[i][i == 0 ? rank - 2 : rank - 1] = strides[s.size() - (i == 0 ? 2 : 1)];
    st.in_strides[i][rank] = strides[s.size() - (i == 0 ? 1 : 2)];
    (i == 0 ? draft.in : draft.in2) = v;
  }
  draft.out = new_value(node.outputs[0]);
  const std::vector<int64_t> to = physical_strides(out_shape, draft.out);
  for (size_t d = 0; d < rank; ++d) {
    st.dims[d] = out_shape[d];
    st.out_strides[d] = to[d];
  }
  st.dims[rank] = shape(node.inputs[0]).back();
  plan_.strided.push_back(st);
  draft.step.strided = &plan_.strided.back();
  draft.macs = node_macs(graph_, node);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_softmax(const Node& node) {
  const Shape& s = shape(node.inputs[0]);
  if (s.size() > rt::kMaxDims) return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(s));
  SPARSENET_ASSIGN_OR_RETURN(Lowered in, dense(node.inputs[0], node));
  Draft draft = start(node, rt::StepOp::kSoftmax);
  draft.in = in;
  draft.out = new_value(node.outputs[0]);
  draft.share_in = true;
  const auto axis = static_cast<size_t>(std::get<AxisAttrs>(node.attrs).axis);
  const std::vector<int64_t> from = physical_strides(s, in), to = physical_strides(s, draft.out);
  rt::Strided st{};
  st.rank = static_cast<int32_t>(s.size());
  size_t d = 0;
  auto put = [&](size_t logical) {
    st.dims[d] = s[logical];
    st.out_strides[d] = to[logical];
    st.in_strides[0][d] = from[logical];
    ++d;
  };
  for (size_t i = 0; i < s.size(); ++i) {
    if (i != axis) put(i);
  }
  put(axis);
  st.reduced_from = st.rank - 1;
  plan_.strided.push_back(st);
  draft.step.strided = &plan_.strided.back();
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_reduce_mean(const Node& node) {
  const auto& a = std::get<ReduceAttrs>(node.attrs);
  const Shape& s = shape(node.inputs[0]);
  if (s.size() > rt::kMaxDims) return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(s));
  SPARSENET_ASSIGN_OR_RETURN(Lowered in, dense(node.inputs[0], node));
  Draft draft = start(node, rt::StepOp::kReduceMean);
  draft.in = in;
  draft.out = new_value(node.outputs[0]);
  const std::vector<int64_t> from = physical_strides(s, in);
  const std::vector<int64_t> to = physical_strides(shape(node.outputs[0]), draft.out);
  auto reduced = [&](size_t i) {
    return std::find(a.axes.begin(), a.axes.end(), static_cast<int32_t>(i)) != a.axes.end();
  };
  rt::Strided st{};
  st.rank = static_cast<int32_t>(s.size());
  size_t d = 0, out_axis = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (!reduced(i)) {
      st.dims[d] = s[i];
      st.in_strides[0][d] = from[i];
      st.out_strides[d] = to[out_axis];
      ++d;
    }
    if (!reduced(i) || a.keep_dims) ++out_axis;
  }
  st.reduced_from = static_cast<int32_t>(d);
  for (size_t i = 0; i < s.size(); ++i) {
    if (!reduced(i)) continue;
    st.dims[d] = s[i];
    st.in_strides[0][d] = from[i];
    ++d;
  }
  plan_.strided.push_back(st);
  draft.step.strided = &plan_.strided.back();
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

}  // namespace sparsenet
