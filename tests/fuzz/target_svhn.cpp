// SVHN's MATLAB files.
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "fuzz/scratch.h"
#include "fuzz/use_dataset.h"

namespace sparsenet::fuzz {
namespace {

void run(const uint8_t* data, size_t size) {
  scratch_file("test_32x32.mat", data, size);
  use_dataset("svhn:" + scratch_folder() + "#test");
}

// --- A header of 128 bytes, then elements of a type, a size and data; type 15 holds another element, compressed.

constexpr size_t kHeader = 128, kTag = 8;
constexpr uint32_t kCompressed = 15;

uint32_t word(const Bytes& bytes, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, &bytes[at], sizeof value);
  return value;
}

struct Element {
  uint32_t type;
  Bytes data;
};

// Replaces a compressed element by the one that it contains, if zlib can read that.
void inflate_element(Element& element) {
  Bytes plain(1 << 17);
  uLongf size = plain.size();
  if (uncompress(plain.data(), &size, element.data.data(), element.data.size()) != Z_OK || size < kTag) return;
  plain.resize(size);
  element.type = word(plain, 0);
  element.data.assign(plain.begin() + kTag, plain.end());
}

Element deflated(const Element& element) {
  Bytes plain(kTag);
  const auto size = static_cast<uint32_t>(element.data.size());
  std::memcpy(plain.data(), &element.type, 4);
  std::memcpy(plain.data() + 4, &size, 4);
  plain.insert(plain.end(), element.data.begin(), element.data.end());
  Element out{kCompressed, Bytes(compressBound(plain.size()))};
  uLongf packed = out.data.size();
  compress2(out.data.data(), &packed, plain.data(), plain.size(), 1);
  out.data.resize(packed);
  return out;
}

void mutate(Random& random, Bytes& bytes, size_t most) {
  std::vector<Element> elements;
  for (size_t at = kHeader; at + kTag <= bytes.size();) {
    const size_t size = std::min<size_t>(word(bytes, at + 4), bytes.size() - at - kTag);
    const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(at + kTag);
    elements.push_back({word(bytes, at), Bytes(first, first + static_cast<std::ptrdiff_t>(size))});
    if (elements.back().type == kCompressed) inflate_element(elements.back());
    at += kTag + size;
  }
  if (elements.empty()) return mutate_bytes(bytes, most);
  const size_t chosen = random.below(elements.size());
  Element& element = elements[chosen];
  switch (random.below(12)) {
    case 0:
      std::swap(element, elements[random.below(elements.size())]);
      break;
    case 1:
      elements.push_back(Element(element));
      break;
    case 2:
      elements.erase(elements.begin() + static_cast<std::ptrdiff_t>(chosen));
      break;
    case 3: {  // less or more data than the shape says
      element.data.resize(random.below(element.data.size() + 64));
      break;
    }
    default: {  // what the search is interested in comes first: flags, shape, name, tags
      Bytes front(element.data.begin(),
                  element.data.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(element.data.size(), 80)));
      if (front.empty()) break;
      mutate_bytes(front, front.size());
      std::copy(front.begin(), front.end(), element.data.begin());
    }
  }
  const bool compressed = !random.one_in(3);
  bytes.resize(kHeader);
  for (const Element& plain : elements) {
    const Element out = compressed ? deflated(plain) : plain;
    const auto size = static_cast<uint32_t>(out.data.size());
    const size_t at = bytes.size();
    bytes.resize(at + kTag);
    std::memcpy(&bytes[at], &out.type, 4);
    std::memcpy(&bytes[at + 4], &size, 4);
    bytes.insert(bytes.end(), out.data.begin(), out.data.end());
  }
}

}  // namespace

extern const Target svhn_target{"svhn", 8192, run, mutate};

}  // namespace sparsenet::fuzz
