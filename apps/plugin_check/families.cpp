#include "plugin_check/families.h"

namespace sparsenet::plugin_check {

const std::vector<Family>& families() {
  // name, function, integers, parameters, network
  static const std::vector<Family> kAll = {
      {"conv", make_conv, false, true},
      {"pool", make_pool, false, true},
      {"global_pool", make_global_pool, false, true},
      {"affine", make_affine, false, true},
      {"unary", make_unary},
      {"binary", make_binary},
      {"binary_strided", make_strided_binary},
      {"softmax", make_softmax},
      {"reduce_mean", make_reduce_mean},
      {"strided_copy", make_strided_copy},
      {"attention", make_attention, false, true},
      {"mat_mul", make_mat_mul},
      {"layer_norm", make_layer_norm, false, true},
      {"not_finite", make_special},
      {"network", make_network, false, true, true},
      {"int8_conv", make_int8_conv, true},
      {"int8_pool", make_int8_pool, true},
      {"int8_global_pool", make_int8_global_pool, true},
      {"int8_affine", make_int8_affine, true},
      {"int8_unary", make_int8_unary, true},
      {"int8_binary", make_int8_binary, true},
      {"int8_softmax", make_int8_softmax, true},
      {"int8_strided_copy", make_int8_strided_copy, true},
      {"quantize", make_quantize, true},
      {"dequantize", make_dequantize, true},
  };
  return kAll;
}

}  // namespace sparsenet::plugin_check
