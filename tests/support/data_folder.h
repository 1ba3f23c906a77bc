// Shared by the tests of data set readers: a folder for files made by a test, and how data sets are opened.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "data/dataset.h"
#include "support/scratch_folder.h"

namespace sparsenet::test {

class TemporaryFolder {
 public:
  std::string path(const std::string& name = "") const {
    return name.empty() ? folder_.path().string() : folder_.file(name);
  }
  void write(const std::string& name, const std::string& bytes) const { folder_.write(name, bytes); }
  // Copies an image of tests/cli/data to another name.
  void copy_image(const std::string& from, const std::string& to) const {
    std::filesystem::create_directories(std::filesystem::path(path(to)).parent_path());
    std::filesystem::copy_file(std::string(SPARSENET_SOURCE_DIR) + "/tests/cli/data/" + from, path(to));
  }

 private:
  ScratchFolder folder_;
};

inline Result<std::unique_ptr<io::Dataset>> open_data(const std::string& text, const std::string& split = "test") {
  auto spec = io::parse_data_spec(text, split);
  if (!spec.ok()) return spec.status();
  return io::open_dataset(*spec);
}

// The error for data that must be refused.
inline std::string data_error(const std::string& text, const std::string& split = "test") {
  auto data = open_data(text, split);
  REQUIRE_FALSE(data.ok());
  return data.status().message();
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace sparsenet::test
