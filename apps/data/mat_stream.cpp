#include "data/mat_stream.h"

#include <algorithm>

namespace sparsenet::io {
namespace {

constexpr size_t kChunk = size_t{1} << 16;
// The largest expansion of a deflate stream: at best 258 bytes from two bits.
constexpr uint64_t kMostExpansion = 1032;

}  // namespace

MatStream::MatStream(const File& file, uint64_t at, uint64_t size, bool compressed)
    : file_(file), begin_(at), at_(at), left_(size), compressed_(compressed) {}

MatStream::~MatStream() {
  if (started_) inflateEnd(&zlib_);
}

uint64_t MatStream::most_left() const {
  if (!compressed_) return left_;
  if (ended_) return 0;
  // A file has less than 2^63 bytes, an element less than 2^32, so this cannot overflow. What zlib holds back (its
  // window and an unfinished match) is at most 64 KiB.
  return (left_ + zlib_.avail_in) * kMostExpansion + kChunk;
}

Status MatStream::damaged(const std::string& how) const {
  return invalid_argument(file_.path() + ": the " + (compressed_ ? "compressed data" : "element") + " at byte " +
                          std::to_string(begin_) + " " + how);
}

// Produces as many bytes as zlib's input yields; none only at the stream's end or if more input is needed.
Status MatStream::inflate_some(void* out, size_t bytes, size_t* got) {
  *got = 0;
  if (!started_) {
    if (inflateInit(&zlib_) != Z_OK) return out_of_memory(file_.path() + ": no memory to decompress it");
    started_ = true;
    input_.resize(kChunk);
  }
  if (zlib_.avail_in == 0 && left_ > 0) {
    const auto now = static_cast<size_t>(std::min<uint64_t>(left_, input_.size()));
    SPARSENET_RETURN_IF_ERROR(file_.read_at(at_, input_.data(), now));
    at_ += now;
    left_ -= now;
    zlib_.next_in = input_.data();
    zlib_.avail_in = static_cast<uInt>(now);
  }
  const auto wanted = static_cast<uInt>(std::min<size_t>(bytes, kChunk));
  zlib_.next_out = static_cast<Bytef*>(out);
  zlib_.avail_out = wanted;
  const int code = inflate(&zlib_, Z_NO_FLUSH);
  *got = wanted - zlib_.avail_out;
  if (code == Z_STREAM_END) {
    ended_ = true;
    return {};
  }
  if (code == Z_OK || code == Z_BUF_ERROR) {
    if (*got == 0 && zlib_.avail_in == 0 && left_ == 0) return damaged("is cut");
    return {};
  }
  if (code == Z_MEM_ERROR) return out_of_memory(file_.path() + ": no memory to decompress it");
  return damaged("is damaged");
}

Status MatStream::read(void* out, size_t bytes) {
  if (!compressed_) {
    if (bytes > left_) return damaged("holds less than it claims");
    SPARSENET_RETURN_IF_ERROR(file_.read_at(at_, out, bytes));
    at_ += bytes;
    left_ -= bytes;
    return {};
  }
  auto* cursor = static_cast<uint8_t*>(out);
  while (bytes > 0) {
    if (ended_) return damaged("holds less than it claims");
    size_t got = 0;
    SPARSENET_RETURN_IF_ERROR(inflate_some(cursor, bytes, &got));
    cursor += got;
    bytes -= got;
  }
  return {};
}

Status MatStream::skip(uint64_t bytes) {
  if (!compressed_) {
    if (bytes > left_) return damaged("holds less than it claims");
    at_ += bytes;
    left_ -= bytes;
    return {};
  }
  uint8_t unused[256];
  while (bytes > 0) {
    const auto now = static_cast<size_t>(std::min<uint64_t>(bytes, sizeof unused));
    SPARSENET_RETURN_IF_ERROR(read(unused, now));
    bytes -= now;
  }
  return {};
}

Status MatStream::finish(uint64_t padding) {
  if (!compressed_) return left_ > padding ? damaged("holds more than it claims") : Status();
  uint8_t unused[256];
  uint64_t more = 0;
  while (!ended_) {
    size_t got = 0;
    SPARSENET_RETURN_IF_ERROR(inflate_some(unused, sizeof unused, &got));
    more += got;
    if (more > padding) return damaged("holds more than it claims");
  }
  return {};
}

}  // namespace sparsenet::io
