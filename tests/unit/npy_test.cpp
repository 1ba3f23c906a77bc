// .npy files: what is written is read back, every element type means what NumPy says, and damaged headers are errors.
#include "data/npy.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

using namespace sparsenet;

// A file in a folder of this process, removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes = "")
      : path_((std::filesystem::temp_directory_path() / ("npy_test_" + std::to_string(::getpid()) + ".npy")).string()) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Format 1.0 with the given header text, padded as NumPy does.
std::string npy(const std::string& header, const std::string& data) {
  std::string text = header;
  while ((10 + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += '\x01';
  bytes += '\0';
  bytes += static_cast<char>(text.size() & 255);
  bytes += static_cast<char>(text.size() >> 8);
  return bytes + text + data;
}

std::string header(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

std::vector<float> floats_of(const std::string& descr, const std::string& data, const std::string& shape) {
  const TemporaryFile file(npy(header(descr, shape), data));
  auto array = io::read_npy(file.path());
  REQUIRE_MESSAGE(array.ok(), array.status().message());
  return array->values;
}

std::string error_of(const std::string& bytes) {
  const TemporaryFile file(bytes);
  auto array = io::read_npy(file.path());
  REQUIRE_FALSE(array.ok());
  const std::string& message = array.status().message();
  CHECK(message.find(file.path()) == 0);  // every message begins with the file
  CHECK(message.find('\n') == std::string::npos);
  return message;
}

TEST_CASE("npy: round trip of several ranks") {
  for (const Shape& shape : {Shape{}, Shape{5}, Shape{0, 3}, Shape{2, 3}, Shape{2, 3, 4, 5}}) {
    std::vector<float> values(static_cast<size_t>(element_count(shape)));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.37f - 1;
    const TemporaryFile file;
    REQUIRE(io::write_npy(file.path(), shape, values.data()).ok());
    auto array = io::read_npy(file.path());
    REQUIRE_MESSAGE(array.ok(), array.status().message());
    CHECK(array->shape == shape);
    CHECK(array->values == values);
    // NumPy guarantees data aligned to 64 bytes.
    CHECK((std::filesystem::file_size(file.path()) - values.size() * 4) % 64 == 0);
  }
}

TEST_CASE("npy: element types and byte orders") {
  using std::string;
  CHECK(floats_of("<f4", string("\0\0\x80\x3f\0\0\0\xc0", 8), "(2,)") == std::vector<float>{1, -2});
  CHECK(floats_of(">f4", string("\x3f\x80\0\0\xc0\0\0\0", 8), "(2,)") == std::vector<float>{1, -2});
  CHECK(floats_of("<f8", string("\0\0\0\0\0\0\xf0\x3f", 8), "(1,)") == std::vector<float>{1});
  CHECK(floats_of("<f2", string("\0\x3c\0\xc0\x01\0\0\x7c", 8), "(4,)") ==
        std::vector<float>{1, -2, std::ldexp(1.0f, -24), INFINITY});
  CHECK(floats_of("|u1", string("\0\xff", 2), "(2,)") == std::vector<float>{0, 255});
  CHECK(floats_of("|i1", string("\x80\xff", 2), "(2,)") == std::vector<float>{-128, -1});
  CHECK(floats_of("<i2", string("\xff\xff\x00\x80", 4), "(2,)") == std::vector<float>{-1, -32768});
  CHECK(floats_of("<u2", string("\xff\xff", 2), "(1,)") == std::vector<float>{65535});
  CHECK(floats_of(">i4", string("\xff\xff\xff\xfe", 4), "(1,)") == std::vector<float>{-2});
  CHECK(floats_of("<i8", string("\xfe\xff\xff\xff\xff\xff\xff\xff", 8), "(1,)") == std::vector<float>{-2});
  CHECK(floats_of("|b1", string("\0\x01\x2e", 3), "(3,)") == std::vector<float>{0, 1, 1});
}

TEST_CASE("npy: integers are read exactly, floats are not taken for labels") {
  const std::string data("\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
  {
    const TemporaryFile path(npy(header("<i8", "(1,)"), data));
    auto file = io::File::open(path.path());
    REQUIRE(file.ok());
    auto head = io::read_npy_header(*file);
    REQUIRE(head.ok());
    int64_t value = 0;
    CHECK(io::read_npy_integers(*file, *head, 0, 1, &value).ok());
    CHECK(value == INT64_MAX);
    CHECK_FALSE(io::read_npy_integers(*file, *head, 0, 2, &value).ok());
    CHECK_FALSE(io::read_npy_integers(*file, *head, -1, 1, &value).ok());
  }
  for (const auto& [descr, bytes] : {std::pair<std::string, std::string>("<f4", std::string(4, '\0')),
                                     std::pair<std::string, std::string>("<u8", std::string(8, '\xff'))}) {
    const TemporaryFile path(npy(header(descr, "(1,)"), bytes));
    auto file = io::File::open(path.path());
    REQUIRE(file.ok());
    auto head = io::read_npy_header(*file);
    REQUIRE(head.ok());
    int64_t value = 0;
    CHECK_FALSE(io::read_npy_integers(*file, *head, 0, 1, &value).ok());
  }
}

TEST_CASE("npy: Fortran order is brought to row-major") {
  // [[0, 1, 2], [3, 4, 5]], stored column by column.
  const TemporaryFile file(npy(header("|u1", "(2, 3)", "True"), std::string("\x00\x03\x01\x04\x02\x05", 6)));
  auto array = io::read_npy(file.path());
  REQUIRE(array.ok());
  CHECK(array->values == std::vector<float>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("npy: larger than the reading buffer") {
  std::vector<float> values(50001);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const TemporaryFile file;
  REQUIRE(io::write_npy(file.path(), {50001}, values.data()).ok());
  auto array = io::read_npy(file.path());
  REQUIRE(array.ok());
  CHECK(array->values == values);
}

TEST_CASE("npy: hostile headers are errors that name the file") {
  const std::string four(4, '\0');
  CHECK(error_of("").find("0 bytes") != std::string::npos);
  CHECK(error_of("PK\x03\x04 a zip file, not an array").find("NUMPY") != std::string::npos);
  CHECK(error_of(npy(header("<f4", "(3,)"), four)).find("found 4 bytes") != std::string::npos);
  CHECK(error_of(npy(header("<f4", "(1,)"), four + "x")).find("found 5 bytes") != std::string::npos);
  CHECK(error_of(npy(header("|O", "(1,)"), four)).find("'|O'") != std::string::npos);
  CHECK(error_of(npy(header("<c8", "(1,)"), four + four)).find("'<c8'") != std::string::npos);
  CHECK(error_of(npy(header("<f4", "(4611686018427387904, 4)"), four)).find("found 4 bytes") != std::string::npos);
  CHECK(error_of(npy(header("<f4", "(4611686018427387904,)"), four)).find("found 4 bytes") != std::string::npos);
  error_of(npy(header("<f4", "(99999999999999999999,)"), four));
  error_of(npy(header("<f4", "(-1,)"), four));
  error_of(npy(header("<f4", "(1,"), four));
  error_of(npy(header("<f4", "1"), four));
  error_of(npy(header("<f4", "(1,)", "Perhaps"), four));
  error_of(npy("{'descr': '<f4', 'shape': (1,)}", four));
  error_of(npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", four));
  error_of(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", four));
  error_of(npy("{'descr': '<f4", four));
  error_of(npy("", four));
  std::string many = "(";
  for (int i = 0; i < 40; ++i) many += "1, ";
  error_of(npy(header("<f4", many + ")"), four));
  std::string newer = npy(header("<f4", "(1,)"), four);
  newer[6] = 9;
  CHECK(error_of(newer).find("found 9") != std::string::npos);
  std::string huge_header = npy(header("<f4", "(1,)"), four);
  huge_header[6] = 2;  // the length field becomes four bytes, the upper two of them text
  error_of(huge_header);
}

TEST_CASE("npy: every truncation and every flipped byte is read or refused, never a crash") {
  const std::string whole = npy(header("<f4", "(2, 2)"), std::string(16, '\x11'));
  for (size_t size = 0; size < whole.size(); ++size) error_of(whole.substr(0, size));
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {0x01, 0x10, 0x80, 0xff}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      const TemporaryFile file(damaged);
      auto array = io::read_npy(file.path());
      if (array.ok()) CHECK(array->values.size() == static_cast<size_t>(element_count(array->shape)));
    }
  }
}

TEST_CASE("npy: a missing file and a directory are told apart") {
  auto missing = io::read_npy("/no/such/file.npy");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.status().code() == StatusCode::kNotFound);
  auto directory = io::read_npy(std::filesystem::temp_directory_path().string());
  REQUIRE_FALSE(directory.ok());
  CHECK(directory.status().message().find("directory") != std::string::npos);
}

}  // namespace
