// Builder: turns the steps of a plan into launches of kernels, the block of weights that they read, and sizes. It knows
// no driver. A family of steps has a file lower_*.cpp, which calls it, and a file of kernels.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "backends/gpu/device.h"
#include "backends/gpu/kernels/params.h"

namespace sparsenet::gpu {

// Choices made by timing, by key; what is not in it has the fixed table's choice.
using Tuning = std::map<std::string, int>;

struct BuildOptions {
  const Traits* device = nullptr;
  bool half = false;          // elements are float16
  bool tensor_cores = false;  // products of float16 may use them
  const Tuning* tuning = nullptr;
  bool measure_only = false;  // count bytes and launches; constants are not looked at
};

struct Choice {
  std::string key;
  int count = 0, taken = 0;
  uint32_t step = 0;  // that asked for it
};

// Bytes of an element of an snp_type; 0: there is no such type.
uint64_t type_bytes(uint32_t type);

// What a plan becomes.
struct Program {
  std::vector<Launch> launches;  // in the order in which they run
  std::vector<uint8_t> weights;  // empty if measure_only
  uint64_t weights_bytes = 0, scratch_bytes = 0, arena_bytes = 0;
  std::vector<Choice> choices;                                       // that tuning may change
  std::vector<std::vector<Launch>> input_launches, output_launches;  // by port: between staging in scratch and arena
};

class Builder {
 public:
  Builder(const snp_plan& plan, const BuildOptions& options) : plan_(plan), options_(options) {}

  // Builds everything. The message names the step that is not supported.
  Outcome build(Program* program);
  // Why a step of the plan is not supported, in static storage; null if it is.
  const char* reason(uint32_t step);

  // For the functions that lower steps, below.

  const Traits& device() const { return *options_.device; }
  bool half() const { return options_.half; }
  bool tensor_cores() const { return options_.tensor_cores; }
  bool measure_only() const { return options_.measure_only; }
  uint32_t element_bytes() const { return options_.half ? 2 : 4; }

  // Places in the block of weights, as bytes from its start, at multiples of 16. Parameters become elements (float32 or
  // float16), whatever their constants' type is.
  uint32_t weight_elements(const snp_parameter& parameter, uint64_t count);
  uint32_t weight_elements(const std::vector<float>& values);
  uint32_t weight_floats(const std::vector<float>& values);  // float32 in any case
  uint32_t weight_bytes(const void* data, uint64_t bytes);   // data may be null if measure_only()
  // The numbers of a parameter; `count` zeros if measure_only().
  std::vector<float> floats_of(const snp_parameter& parameter, uint64_t count);
  // `count` integers of a parameter, as the constant has them. Null if measure_only(); also, and the step then fails,
  // if it does not have that many of the type.
  const void* integers_of(const snp_parameter& parameter, uint32_t type, uint64_t count);
  const void* data_of(const snp_parameter& parameter) const;  // as the constant has it
  uint32_t type_of(const snp_parameter& parameter) const;     // its snp_type

  // A view of float32 elements; makes a table of channels if it has several ranges or constant ones.
  ViewArg view(const snp_view& view);
  static bool is_plain(const snp_view& view) { return view.segment_count == 1 && view.segments[0].constant < 0; }

  // `bytes` of scratch, of this step alone; returns the first byte, at a multiple of 256.
  uint32_t scratch(uint64_t bytes);

  // Counters, integers that are 0 between kernels, behind the arena: returns where, in units of 256 bytes. All steps
  // share them.
  uint32_t counters(uint64_t count);

  // A choice that tuning may change: 0 <= result < count.
  int choose(const std::string& key, int count, int fixed);

  // Adds a launch. `params` is a structure whose first member is its size, which this sets. `defines` gets the group's
  // size and the type of elements added.
  template <class Params>
  Launch& launch(const char* file, const char* entry, const std::string& defines, std::array<uint32_t, 3> groups,
                 std::array<uint32_t, 3> group, Params params) {
    params.size = static_cast<int>(sizeof(Params));
    return add(file, entry, defines, groups, group, &params, sizeof(Params));
  }

  static Activation activation(const snp_act* act);  // null: none

 private:
  Launch& add(const char* file, const char* entry, const std::string& defines, std::array<uint32_t, 3> groups,
              std::array<uint32_t, 3> group, const void* params, size_t bytes);
  const char* lower(const snp_step& step);
  const char* lower(const snp_port& port, bool input);
  void fail(const char* reason);  // the first reason counts
  bool has(const snp_parameter& parameter, uint64_t count) const;
  uint32_t elements_of_constant(int32_t constant, uint64_t offset, uint64_t count);
  const snp_plan& plan_;
  const BuildOptions options_;
  Program* program_ = nullptr;
  std::vector<Launch>* launches_ = nullptr;  // where add() puts them
  uint32_t step_ = 0;
  uint64_t step_scratch_ = 0;
  uint64_t arena_end_ = 0;                              // bytes of the plan's arena; counters are behind it
  const char* error_ = nullptr;                         // of this step, in static storage
  std::map<std::string, uint32_t> tables_;              // of channels, which steps share
  std::map<std::array<uint64_t, 3>, uint32_t> placed_;  // constant, offset and count: elements that steps share
};

// Lowers a step of one family. Returns null, or in static storage why it is not supported; the launches of a step that
// is not supported are dropped.
using LowerFunction = const char* (*)(const snp_step& step, Builder& builder);

// The table of families: null if there is none for the step.
LowerFunction find_lowering(const snp_step& step);

// By file lower_*.cpp.
const char* lower_conv(const snp_step& step, Builder& builder);        // lower_conv.cpp
const char* lower_pool(const snp_step& step, Builder& builder);        // lower_pool.cpp: also the global one
const char* lower_affine(const snp_step& step, Builder& builder);      // lower_pointwise.cpp: affine, unary
const char* lower_binary(const snp_step& step, Builder& builder);      // lower_strided.cpp
const char* lower_softmax(const snp_step& step, Builder& builder);     // lower_strided.cpp
const char* lower_reduce(const snp_step& step, Builder& builder);      // lower_strided.cpp
const char* lower_copy(const snp_step& step, Builder& builder);        // lower_strided.cpp
const char* lower_attention(const snp_step& step, Builder& builder);   // lower_attention.cpp
const char* lower_mat_mul(const snp_step& step, Builder& builder);     // lower_products.cpp
const char* lower_layer_norm(const snp_step& step, Builder& builder);  // lower_products.cpp
const char* lower_integers(const snp_step& step, Builder& builder);    // lower_integers.cpp: all steps with snp_quant
// Between a port's elements outside, at the start of scratch, and its view.
const char* lower_port(const snp_port& port, bool input, Builder& builder);  // lower_ports.cpp

}  // namespace sparsenet::gpu
