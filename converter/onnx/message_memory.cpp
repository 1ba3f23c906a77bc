#include "converter/onnx/message_memory.h"

#include <algorithm>
#include <iterator>

namespace sparsenet::converter {
namespace {

// The kinds of messages in onnx.proto that contain others, and their field numbers.
enum Kind : uint8_t {
  kLeaf,
  kModel,
  kGraph,
  kNode,
  kAttribute,
  kTensor,
  kSparseTensor,
  kValueInfo,
  kType,
  kTypeTensor,
  kTypeElement,
  kTypeMap,
  kShape,
  kAnnotation,
  kTraining,
  kFunction
};

struct Child {
  Kind parent;
  uint32_t field;
  Kind kind;
};
constexpr Child kChildren[] = {
    {kModel, 7, kGraph},
    {kModel, 8, kLeaf},
    {kModel, 14, kLeaf},
    {kModel, 20, kTraining},
    {kModel, 25, kFunction},
    {kGraph, 1, kNode},
    {kGraph, 5, kTensor},
    {kGraph, 11, kValueInfo},
    {kGraph, 12, kValueInfo},
    {kGraph, 13, kValueInfo},
    {kGraph, 14, kAnnotation},
    {kGraph, 15, kSparseTensor},
    {kGraph, 16, kLeaf},
    {kNode, 5, kAttribute},
    {kNode, 9, kLeaf},
    {kAttribute, 5, kTensor},
    {kAttribute, 6, kGraph},
    {kAttribute, 10, kTensor},
    {kAttribute, 11, kGraph},
    {kAttribute, 14, kType},
    {kAttribute, 15, kType},
    {kAttribute, 22, kSparseTensor},
    {kAttribute, 23, kSparseTensor},
    {kTensor, 3, kLeaf},
    {kTensor, 13, kLeaf},
    {kSparseTensor, 1, kTensor},
    {kSparseTensor, 2, kTensor},
    {kValueInfo, 2, kType},
    {kType, 1, kTypeTensor},
    {kType, 4, kTypeElement},
    {kType, 5, kTypeMap},
    {kType, 8, kTypeTensor},
    {kType, 9, kTypeElement},
    {kTypeTensor, 2, kShape},
    {kTypeElement, 1, kType},
    {kTypeMap, 2, kType},
    {kShape, 1, kLeaf},
    {kAnnotation, 2, kLeaf},
    {kTraining, 1, kGraph},
    {kTraining, 2, kGraph},
    {kTraining, 3, kLeaf},
    {kTraining, 4, kLeaf},
    {kFunction, 7, kNode},
    {kFunction, 9, kLeaf},
    {kFunction, 11, kAttribute},
    {kFunction, 12, kValueInfo},
};

// Lists of integers in which a single byte of the file may become an integer of eight bytes; lists grow by doubling.
constexpr Child kPacked[] = {
    {kTensor, 1, kLeaf},  {kTensor, 5, kLeaf},    {kTensor, 7, kLeaf},
    {kTensor, 11, kLeaf}, {kAttribute, 8, kLeaf}, {kSparseTensor, 3, kLeaf},
};

constexpr uint64_t kMessageBytes = 384;  // more than the largest object, its entry in a list and the heap's overhead
constexpr uint64_t kStringBytes = 96;
constexpr uint64_t kNumberBytes = 24;
constexpr uint64_t kPackedGrowth = 24;
constexpr int kMaxDepth = 100;  // limit of the protobuf parser

const Child* find(const Child* begin, const Child* end, Kind parent, uint64_t field) {
  const auto* found = std::find_if(begin, end, [&](const Child& c) { return c.parent == parent && c.field == field; });
  return found == end ? nullptr : found;
}

bool read_varint(const uint8_t** at, const uint8_t* end, uint64_t* out) {
  *out = 0;
  for (int shift = 0; shift < 64 && *at < end; shift += 7) {
    const uint8_t byte = *(*at)++;
    *out |= uint64_t{byte & 0x7fu} << shift;
    if (!(byte & 0x80)) return true;
  }
  return false;
}

uint64_t measure(Kind kind, const uint8_t* at, const uint8_t* end, int depth) {
  uint64_t sum = kMessageBytes;
  uint64_t key = 0, length = 0;
  while (at < end && read_varint(&at, end, &key)) {
    const uint64_t field = key >> 3;
    const auto left = static_cast<uint64_t>(end - at);
    switch (key & 7) {
      case 0:
        if (!read_varint(&at, end, &length)) return sum;
        sum += kNumberBytes;
        break;
      case 1:
      case 5: {
        const uint64_t bytes = (key & 7) == 1 ? 8 : 4;
        if (bytes > left) return sum;
        at += bytes;
        sum += kNumberBytes;
        break;
      }
      case 2: {
        if (!read_varint(&at, end, &length) || length > static_cast<uint64_t>(end - at)) return sum;
        if (const Child* child = find(std::begin(kChildren), std::end(kChildren), kind, field)) {
          if (depth == kMaxDepth) return sum;
          sum += measure(child->kind, at, at + length, depth + 1);
        } else if (find(std::begin(kPacked), std::end(kPacked), kind, field)) {
          sum += kPackedGrowth * length;
        } else {
          sum += kStringBytes + length;
        }
        at += length;
        break;
      }
      default:
        return sum;  // groups are not used
    }
  }
  return sum;
}

}  // namespace

uint64_t message_memory(const uint8_t* data, size_t size) {
  return measure(kModel, data, data + size, 0);
}

}  // namespace sparsenet::converter
