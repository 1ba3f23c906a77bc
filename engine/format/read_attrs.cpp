#include "format/read_attrs.h"

#include <model_generated.h>

#include <cmath>

#include "format/model_format.h"
#include "graph/activations.h"

namespace sparsenet {
namespace {

Status read(const schema::Activation* file, Activation* out) {
  if (!file) return {};
  *out = {static_cast<Activation::Kind>(file->kind()), file->a(), file->b()};
  const ActivationRow* row = find_activation(out->kind);
  bool fits = row ? check_activation(*out).ok() : out->kind == Activation::Kind::kNone;
  if (!row || row->parameters == ActivationParameters::kNone) fits = fits && out->a == 0.f && out->b == 0.f;
  if (fits) return {};
  return invalid_model("activation: unknown number or unfit parameters: " + std::to_string(file->kind()) + ", " +
                       std::to_string(file->a()) + ", " + std::to_string(file->b()));
}
Status read(const schema::ConvAttrs& file, ConvAttrs* out) {
  out->kernel = {file.kernel_height(), file.kernel_width()};
  out->stride = {file.stride_height(), file.stride_width()};
  out->dilation = {file.dilation_height(), file.dilation_width()};
  out->pads = {file.pad_top(), file.pad_left(), file.pad_bottom(), file.pad_right()};
  out->groups = file.groups();
  return read(file.activation(), &out->activation);
}
Status read(const schema::PoolAttrs& file, PoolAttrs* out) {
  out->kernel = {file.kernel_height(), file.kernel_width()};
  out->stride = {file.stride_height(), file.stride_width()};
  out->pads = {file.pad_top(), file.pad_left(), file.pad_bottom(), file.pad_right()};
  out->ceil_mode = file.ceil_mode();
  out->count_include_pad = file.count_include_pad();
  return {};
}
Status read(const schema::SliceAttrs& file, StructureBudget* budget, SliceAttrs* out) {
  SPARSENET_RETURN_IF_ERROR(budget->read_list(file.axes(), "axes", kMaxRank, &out->axes));
  SPARSENET_RETURN_IF_ERROR(budget->read_list(file.starts(), "starts", kMaxRank, &out->starts));
  SPARSENET_RETURN_IF_ERROR(budget->read_list(file.ends(), "ends", kMaxRank, &out->ends));
  return budget->read_list(file.steps(), "steps", kMaxRank, &out->steps);
}
Status read(const schema::PadAttrs& file, StructureBudget* budget, PadAttrs* out) {
  out->value = file.value();
  if (std::isnan(out->value)) return invalid_model("padding value: expected a number, found NaN");
  SPARSENET_RETURN_IF_ERROR(budget->read_list(file.before(), "before", kMaxRank, &out->before));
  return budget->read_list(file.after(), "after", kMaxRank, &out->after);
}

}  // namespace

Status read_attrs(const schema::Node& file, StructureBudget* budget, Attrs* out) {
  if (file.attrs_type() == schema::Attrs::NONE) return {};
  if (!file.attrs()) return invalid_model("attributes are missing");
  switch (file.attrs_type()) {
    case schema::Attrs::ConvAttrs:
      return read(*file.attrs_as_ConvAttrs(), &out->emplace<ConvAttrs>());
    case schema::Attrs::FullyConnectedAttrs:
      return read(file.attrs_as_FullyConnectedAttrs()->activation(), &out->emplace<FullyConnectedAttrs>().activation);
    case schema::Attrs::BatchNormAttrs:
      out->emplace<BatchNormAttrs>().epsilon = file.attrs_as_BatchNormAttrs()->epsilon();
      return {};
    case schema::Attrs::ClipAttrs:
      *out = ClipAttrs{file.attrs_as_ClipAttrs()->low(), file.attrs_as_ClipAttrs()->high()};
      return {};
    case schema::Attrs::AlphaBetaAttrs:
      *out = AlphaBetaAttrs{file.attrs_as_AlphaBetaAttrs()->alpha(), file.attrs_as_AlphaBetaAttrs()->beta()};
      return {};
    case schema::Attrs::AxisAttrs:
      *out = AxisAttrs{file.attrs_as_AxisAttrs()->axis()};
      return {};
    case schema::Attrs::SplitAttrs: {
      auto& a = out->emplace<SplitAttrs>();
      a.axis = file.attrs_as_SplitAttrs()->axis();
      return budget->read_list(file.attrs_as_SplitAttrs()->sizes(), "sizes", kMaxValues, &a.sizes);
    }
    case schema::Attrs::SliceAttrs:
      return read(*file.attrs_as_SliceAttrs(), budget, &out->emplace<SliceAttrs>());
    case schema::Attrs::PadAttrs:
      return read(*file.attrs_as_PadAttrs(), budget, &out->emplace<PadAttrs>());
    case schema::Attrs::PoolAttrs:
      return read(*file.attrs_as_PoolAttrs(), &out->emplace<PoolAttrs>());
    case schema::Attrs::ReduceAttrs: {
      auto& a = out->emplace<ReduceAttrs>();
      a.keep_dims = file.attrs_as_ReduceAttrs()->keep_dims();
      return budget->read_list(file.attrs_as_ReduceAttrs()->axes(), "axes", kMaxRank, &a.axes);
    }
    case schema::Attrs::ReshapeAttrs:
      return budget->read_list(file.attrs_as_ReshapeAttrs()->dims(), "dims", kMaxRank,
                               &out->emplace<ReshapeAttrs>().dims);
    case schema::Attrs::TransposeAttrs:
      return budget->read_list(file.attrs_as_TransposeAttrs()->perm(), "perm", kMaxRank,
                               &out->emplace<TransposeAttrs>().perm);
    case schema::Attrs::NONE:
      break;
  }
  return invalid_model("unknown kind of attributes " + std::to_string(static_cast<int>(file.attrs_type())));
}

}  // namespace sparsenet
