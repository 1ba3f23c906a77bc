// A reader of the pickles that torch.save writes (protocols 2 to 5), for untrusted files.
//
// It executes the pickle machine's opcodes on a small value tree: plain containers, numbers, strings, references to
// tensor storage. Nothing is imported and nothing is called: of all the names a pickle may refer to, only the few that
// build tensors are known here and become inert values; any other is rejected by name.
//
// Values refer to each other by index, so cyclic or very deep input causes neither leaks nor stack overflow.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "converter/io/memory_budget.h"

namespace sparsenet::converter {

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,     // number in `integer`
    kBigInt,  // little-endian two's complement bytes in `text`
    kFloat,
    kString,  // also used for bytes
    kTuple,
    kList,
    kDict,     // items: key, value, key, value, ... in the order of insertion
    kGlobal,   // "module.name" in `text`
    kStorage,  // items[0]: the tuple that names the storage
    kTensor,   // items: the arguments of _rebuild_tensor[_v2]: storage, offset, sizes, strides, ...
    kOpaque    // a value that tensors do not need (torch.device)
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double number = 0;
  std::string text;
  std::vector<uint32_t> items;
};

struct Pickle {
  std::vector<PickleValue> values;
  uint32_t root = 0;
  size_t consumed = 0;  // bytes up to and including STOP
  MemoryCharge charge;  // for all values

  const PickleValue& at(uint32_t index) const { return values[index]; }
  // The value of a string key of a dict, or null.
  const PickleValue* find(const PickleValue& dict, const char* key) const;
};

// Reads one pickle at the start of the bytes. The memory of its values is charged to the conversion's budget, which
// also limits the work: nothing is copied without being counted.
Result<Pickle> read_pickle(const uint8_t* data, size_t size);

}  // namespace sparsenet::converter
