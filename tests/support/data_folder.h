// What the tests of data set readers share: a folder for files made by a test, and how data sets are opened.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "io/dataset.h"

namespace sparsenet::test {

class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / ("dataset_test_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path(const std::string& name = "") const {
    return name.empty() ? path_.string() : (path_ / name).string();
  }
  void write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }
  // An image of tests/cli/data under another name.
  void copy_image(const std::string& from, const std::string& to) const {
    std::filesystem::create_directories((path_ / to).parent_path());
    std::filesystem::copy_file(std::string(SPARSENET_SOURCE_DIR) + "/tests/cli/data/" + from, path_ / to);
  }

 private:
  std::filesystem::path path_;
};

inline Result<std::unique_ptr<io::Dataset>> open_data(const std::string& text, const std::string& split = "test") {
  auto spec = io::parse_data_spec(text, split);
  if (!spec.ok()) return spec.status();
  return io::open_dataset(*spec);
}

// The error of data that must be refused.
inline std::string data_error(const std::string& text, const std::string& split = "test") {
  auto data = open_data(text, split);
  REQUIRE_FALSE(data.ok());
  return data.status().message();
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace sparsenet::test
