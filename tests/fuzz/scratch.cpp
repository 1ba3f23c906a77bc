#include "fuzz/scratch.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

namespace fs = std::filesystem;

namespace sparsenet::fuzz {
namespace {

struct Folder {
  std::string path;
  Folder() {
    const char* wanted = getenv("TMPDIR");
    std::string name = wanted != nullptr ? wanted : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    name += "/sparsenet-fuzz-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
      std::perror(name.c_str());
      std::abort();
    }
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

void write(const std::string& path, const uint8_t* data, size_t size) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return;  // a name that this system cannot have
  if (size > 0 && std::fwrite(data, 1, size, file) != size) std::abort();
  std::fclose(file);
}

// The components of a name that form a path below a folder.
fs::path safe(const std::string& name) {
  fs::path path;
  std::string part;
  for (const char c : name + "/") {
    if (c != '/') {
      part += c == '\0' ? '0' : c;
      continue;
    }
    if (!part.empty() && part != "." && part != "..") path /= part;
    part.clear();
  }
  return path;
}

}  // namespace

const std::string& scratch_folder() {
  static const Folder folder;
  return folder.path;
}

std::string scratch_file(const std::string& name, const uint8_t* data, size_t size) {
  std::string path = scratch_folder() + "/" + name;
  write(path, data, size);
  return path;
}

Files unpack_files(const uint8_t* data, size_t size) {
  Files files;
  size_t at = 0;
  const auto take = [&](size_t wanted) {
    const size_t count = std::min(wanted, size - at);
    at += count;
    return Bytes(data + at - count, data + at);
  };
  while (at < size) {
    const size_t name_length = take(1)[0];
    const Bytes name = take(name_length);
    Bytes length = take(2);
    length.resize(2);
    files.emplace_back(std::string(name.begin(), name.end()), take(size_t{length[0]} + size_t{length[1]} * 256));
  }
  return files;
}

Bytes pack_files(const Files& files) {
  Bytes out;
  for (const auto& [name, content] : files) {
    const size_t name_length = std::min<size_t>(name.size(), 255), length = std::min<size_t>(content.size(), 65535);
    out.push_back(static_cast<uint8_t>(name_length));
    out.insert(out.end(), name.begin(), name.begin() + static_cast<std::ptrdiff_t>(name_length));
    out.push_back(static_cast<uint8_t>(length));
    out.push_back(static_cast<uint8_t>(length / 256));
    out.insert(out.end(), content.begin(), content.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return out;
}

void mutate_files(Random& random, Bytes& bytes, size_t most) {
  Files files = unpack_files(bytes.data(), bytes.size());
  if (files.empty()) return mutate_bytes(bytes, most);
  auto& [name, content] = files[random.below(files.size())];
  switch (random.below(8)) {
    case 0: {
      Bytes text(name.begin(), name.end());
      mutate_bytes(text, 255);
      name.assign(text.begin(), text.end());
      break;
    }
    case 1:
      files.push_back(files[random.below(files.size())]);
      break;
    case 2:
      files.erase(files.begin() + static_cast<std::ptrdiff_t>(random.below(files.size())));
      break;
    default:
      mutate_bytes(content, std::min<size_t>(65535, content.size() + (most > bytes.size() ? most - bytes.size() : 0)));
  }
  bytes = pack_files(files);
}

std::string scratch_tree(const Files& files) {
  const fs::path root = fs::path(scratch_folder()) / "tree";
  std::error_code ignored;
  fs::remove_all(root, ignored);
  fs::create_directory(root, ignored);
  for (const auto& [name, content] : files) {
    const fs::path relative = safe(name);
    if (relative.empty()) continue;
    const fs::path path = root / relative;
    fs::create_directories(path.parent_path(), ignored);
    // A name that ends in a slash means an empty folder.
    if (name.back() == '/') {
      fs::create_directory(path, ignored);
    } else if (!fs::is_directory(path, ignored)) {
      write(path.string(), content.data(), content.size());
    }
  }
  return root.string();
}

}  // namespace sparsenet::fuzz
