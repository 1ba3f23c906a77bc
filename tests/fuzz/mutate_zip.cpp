#include "fuzz/mutate_zip.h"

#include <zip.h>

#include <algorithm>
#include <cstring>

namespace sparsenet::fuzz {
namespace {

// The entries; empty if it is not an archive or has entries that are too long to be changed in a reasonable time.
Files read_entries(const Bytes& bytes) {
  constexpr zip_uint64_t kLongest = 1 << 20;
  constexpr zip_int64_t kMost = 256;
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, nullptr);
  zip_t* archive = source == nullptr ? nullptr : zip_open_from_source(source, ZIP_RDONLY, nullptr);
  if (archive == nullptr) {
    if (source != nullptr) zip_source_free(source);
    return {};
  }
  Files files;
  const zip_int64_t count = std::min(zip_get_num_entries(archive, 0), kMost);
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    const auto index = static_cast<zip_uint64_t>(i);
    if (zip_stat_index(archive, index, 0, &stat) != 0 || stat.size > kLongest || stat.name == nullptr) continue;
    zip_file_t* file = zip_fopen_index(archive, index, 0);
    if (file == nullptr) continue;
    Bytes content(static_cast<size_t>(stat.size));
    const zip_int64_t got = zip_fread(file, content.data(), content.size());
    content.resize(static_cast<size_t>(std::max<zip_int64_t>(got, 0)));
    zip_fclose(file);
    files.emplace_back(stat.name, std::move(content));
  }
  zip_discard(archive);
  return files;
}

bool write_entries(const Files& files, bool compressed, Bytes* out) {
  zip_source_t* target = zip_source_buffer_create(nullptr, 0, 0, nullptr);
  zip_t* archive = target == nullptr ? nullptr : zip_open_from_source(target, ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  if (archive == nullptr) return false;
  zip_source_keep(target);
  for (const auto& [name, content] : files) {
    zip_source_t* source = zip_source_buffer(archive, content.data(), content.size(), 0);
    const zip_int64_t index = zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_GUESS);
    if (index < 0) {
      zip_source_free(source);
    } else {
      zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), compressed ? ZIP_CM_DEFLATE : ZIP_CM_STORE,
                               1);
    }
  }
  if (zip_close(archive) != 0) {
    zip_discard(archive);
    zip_source_free(target);
    return false;
  }
  bool ok = zip_source_open(target) == 0;
  if (ok) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    zip_source_stat(target, &stat);
    out->resize(static_cast<size_t>(stat.size));
    ok = zip_source_read(target, out->data(), stat.size) == static_cast<zip_int64_t>(stat.size);
    zip_source_close(target);
  }
  zip_source_free(target);
  return ok;
}

}  // namespace

void mutate_zip(Random& random, Bytes& bytes, size_t most, void (*mutate_entry)(Random&, Bytes&, size_t)) {
  Files files = read_entries(bytes);
  if (files.empty()) return mutate_bytes(bytes, most);
  const size_t chosen = random.below(files.size());
  auto& [name, content] = files[chosen];
  switch (random.below(12)) {
    case 0: {
      Bytes text(name.begin(), name.end());
      mutate_bytes(text, text.size() + 16);
      name.assign(text.begin(), text.end());
      break;
    }
    case 1:
      files.erase(files.begin() + static_cast<std::ptrdiff_t>(chosen));
      break;
    case 2:
      files.emplace_back(name + "x", content);
      break;
    default: {
      const size_t room = most > bytes.size() ? most - bytes.size() : 0;
      mutate_entry(random, content, content.size() + room);
    }
  }
  Bytes out;
  if (!write_entries(files, random.one_in(4), &out)) return mutate_bytes(bytes, most);
  bytes = std::move(out);
}

void mutate_npy(Random& random, Bytes& bytes, size_t most) {
  constexpr size_t kFront = 10;  // magic number, version 1, length of the header
  if (bytes.size() < kFront || random.one_in(8)) return mutate_bytes(bytes, most);
  const size_t header = std::min<size_t>(bytes[8] + bytes[9] * size_t{256}, bytes.size() - kFront);
  Bytes text(bytes.begin() + kFront, bytes.begin() + static_cast<std::ptrdiff_t>(kFront + header));
  Bytes data(bytes.begin() + static_cast<std::ptrdiff_t>(kFront + header), bytes.end());
  if (random.one_in(4)) {
    mutate_bytes(data, data.size() + (most > bytes.size() ? most - bytes.size() : 0));
  } else {
    mutate_bytes(text, text.size() + 32);
  }
  if (!random.one_in(16)) {
    bytes[8] = static_cast<uint8_t>(text.size());
    bytes[9] = static_cast<uint8_t>(text.size() / 256);
  }
  bytes.resize(kFront);
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
}

}  // namespace sparsenet::fuzz
