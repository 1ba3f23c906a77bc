// SVHN's MATLAB files: correct contents from well-formed files in every form that programs write; from files that claim
// more than they contain, neither images nor large allocations.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <zlib.h>

#include <cstring>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/mat_file.h"
#include "support/data_folder.h"
#include "support/skip.h"

namespace {

using namespace sparsenet;
using test::data_error;
using test::has;
using test::open_data;
using test::TemporaryFolder;

constexpr uint32_t kInt8 = 1, kUint8 = 2, kInt16 = 3, kInt32 = 5, kUint32 = 6, kDouble = 9, kMatrix = 14,
                   kCompressed = 15;
constexpr uint32_t kCellClass = 1, kDoubleClass = 6, kUint8Class = 9;

// Writes MATLAB files of version 5 in a given byte order.
struct MatWriter {
  bool little = true;

  std::string number(uint64_t value, int bytes) const {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * (little ? i : bytes - 1 - i)));
    return text;
  }
  std::string words(const std::vector<uint32_t>& values) const {
    std::string bytes;
    for (const uint32_t value : values) bytes += number(value, 4);
    return bytes;
  }
  std::string element(uint32_t type, const std::string& data) const {
    return words({type, static_cast<uint32_t>(data.size())}) + data + std::string((8 - data.size() % 8) % 8, '\0');
  }
  // Up to four bytes, stored in the tag.
  std::string small(uint32_t type, const std::string& data) const {
    const uint32_t both = type | static_cast<uint32_t>(data.size()) << 16;
    return number(both, 4) + data + std::string(4 - data.size(), '\0');
  }
  std::string matrix(uint32_t array_class, const std::string& name, const std::vector<uint32_t>& dims,
                     const std::string& data) const {
    return element(kMatrix, element(kUint32, words({array_class, 0})) + element(kInt32, words(dims)) +
                                element(kInt8, name) + data);
  }
  std::string uint8(const std::string& name, const std::vector<uint32_t>& dims, const std::string& data) const {
    return matrix(kUint8Class, name, dims, element(kUint8, data));
  }
  std::string file(const std::string& variables) const {
    std::string header = "MATLAB 5.0 MAT-file, made by a test";
    header.resize(124, ' ');
    return header + number(0x0100, 2) + (little ? "IM" : "MI") + variables;
  }
  std::string compressed(const std::string& contents) const {
    uLongf size = compressBound(contents.size());
    std::string out(size, '\0');
    REQUIRE(compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(contents.data()),
                     contents.size()) == Z_OK);
    out.resize(size);
    return words({kCompressed, static_cast<uint32_t>(out.size())}) + out;
  }
};

const MatWriter kMat;

// Images whose pixel at (row, column, channel) is 7 row + 3 column + 50 channel + shade, in column-major order.
std::string svhn_images(const std::vector<int>& shades) {
  std::string data;
  for (const int shade : shades) {
    for (int c = 0; c < 3; ++c) {
      for (int column = 0; column < 32; ++column) {
        for (int row = 0; row < 32; ++row) data += static_cast<char>(7 * row + 3 * column + 50 * c + shade);
      }
    }
  }
  return data;
}

bool is_image(const io::Dataset& data, int64_t index, int shade) {
  auto image = data.image(index);
  REQUIRE(image.ok());
  REQUIRE((image->width == 32 && image->height == 32 && image->channels == 3));
  bool same = true;
  for (int row = 0; row < 32; ++row) {
    for (int column = 0; column < 32; ++column) {
      for (int c = 0; c < 3; ++c) {
        const uint8_t found = image->pixels[static_cast<size_t>((row * 32 + column) * 3 + c)];
        same = same && found == static_cast<uint8_t>(7 * row + 3 * column + 50 * c + shade);
      }
    }
  }
  return same;
}

TEST_CASE("svhn: column-major images, label 10 is the digit 0, splits join") {
  const TemporaryFolder folder;
  const auto file = [](const std::vector<int>& shades, const std::string& labels) {
    const auto count = static_cast<uint32_t>(shades.size());
    return kMat.file(kMat.uint8("X", {32, 32, 3, count}, svhn_images(shades)) + kMat.uint8("y", {count, 1}, labels));
  };
  folder.write("train_32x32.mat", file({1, 2}, "\x01\x0a"));
  folder.write("extra_32x32.mat", file({3, 4, 5}, "\x02\x03\x04"));
  folder.write("test_32x32.mat", file({6}, "\x09"));
  auto test = open_data("svhn:" + folder.path());
  REQUIRE_MESSAGE(test.ok(), test.status().message());
  CHECK((*test)->size() == 1);
  CHECK((*test)->label(0) == 9);
  CHECK((*test)->class_names()[9] == "9");

  auto data = open_data("svhn:" + folder.path() + "#train+extra");
  REQUIRE_MESSAGE(data.ok(), data.status().message());
  REQUIRE((*data)->size() == 5);
  const std::vector<int64_t> labels{1, 0, 2, 3, 4};
  for (int64_t i = 0; i < 5; ++i) {
    CHECK((*data)->label(i) == labels[static_cast<size_t>(i)]);
    CHECK(is_image(**data, i, static_cast<int>(i) + 1));
  }
}

TEST_CASE("svhn: broken files are told with name, expectation and finding") {
  const TemporaryFolder folder;
  const std::string text = "svhn:" + folder.path();
  CHECK(has(data_error("svhn:" + folder.path("nowhere")), "expected a directory"));
  CHECK(has(data_error(text), "test_32x32.mat"));
  const std::string x = kMat.uint8("X", {32, 32, 3, 2}, svhn_images({1, 2}));
  const auto error_with = [&](const std::string& bytes) {
    folder.write("test_32x32.mat", bytes);
    const std::string message = data_error(text);
    CHECK(has(message, "test_32x32.mat: "));
    return message;
  };
  // Deflated (type 15), with a wrong checksum: the stored form of "y" with its last byte changed.
  const std::string plain = kMat.uint8("y", {2, 1}, "\x01\x02");
  const std::string length = std::string(1, static_cast<char>(plain.size())) + std::string(1, '\0');
  const std::string inverse = std::string(1, static_cast<char>(~plain.size())) + "\xff";
  const std::string stored = "\x78\x01\x01" + length + inverse + plain + "abcd";
  CHECK(has(error_with(kMat.file(x + kMat.words({15, static_cast<uint32_t>(stored.size())}) + stored)),
            "compressed data at byte"));
  CHECK(has(error_with("not MATLAB at all"), "expected a MATLAB file"));
  CHECK(has(error_with(kMat.file(x)), "expected a variable y, found none"));
  CHECK(has(error_with(kMat.file(kMat.uint8("y", {2, 1}, "\x01\x02"))), "expected a variable X, found none"));
  CHECK(has(error_with(kMat.file(x + kMat.uint8("y", {3, 1}, "\x01\x02\x03"))), "expected 2 labels"));
  CHECK(has(error_with(kMat.file(x + kMat.uint8("y", {2, 1}, "\x01\x0b"))), "label 1: expected a whole number"));
  CHECK(has(error_with(kMat.file(x + kMat.uint8("y", {2, 1}, std::string("\0\1", 2)))), "label 0"));
  const std::string narrow = kMat.uint8("X", {32, 16, 3, 4}, svhn_images({1, 2}));
  CHECK(has(error_with(kMat.file(narrow)), "expected uint8 [32, 32, 3, N], found uint8 [32, 16, 3, 4]"));
  // Truncated anywhere, with the pixels first or last.
  const std::string y = kMat.uint8("y", {2, 1}, "\x01\x02");
  for (const std::string& whole : {kMat.file(x + y), kMat.file(y + x)}) {
    for (size_t size = 0; size < whole.size(); size += size < 300 ? 1 : 311) error_with(whole.substr(0, size));
  }
}

TEST_CASE("svhn: every form that programs write") {
  const TemporaryFolder folder;
  for (const bool little : {true, false}) {
    const MatWriter mat{little};
    const std::string x = mat.uint8("X", {32, 32, 3, 2}, svhn_images({1, 2}));
    std::string doubles;
    for (const double label : {1.0, 10.0}) {
      uint64_t bits;
      std::memcpy(&bits, &label, sizeof bits);
      doubles += mat.number(bits, 8);
    }
    // Doubles that are whole numbers may be stored as integers; short data may be stored in the tag.
    const std::vector<std::string> forms{
        mat.matrix(kDoubleClass, "y", {2, 1}, mat.element(kDouble, doubles)),
        mat.matrix(kDoubleClass, "y", {2, 1}, mat.small(kUint8, "\x01\x0a")),
        mat.matrix(kDoubleClass, "y", {1, 2}, mat.small(kInt8, "\x01\x0a")),
        mat.matrix(kDoubleClass, "y", {2, 1}, mat.small(kInt16, mat.number(1, 2) + mat.number(10, 2))),
        mat.matrix(kUint8Class, "y", {2, 1}, mat.small(kUint8, "\x01\x0a"))};
    const std::string cell = mat.matrix(kCellClass, "notes", {1, 2}, mat.uint8("", {1, 1}, "a"));
    for (const std::string& y : forms) {
      for (const std::string& bytes :
           {x + y, y + cell + x, mat.compressed(x) + mat.compressed(y),
            mat.element(kUint32, "8 bytes.") + mat.compressed(cell) + y + mat.compressed(x)}) {
        folder.write("test_32x32.mat", mat.file(bytes));
        auto data = open_data("svhn:" + folder.path());
        REQUIRE_MESSAGE(data.ok(), data.status().message());
        REQUIRE((*data)->size() == 2);
        CHECK((*data)->label(0) == 1);
        CHECK((*data)->label(1) == 0);
        CHECK(is_image(**data, 0, 1));
        CHECK(is_image(**data, 1, 2));
      }
    }
  }
}

// How much memory a rejected file may take. AddressSanitizer keeps freed memory for a while to detect uses of it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr long kMostKilobytes = 1 << 20;
#else
constexpr long kMostKilobytes = 32 << 10;
#endif

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST_CASE("svhn: what is claimed must be delivered, and memory is taken only for what a file can hold") {
  const TemporaryFolder folder;
  const std::string path = folder.path("test_32x32.mat"), y = kMat.uint8("y", {8, 1}, "\1\2\3\4\5\6\7\10");
  const std::string some(64, 'p'), image = svhn_images({1});
  const std::string dims8 = kMat.words({32, 32, 3, 8}), flags = kMat.element(kUint32, kMat.words({kUint8Class, 0}));
  const std::string start = flags + kMat.element(kInt32, dims8) + kMat.element(kInt8, "X");
  // A matrix that claims these sizes for itself and its numbers, whatever follows.
  const auto claims = [&](uint32_t matrix_bytes, uint32_t number_bytes, const std::string& numbers) {
    return kMat.words({kMatrix, matrix_bytes}) + start + kMat.words({kUint8, number_bytes}) + numbers;
  };
  constexpr uint32_t kEight = 8 * 3072, kHuge = 0xfffffff0u;
  const uint32_t fits = static_cast<uint32_t>(start.size()) + 8 + kEight;
  const struct {
    const char* what;
    std::string bytes, message;
  } cases[] = {
      {"eight images claimed, 64 bytes held", kMat.uint8("X", {32, 32, 3, 8}, some) + y, "does not fit its 64 bytes"},
      {"the same, compressed", kMat.compressed(kMat.uint8("X", {32, 32, 3, 8}, some)) + y, "does not fit its 64 bytes"},
      {"numbers that end early", kMat.compressed(claims(fits, kEight, image)) + y, "holds less than it claims"},
      {"numbers longer than the matrix", kMat.compressed(claims(100, kEight, image)) + y, "longer than what is left"},
      {"a matrix of 4 GB", kMat.compressed(claims(kHuge, kHuge, some)) + y,
       "claims 4294967280 bytes, more than it can"},
      {"plain numbers of 4 GB", claims(kHuge, kHuge, some) + y, "the file is cut"},
      {"more numbers than claimed", kMat.compressed(claims(fits, kEight, svhn_images({1, 2, 3, 4, 5, 6, 7, 8, 9}))) + y,
       "holds more than it claims"},
      {"a name of 4 GB",
       kMat.compressed(kMat.words({kMatrix, 200}) + flags + kMat.element(kInt32, dims8) + kMat.words({kInt8, kHuge}) +
                       some),
       "longer than what is left"},
      {"a cell array of 2^31 cells and nothing in it", kMat.matrix(kCellClass, "c", {0x7fffffff, 1}, "") + y,
       "expected a variable X, found none"},
      {"sizes whose product overflows", kMat.uint8("X", {0x7fffffff, 0x7fffffff, 0x7fffffff, 4}, some) + y,
       "does not fit its 64 bytes"},
      {"a negative size", kMat.uint8("X", {32, 32, 3, 0x80000000u}, some) + y, "its sizes are damaged"},
      {"one label too few",
       kMat.uint8("X", {32, 32, 3, 8}, svhn_images({1, 2, 3, 4, 5, 6, 7, 8})) +
           kMat.uint8("y", {8, 1}, "\1\2\3\4\5\6\7"),
       "does not fit its 7 bytes"},
  };
  const long before = peak_kilobytes();
  for (const auto& one : cases) {
    INFO(one.what);
    folder.write("test_32x32.mat", kMat.file(one.bytes));
    const std::string message = data_error("svhn:" + folder.path());
    CHECK_MESSAGE(message.rfind(path + ": ", 0) == 0, message);
    CHECK_MESSAGE(has(message, one.message), message);
  }
  CHECK(peak_kilobytes() - before < kMostKilobytes);
}

TEST_CASE("svhn: any damaged byte is an error or changes no more than it says") {
  const TemporaryFolder folder;
  const std::string x = kMat.uint8("X", {32, 32, 3, 1}, svhn_images({1})), y = kMat.uint8("y", {1, 1}, "\1");
  const long before = peak_kilobytes();
  for (const std::string& whole : {kMat.file(y + x), kMat.file(kMat.compressed(y) + kMat.compressed(x))}) {
    for (size_t at = 116; at < std::min<size_t>(whole.size(), 420); ++at) {
      for (const char with : {'\0', '\x7f', '\xff', static_cast<char>(whole[at] ^ 1)}) {
        std::string bytes = whole;
        bytes[at] = with;
        folder.write("test_32x32.mat", bytes);
        auto data = open_data("svhn:" + folder.path());
        if (data.ok()) {
          CHECK((*data)->size() == 1);
          CHECK((*data)->image(0).ok());
        } else {
          CHECK(has(data.status().message(), "test_32x32.mat: "));
        }
      }
    }
  }
  CHECK(peak_kilobytes() - before < kMostKilobytes);
}

TEST_CASE("svhn: a file of 227 bytes that claims eight images") {
  const std::string file = test::shared_file("cases/hostile/svhn/test_32x32.mat");
  if (file.empty()) return test::skip("svhn: a file of 227 bytes that claims eight images", "the shared cases");
  CHECK(has(data_error("svhn:" + file.substr(0, file.rfind('/'))), "does not fit its 64 bytes of numbers"));
}

}  // namespace
