// PNG and JPEG files, decoded and prepared for a network.
#include <zlib.h>

#include <algorithm>
#include <cstdlib>

#include "data/image.h"
#include "data/preprocess.h"
#include "fuzz/target.h"

namespace sparsenet::fuzz {
namespace {

void use(const Result<io::Image>& image) {
  if (!image.ok()) return;
  if (image->width < 1 || image->height < 1 || image->pixels.size() != image->bytes()) std::abort();
  if (image->bytes() > 1 << 20) return;  // larger images would only take longer
  for (const int64_t channels : {1, 3}) {
    Metadata metadata;
    metadata.color_order = channels == 1 ? "GRAY" : "BGR";
    metadata.resize = channels == 1 ? "bilinear" : "bilinear-crop";
    const Result<io::Preprocess> preprocess = io::Preprocess::create({1, channels, 6, 5}, metadata);
    if (!preprocess.ok()) std::abort();
    std::vector<float> out(preprocess->elements());
    preprocess->apply(*image, out.data());
  }
}

void run_png(const uint8_t* data, size_t size) {
  const Result<io::Image> image = io::decode_png(data, size, "fuzzed");
  use(image);
  if (!image.ok() || image->bytes() > 1 << 16) return;
  // What we write can be read, and is the same.
  const Result<std::vector<uint8_t>> file = io::encode_png(*image);
  if (!file.ok()) std::abort();
  const Result<io::Image> again = io::decode_image(file->data(), file->size(), "written");
  if (!again.ok() || again->pixels != image->pixels) std::abort();
}

void run_jpeg(const uint8_t* data, size_t size) {
  use(io::decode_jpeg(data, size, "fuzzed"));
}

// --- PNG: signature, then chunks of a length, a type, data and a CRC of the last two.

constexpr size_t kSignature = 8, kFront = 8, kCrc = 4;

uint32_t big_endian(const uint8_t* at) {
  return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}
void put_big_endian(Bytes& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}

struct Chunk {
  Bytes type_and_data;
};

std::vector<Chunk> read_chunks(const Bytes& bytes) {
  std::vector<Chunk> chunks;
  for (size_t at = kSignature; at + kFront + kCrc <= bytes.size();) {
    const auto length =
        static_cast<size_t>(std::min<uint64_t>(big_endian(&bytes[at]), bytes.size() - at - kFront - kCrc));
    const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(at + 4);
    chunks.push_back({Bytes(first, first + static_cast<std::ptrdiff_t>(4 + length))});
    at += kFront + length + kCrc;
  }
  return chunks;
}

// Changes the pixels' data in decompressed form; false if zlib cannot read the whole stream.
bool change_compressed(Bytes& type_and_data) {
  Bytes plain(1 << 16);
  uLongf size = plain.size();
  if (uncompress(plain.data(), &size, type_and_data.data() + 4, type_and_data.size() - 4) != Z_OK) return false;
  plain.resize(size);
  mutate_bytes(plain, plain.size() + 16);
  Bytes packed(compressBound(plain.size()));
  size = packed.size();
  if (compress2(packed.data(), &size, plain.data(), plain.size(), 1) != Z_OK) return false;
  type_and_data.resize(4);
  type_and_data.insert(type_and_data.end(), packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size));
  return true;
}

void mutate_png(Random& random, Bytes& bytes, size_t most) {
  std::vector<Chunk> chunks;
  if (bytes.size() > kSignature) chunks = read_chunks(bytes);
  if (chunks.empty()) return mutate_bytes(bytes, most);
  const size_t at = random.below(chunks.size());
  Bytes& content = chunks[at].type_and_data;
  switch (random.below(8)) {
    case 0:
      chunks.erase(chunks.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 1:
      chunks.insert(chunks.begin() + static_cast<std::ptrdiff_t>(random.below(chunks.size())), Chunk(chunks[at]));
      break;
    default:
      if (random.one_in(2) && content.size() > 4 && content[0] == 'I' && content[1] == 'D' &&
          change_compressed(content))
        break;
      mutate_bytes(content, content.size() + 64);
      if (content.size() < 4) content.resize(4, 'x');
  }
  bytes.resize(kSignature);
  for (const Chunk& chunk : chunks) {
    const Bytes& data = chunk.type_and_data;
    put_big_endian(bytes, static_cast<uint32_t>(data.size() - 4));
    bytes.insert(bytes.end(), data.begin(), data.end());
    put_big_endian(bytes, static_cast<uint32_t>(crc32(0, data.data(), static_cast<uInt>(data.size()))));
  }
}

}  // namespace

extern const Target png_target{"png", 4096, run_png, mutate_png};
extern const Target jpeg_target{"jpeg", 4096, run_jpeg};

}  // namespace sparsenet::fuzz
