// How results are printed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sparsenet::cli {

// Create it with Json::object() or Json::array(): adding the first member to an empty one crashes if there is no
// memory.
using Json = nlohmann::ordered_json;

// Prints one document on stdout. Text that is not valid UTF-8 (paths, labels) is repaired.
void print_json(const Json& document);
std::string to_text(const Json& document);

std::string grouped(int64_t number);   // 236,320,256
std::string bytes_text(size_t bytes);  // "1.52 MiB (1,594,624 bytes)"
std::string fixed(double number, int digits);
std::string join(const std::vector<float>& numbers, const char* separator);

// Columns are as wide as their widest cell; the first row is the heading. Numbers are aligned right, text left.
class Table {
 public:
  explicit Table(std::vector<std::string> heading) : rows_{std::move(heading)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sparsenet::cli
