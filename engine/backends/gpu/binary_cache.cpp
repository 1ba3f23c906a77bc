#include "backends/gpu/binary_cache.h"

#include <cstring>
#include <fstream>

#include "backends/gpu/cache_file.h"
#include "base/checksum.h"

namespace sparsenet::gpu {
namespace {

constexpr char kMagic[8] = {'S', 'N', 'K', 'C', 'A', 'C', 'H', '2'};
constexpr uint64_t kLargest = uint64_t{1} << 28;  // of a file: more is not one of ours

struct Header {
  char magic[8];
  uint64_t key_bytes, binary_bytes, checksum;
};

std::string path_of_binary(const std::string& folder, const std::string& key) {
  return cache_path(folder, key, "snkernel");
}

uint64_t checksum_of(const std::string& key, const std::vector<uint8_t>& binary) {
  return xxh64(binary.data(), binary.size(), xxh64(key.data(), key.size()));
}

}  // namespace

bool read_cached_binary(const std::string& folder, const std::string& key, std::vector<uint8_t>* binary) {
  if (folder.empty()) return false;
  std::ifstream file(path_of_binary(folder, key), std::ios::binary);
  Header header;
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header))) return false;
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || header.key_bytes != key.size() ||
      header.binary_bytes == 0 || header.binary_bytes > kLargest) {
    return false;
  }
  std::string stored(key.size(), '\0');
  if (!file.read(stored.data(), static_cast<std::streamsize>(stored.size())) || stored != key) return false;
  // Read before they are believed: a damaged length must not make us allocate what the file does not have.
  std::vector<uint8_t> bytes;
  char block[65536];
  while (file.read(block, sizeof(block)) || file.gcount() > 0) {
    bytes.insert(bytes.end(), block, block + file.gcount());
    if (bytes.size() > header.binary_bytes) return false;
  }
  if (bytes.size() != header.binary_bytes || checksum_of(key, bytes) != header.checksum) return false;
  *binary = std::move(bytes);
  return true;
}

void write_cached_binary(const std::string& folder, const std::string& key, const std::vector<uint8_t>& binary) {
  if (folder.empty() || binary.empty() || binary.size() > kLargest) return;
  Header header;
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.key_bytes = key.size();
  header.binary_bytes = binary.size();
  header.checksum = checksum_of(key, binary);
  std::string text(reinterpret_cast<const char*>(&header), sizeof(header));
  text += key;
  text.append(reinterpret_cast<const char*>(binary.data()), binary.size());
  (void)write_cache_file(folder, path_of_binary(folder, key), text.data(), text.size());  // or it is compiled again
}

}  // namespace sparsenet::gpu
