#include "backends/gpu/binary_cache.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace sparsenet::gpu {
namespace {

constexpr char kMagic[8] = {'S', 'N', 'K', 'C', 'A', 'C', 'H', '1'};
constexpr uint64_t kLargest = uint64_t{1} << 28;  // of a file: more is not one of ours

struct Header {
  char magic[8];
  uint64_t key_bytes, binary_bytes, checksum;
};

// FNV-1a of 64 bits.
uint64_t hash(const void* data, size_t bytes, uint64_t state) {
  const auto* p = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < bytes; ++i) state = (state ^ p[i]) * 0x100000001b3u;
  return state;
}
constexpr uint64_t kBasis = 0xcbf29ce484222325u;

std::filesystem::path file_of(const std::string& folder, const std::string& key) {
  char name[32];
  std::snprintf(name, sizeof(name), "%016llx.snkernel",
                static_cast<unsigned long long>(hash(key.data(), key.size(), kBasis)));
  return std::filesystem::u8path(folder) / name;
}

uint64_t checksum_of(const std::string& key, const std::vector<uint8_t>& binary) {
  return hash(binary.data(), binary.size(), hash(key.data(), key.size(), kBasis));
}

}  // namespace

bool read_cached_binary(const std::string& folder, const std::string& key, std::vector<uint8_t>* binary) {
  if (folder.empty()) return false;
  std::ifstream file(file_of(folder, key), std::ios::binary);
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
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::u8path(folder), error);
  const std::filesystem::path path = file_of(folder, key);
  static std::atomic<unsigned> counter{0};
  std::filesystem::path temporary = path;
  temporary += "." + std::to_string(::getpid()) + "." + std::to_string(counter++) + ".tmp";

  Header header;
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.key_bytes = key.size();
  header.binary_bytes = binary.size();
  header.checksum = checksum_of(key, binary);
  bool written = false;
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(&header), sizeof(header));
    file.write(key.data(), static_cast<std::streamsize>(key.size()));
    file.write(reinterpret_cast<const char*>(binary.data()), static_cast<std::streamsize>(binary.size()));
    file.close();
    written = !file.fail();
  }
  if (written) std::filesystem::rename(temporary, path, error);
  if (!written || error) std::filesystem::remove(temporary, error);
}

}  // namespace sparsenet::gpu
