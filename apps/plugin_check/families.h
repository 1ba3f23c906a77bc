// The kinds of cases: each family makes random cases of one kind of step, or of a whole network.
#pragma once

#include <vector>

#include "plugin_check/case.h"

namespace sparsenet::plugin_check {

struct Family {
  const char* name;
  Case (*make)(const char* name, uint64_t seed, bool half_parameters);
  bool integers = false;    // computes with integers
  bool parameters = false;  // has parameters, which may be float16
  bool network = false;     // several steps, whose errors add up
};

const std::vector<Family>& families();

// By source.

Case make_conv(const char* name, uint64_t seed, bool half_parameters);  // cases_layers.cpp
Case make_pool(const char* name, uint64_t seed, bool half_parameters);
Case make_global_pool(const char* name, uint64_t seed, bool half_parameters);
Case make_affine(const char* name, uint64_t seed, bool half_parameters);
Case make_unary(const char* name, uint64_t seed, bool half_parameters);
Case make_binary(const char* name, uint64_t seed, bool half_parameters);
Case make_special(const char* name, uint64_t seed, bool half_parameters);
Case make_attention(const char* name, uint64_t seed, bool half_parameters);
Case make_layer_norm(const char* name, uint64_t seed, bool half_parameters);

Case make_strided_binary(const char* name, uint64_t seed, bool half_parameters);  // cases_general.cpp
Case make_softmax(const char* name, uint64_t seed, bool half_parameters);
Case make_reduce_mean(const char* name, uint64_t seed, bool half_parameters);
Case make_strided_copy(const char* name, uint64_t seed, bool half_parameters);
Case make_mat_mul(const char* name, uint64_t seed, bool half_parameters);

Case make_int8_conv(const char* name, uint64_t seed, bool half_parameters);  // cases_integers.cpp
Case make_int8_pool(const char* name, uint64_t seed, bool half_parameters);
Case make_int8_global_pool(const char* name, uint64_t seed, bool half_parameters);
Case make_int8_affine(const char* name, uint64_t seed, bool half_parameters);
Case make_int8_unary(const char* name, uint64_t seed, bool half_parameters);
Case make_int8_binary(const char* name, uint64_t seed, bool half_parameters);
Case make_int8_softmax(const char* name, uint64_t seed, bool half_parameters);
Case make_int8_strided_copy(const char* name, uint64_t seed, bool half_parameters);
Case make_quantize(const char* name, uint64_t seed, bool half_parameters);
Case make_dequantize(const char* name, uint64_t seed, bool half_parameters);

Case make_network(const char* name, uint64_t seed, bool half_parameters);  // cases_network.cpp

// What several sources share.

rt::Act random_act(Random& random);  // any kind that layers may have; often none
void set_affine(Case& c, rt::Step* step);
rt::Window random_conv_window(Random& random, int32_t in_h, int32_t in_w);  // one that fits
void set_conv_output(rt::Step* step, int32_t* out_h, int32_t* out_w);       // of step->in and the window
rt::Window random_pool_window(Random& random, const rt::View& in, bool slice, int32_t* out_h, int32_t* out_w);
rt::Strided random_space(Random& random, int32_t least_rank, int32_t most_rank);  // rank and sizes
// Strides of an operand that has every element of the dimensions [0, rank) once, in any order and with gaps; returns
// the elements from the first to the last.
int64_t random_strides(Random& random, const rt::Strided& space, int32_t rank, int64_t* strides);

}  // namespace sparsenet::plugin_check
