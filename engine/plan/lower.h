// Lowering: turns the nodes of a graph into the steps of a plan. Internal to plan/.
#pragma once

#include <unordered_map>

#include "plan/plan.h"

namespace sparsenet {

// A range of a value's channels, as long as offsets are not known yet.
struct Piece {
  int buffer = -1;                 // index of a virtual buffer; -1: constant
  size_t start = 0;                // bytes into the buffer
  const void* constant = nullptr;  // when buffer is -1
  int32_t channels = 0;
  int32_t pixel_stride = 0;
};

// A value as the plan sees it: n x h x w pixels with the channels of all pieces side by side.
struct Lowered {
  int32_t n = 0, h = 0, w = 0, c = 0;
  DataType type = DataType::kFloat32;
  std::vector<Piece> pieces;
  bool rows = false;  // of rank 4, but in row-major order, as one pixel (Lowering::find_rows)
  bool known() const { return !pieces.empty(); }
  int64_t pixels() const { return int64_t{n} * h * w; }
};

rt::Act to_act(const Activation& activation);

// Images and vectors: the second dimension counts channels, and a step may take some of them.
inline bool has_channels(const Shape& s) {
  return s.size() == 4 || s.size() == 2;
}

class Lowering {
 public:
  Lowering(const Graph& graph, const Persistence& persistence) : graph_(graph), persistence_(persistence) {}
  Result<Plan> run();

 private:
  // A step before offsets are known.
  struct Draft {
    rt::Step step{};
    Lowered in, in2, out;
    std::vector<Lowered> operands;  // of training steps
    std::vector<Lowered> reads;     // other values that must live until this step
    int64_t macs = 0;
    // A parameter in the arena, to which a member of the step will point.
    struct Link {
      rt::ParamSlot slot;
      Piece piece;
    };
    std::vector<Link> links;
    // Operands whose memory the output may take over if no later step reads them. An elementwise step reads every
    // element before it writes it; a convolution does so for its residual only.
    bool share_in = false, share_in2 = false;
  };
  struct VirtualBuffer {
    std::string name;
    size_t bytes = 0;
    int first = 0, last = 0;
    int merged_into = -1;
  };

  Status lower_node(const Node& node);
  Status lower_conv(const Node& node);
  Status lower_fully_connected(const Node& node);
  Status lower_pool(const Node& node);
  Status lower_global_pool(const Node& node);
  Status lower_affine(const Node& node);
  Status lower_unary(const Node& node);
  Status lower_binary(const Node& node);
  Status lower_mat_mul(const Node& node);
  Status lower_layer_norm(const Node& node);
  Status lower_attention(const Node& node);
  Status lower_softmax(const Node& node);
  Status lower_reduce_mean(const Node& node);
  Status lower_concat(const Node& node);
  Status lower_split(const Node& node);
  Status lower_slice(const Node& node);
  Status lower_pad(const Node& node);
  Status lower_reshape(const Node& node);
  Status lower_transpose(const Node& node);

  // Integers (lower_integers.cpp).
  Status quant_of(const Node& node, rt::QuantParams* quant);
  Status conv_quant(const Node& node, rt::QuantParams* quant);
  Status add_quant(const Node& node, rt::QuantParams* quant);
  Status softmax_quant(const Node& node, rt::QuantParams* quant);
  Status set_multipliers(const Node& node, const std::vector<double>& factors, int64_t largest, rt::QuantParams* quant);
  Status lower_integer_node(const Node& node);
  Status lower_quantize(const Node& node, rt::StepOp op);
  Status lower_integer_clamp(const Node& node);
  Status lower_scale(const Node& node);
  Status lower_table(const Node& node);  // lower_tables.cpp
  int constant_number(const Node& node) const;
  bool add_in_convolution(const Node& node);
  Status set_channel_scales(const Node& scale, rt::QuantParams* quant);

  // Training (lower_train.cpp).
  Status lower_training(const Node& node);
  Status lower_normalize(const Node& node);
  Status lower_conv_grad_weight(const Node& node);
  Status lower_conv_grad_input(const Node& node);
  Status lower_softmax_grad(const Node& node);
  Status lower_reduce_sum(const Node& node);
  Status lower_expand(const Node& node);
  Status lower_slice_grad(const Node& node);
  Status lower_fake_quantize(const Node& node);
  Status lower_operands(const Node& node);
  void set_window(const PoolAttrs& attrs, rt::Step* step) const;
  void set_window(const ConvAttrs& attrs, rt::Step* step) const;

  // Values.
  const Shape& shape(ValueId id) const { return graph_.shape(id); }
  Result<Lowered> value(ValueId id);  // pieces of a value or of a constant
  Result<Lowered> dense(ValueId id,
                        const Node& node);  // one piece whose pixels lie side by side; makes a copy if necessary
  Lowered new_value(ValueId id);            // a new buffer for a node's output
  enum class ReadIn { kPrepare, kRun };     // when kernels read a parameter, which must live as long
  Result<rt::Parameter> constant(const Node& node, size_t input, ReadIn when = ReadIn::kPrepare);
  // Points a member of the draft's step to a parameter: a constant, or a variable in the arena.
  Status parameter(const Node& node, size_t input, rt::ParamSlot slot, Draft* draft);
  const Persistence::Placement* placement(ValueId id) const { return placements_[static_cast<size_t>(id)]; }
  Lowered frame(ValueId id) const;  // the extents of a value, without pieces

  // Steps.
  Draft start(const Node& node, rt::StepOp op);
  void finish(Draft draft);
  Status input_with_pre(const Node& node, Draft* draft);  // sets `in` to the node's input, and a fused Affine
  Status strided_copy(const Node& node, const Lowered& from, const Lowered& to, const rt::Strided& strided);
  // Lowers a node to one strided copy of its dense input, which walks the index space `dims`. adjust(from, to,
  // &strided) gets the strides of both sides and sets what differs from a plain copy.
  template <class Adjust>
  Status lower_copy(const Node& node, const Shape& dims, Adjust adjust);
  Status reorder(const Node& node, const Lowered& from, const Shape& shape, bool to_rows, Lowered* out);
  Lowered channel_range(const Lowered& from, int64_t begin, int64_t end) const;
  std::vector<int64_t> physical_strides(const Shape& shape, const Lowered& value) const;

  Status set_affine(const Node& affine, Draft* draft);
  size_t offset_of(const Piece& piece) const;
  void find_rows();
  void find_fused_affines();
  void find_fused_gradients();
  void make_regions();
  void share_memory();
  void place_buffers();
  void make_steps();
  void forget_merged_buffers();
  rt::View view(const Lowered& value, Plan* plan);

  const Graph& graph_;
  const Persistence& persistence_;
  std::vector<const Persistence::Placement*> placements_;  // by value
  std::vector<int> region_buffers_;
  std::vector<Lowered> values_;
  std::vector<const Node*> producer_;
  std::vector<int> uses_;
  std::vector<bool> rows_;             // by value: of rank 4, and better in row-major order
  std::vector<bool> fused_;            // by value: made by an Affine or Normalize that its consumers apply themselves
  std::vector<bool> fused_gradients_;  // by value: the input gradient of a 1x1 convolution, which its only reader, a
                                       // NormalizeGrad, computes itself, a few pixels at a time
  std::vector<VirtualBuffer> buffers_;
  std::vector<Draft> drafts_;
  rt::QuantParams* quant_ = nullptr;  // of the node that is being lowered, if it computes with integers
  Plan plan_;
};

}  // namespace sparsenet
