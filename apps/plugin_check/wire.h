// Wire: a case in the form that plugins get. Its structures may be longer than those of this version, as those of a
// later one are, with garbage behind the members that are known.
#pragma once

#include <sparsenet/plugin.h>

#include <cstring>
#include <deque>
#include <vector>

#include "plugin_check/case.h"

namespace sparsenet::plugin_check {

constexpr int kGarbage = 0xa5;

// An array of structures, each `growth` bytes longer than T.
template <class T>
class Structures {
 public:
  Structures(size_t count, uint32_t growth)
      : stride_(sizeof(T) + growth), words_((stride_ * count + 7) / 8), count_(count) {
    std::memset(static_cast<void*>(words_.data()), kGarbage, words_.size() * 8);
    for (size_t i = 0; i < count; ++i) {
      T* at = &(*this)[i];
      std::memset(static_cast<void*>(at), 0, sizeof(T));
      at->struct_size = static_cast<uint32_t>(stride_);
    }
  }
  T& operator[](size_t i) { return *reinterpret_cast<T*>(reinterpret_cast<uint8_t*>(words_.data()) + i * stride_); }
  T* data() { return &(*this)[0]; }

  // Whether what lies behind the members that are known is as it was.
  bool intact() {
    for (size_t i = 0; i < count_; ++i) {
      const auto* at = reinterpret_cast<const uint8_t*>(&(*this)[i]);
      for (size_t byte = sizeof(T); byte < stride_; ++byte) {
        if (at[byte] != kGarbage) return false;
      }
    }
    return true;
  }

 private:
  size_t stride_;
  std::vector<uint64_t> words_;
  size_t count_;
};

class Wire {
 public:
  explicit Wire(const Case& c, uint32_t growth = 0);
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  const snp_plan& plan() const { return *plan_; }
  // For cases that no generator makes.
  snp_plan& plan() { return *plan_; }
  snp_step& step(size_t i);
  snp_view* new_view(const rt::View& view) { return convert(view); }
  // Replaces the inputs and outputs.
  struct Port {
    rt::View view;
    std::vector<int64_t> dims;
  };
  void set_ports(const std::vector<Port>& inputs, const std::vector<Port>& outputs);

  // Overwrites everything: all structures, the numbers of all constants, and the texts.
  void scramble();

 private:
  // `count` structures, `growth_` bytes longer each.
  template <class T>
  T* make(size_t count = 1);
  template <class T>
  static T& at(T* array, size_t i);
  template <class T>
  const T* numbers(const T* from, size_t count);
  void* block(size_t bytes);

  snp_view* convert(const rt::View& view);
  const snp_parameter* convert(const rt::Parameter& parameter);
  const snp_act* convert(const rt::Act& act);
  const snp_quant* convert(const rt::QuantParams* quant, size_t channels);
  void convert(const rt::Step& from, snp_step* to);
  snp_port* ports(const std::vector<Port>& from, const char* name);
  // The constant that an address lies in, and how far from its start.
  void find(const void* place, int32_t* constant, uint64_t* offset) const;

  const Case& case_;
  uint32_t growth_;
  std::deque<std::vector<uint64_t>> blocks_;
  snp_plan* plan_ = nullptr;
  snp_step* steps_ = nullptr;
};

}  // namespace sparsenet::plugin_check
