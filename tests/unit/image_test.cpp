// Images: decoders against Pillow's answers, damaged files, resizing and preprocessing.
#include "data/image.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

// jpeglib.h needs size_t and FILE declared before it, so it is included here.
#include <jpeglib.h>

#include "data/file.h"
#include "data/npy.h"
#include "data/preprocess.h"
#include "data/resize.h"

namespace {

using namespace sparsenet;

const std::string kData = std::string(SPARSENET_SOURCE_DIR) + "/tests/cli/data/";

io::Image load(const std::string& name) {
  auto image = io::load_image(kData + name);
  REQUIRE_MESSAGE(image.ok(), image.status().message());
  return *image;
}

// The images were drawn by a formula; see make_data.py.
uint8_t drawn(int x, int y, int channel) {
  if (channel == 0) return static_cast<uint8_t>(x * 255 / 23);
  if (channel == 1) return static_cast<uint8_t>(y * 255 / 15);
  return static_cast<uint8_t>((x / 4 + y / 4) % 2 * 200);
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(a[i] - b[i])));
  return largest;
}

std::vector<float> expected(const std::string& name) {
  auto array = io::read_npy(kData + name);
  REQUIRE_MESSAGE(array.ok(), array.status().message());
  return array->values;
}

TEST_CASE("image: lossless PNG, with and without transparency") {
  for (const char* name : {"rgb.png", "alpha.png"}) {
    const io::Image image = load(name);
    REQUIRE(image.width == 24);
    REQUIRE(image.height == 16);
    REQUIRE(image.channels == 3);
    bool same = true;
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 24; ++x) {
        for (int c = 0; c < 3; ++c) {
          same = same && image.pixels[static_cast<size_t>((y * 24 + x) * 3 + c)] == drawn(x, y, c);
        }
      }
    }
    CHECK(same);
  }
}

TEST_CASE("image: palette, grey and 16-bit PNG") {
  const io::Image palette = load("palette.png");
  CHECK(largest_difference({palette.pixels.begin(), palette.pixels.end()}, expected("palette.npy")) == 0);
  CHECK(load("gray.png").channels == 1);
  const io::Image deep = load("gray16.png");
  CHECK(deep.channels == 1);
  CHECK(deep.pixels[23] == (23 * 2000) >> 8);  // the upper byte
}

TEST_CASE("image: JPEG, baseline, progressive, grey, CMYK") {
  const io::Image rgb = load("rgb.jpg");
  CHECK(rgb.channels == 3);
  CHECK(std::abs(rgb.pixels[3 * 23] - 255) < 12);
  const io::Image progressive = load("progressive.jpg");
  // Decoders may round differently.
  CHECK(largest_difference({progressive.pixels.begin(), progressive.pixels.end()}, expected("progressive.npy")) <= 3);
  const io::Image cmyk = load("cmyk.jpg");
  REQUIRE(cmyk.channels == 3);
  CHECK(largest_difference({cmyk.pixels.begin(), cmyk.pixels.end()}, expected("cmyk.npy")) <= 3);
  CHECK(load("gray.jpg").channels == 1);
}

// The position of occurrence n (from 0) of the marker FF `code`.
size_t find_marker(const std::vector<uint8_t>& bytes, uint8_t code, int n) {
  for (size_t at = 2; at + 1 < bytes.size(); ++at) {
    if (bytes[at] == 0xff && bytes[at + 1] == code && n-- == 0) return at;
  }
  FAIL("no such marker");
  return 0;
}

std::string jpeg_error(const std::vector<uint8_t>& bytes) {
  auto image = io::decode_image(bytes.data(), bytes.size(), "x.jpg");
  return image.ok() ? "" : image.status().message();
}

// A JPEG with each colour component in a scan of its own.
std::vector<uint8_t> three_scans() {
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &data, &size);
  encoder.image_width = encoder.image_height = 16;
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_scan_info scans[3]{};
  for (int c = 0; c < 3; ++c) {
    scans[c].comps_in_scan = 1;
    scans[c].component_index[0] = c;
    scans[c].Se = 63;
  }
  encoder.scan_info = scans;
  encoder.num_scans = 3;
  jpeg_start_compress(&encoder, TRUE);
  std::vector<uint8_t> pixels(16 * 3, 200);
  JSAMPROW row = pixels.data();
  for (int y = 0; y < 16; ++y) jpeg_write_scanlines(&encoder, &row, 1);
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  std::vector<uint8_t> bytes(data, data + size);
  std::free(data);
  return bytes;
}

TEST_CASE("image: a JPEG whose scans do not all come is an error") {
  const std::vector<uint8_t> whole = three_scans();
  CHECK(jpeg_error(whole).empty());
  for (const int kept : {1, 2}) {
    std::vector<uint8_t> less(whole.begin(),
                              whole.begin() + static_cast<std::ptrdiff_t>(find_marker(whole, 0xda, kept)));
    less.insert(less.end(), {0xff, 0xd9});
    CHECK(jpeg_error(less) == "x.jpg: cannot decode the JPEG: a colour component is missing");
  }
  // A progressive file without its first scan; tables are stored between that and the second.
  auto bytes = io::read_file(kData + "progressive.jpg", 1 << 20);
  REQUIRE(bytes.ok());
  const size_t scan = find_marker(*bytes, 0xda, 0);
  size_t end = 0;
  for (int n = 0; end < scan; ++n) end = find_marker(*bytes, 0xc4, n);
  bytes->erase(bytes->begin() + static_cast<std::ptrdiff_t>(scan), bytes->begin() + static_cast<std::ptrdiff_t>(end));
  CHECK(jpeg_error(*bytes).rfind("x.jpg: cannot decode the JPEG: ", 0) == 0);
}

TEST_CASE("image: every truncation is an error that names the file") {
  for (const char* name : {"rgb.png", "palette.png", "rgb.jpg", "progressive.jpg", "cmyk.jpg"}) {
    auto bytes = io::read_file(kData + name, 1 << 20);
    REQUIRE(bytes.ok());
    int decoded = 0;
    // The last few bytes may be missing without loss: PNG's end chunk, JPEG's end marker.
    for (size_t size = 0; size + 20 < bytes->size(); ++size) {
      const std::vector<uint8_t> part(bytes->begin(), bytes->begin() + static_cast<std::ptrdiff_t>(size));
      auto image = io::decode_image(part.data(), part.size(), "cut.png");
      decoded += image.ok();
      if (!image.ok()) CHECK(image.status().message().find("cut.png: ") == 0);
    }
    CHECK(decoded == 0);
  }
}

TEST_CASE("image: flipped bytes never crash") {
  for (const char* name : {"rgb.png", "palette.png", "rgb.jpg", "progressive.jpg", "cmyk.jpg"}) {
    auto bytes = io::read_file(kData + name, 1 << 20);
    REQUIRE(bytes.ok());
    int good = 0;
    for (size_t at = 0; at < bytes->size(); ++at) {
      std::vector<uint8_t> damaged = *bytes;
      damaged[at] = static_cast<uint8_t>(damaged[at] ^ (1 << (at % 8)));
      auto image = io::decode_image(damaged.data(), damaged.size(), name);
      if (image.ok()) CHECK(image->pixels.size() == image->bytes());
      good += image.ok();
    }
    INFO(name << ": " << good << " damaged files were still read");
    CHECK(good < static_cast<int>(bytes->size()));
  }
}

TEST_CASE("image: a PNG that announces a huge picture is refused before memory is taken") {
  auto bytes = io::read_file(kData + "rgb.png", 1 << 20);
  REQUIRE(bytes.ok());
  // The width's upper byte; the checksum is wrong as well, so both checks apply.
  (*bytes)[16] = 0x7f;
  CHECK_FALSE(io::decode_image(bytes->data(), bytes->size(), "huge.png").ok());
  CHECK_FALSE(io::decode_image(nullptr, 0, "empty").ok());
}

// Limits the address space that this process may still take; restored at the end.
class LessMemory {
 public:
  explicit LessMemory(size_t megabytes) {
    getrlimit(RLIMIT_AS, &before_);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // they reserve terabytes of it
    (void)megabytes;
#else
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit less = before_;
    less.rlim_cur = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + (megabytes << 20);
    setrlimit(RLIMIT_AS, &less);
#endif
  }
  ~LessMemory() {
    setrlimit(RLIMIT_AS, &before_);
  }

 private:
  rlimit before_{};
};

TEST_CASE("image: what a short file claims gets no memory") {
  auto png = io::read_file(kData + "rgb.png", 1 << 20);
  auto jpeg = io::read_file(kData + "rgb.jpg", 1 << 20);
  REQUIRE((png.ok() && jpeg.ok()));
  const auto error_of = [](const std::vector<uint8_t>& bytes) {
    const LessMemory less(128);
    return io::decode_image(bytes.data(), bytes.size(), "claims").status().message();
  };
  const std::string cut_png = "claims: cannot decode the PNG: the file ends early";
  SUBCASE("a chunk of 512 MiB") {
    png->resize(33);  // signature and header
    for (const char c : std::string("\x20\0\0\x09tEXtComment", 15)) png->push_back(static_cast<uint8_t>(c));
    png->resize(png->size() + 16);
    CHECK(error_of(*png) == cut_png);
  }
  SUBCASE("a PNG of 100 million pixels") {
    const uint8_t sizes[] = {0, 0, 0x4e, 0x20, 0, 0, 0x13, 0x88};  // 20000 x 5000
    std::copy(std::begin(sizes), std::end(sizes), png->begin() + 16);
    const uint8_t crc[] = {0xdb, 0x5f, 0xca, 0x9a};
    std::copy(std::begin(crc), std::end(crc), png->begin() + 29);
    CHECK(error_of(*png) == cut_png);
  }
  SUBCASE("a JPEG of 100 million pixels") {
    const uint8_t start[] = {0xff, 0xc0};
    const auto frame = std::search(jpeg->begin(), jpeg->end(), std::begin(start), std::end(start));
    REQUIRE(jpeg->end() - frame > 9);
    const uint8_t sizes[] = {0x13, 0x88, 0x4e, 0x20};
    std::copy(std::begin(sizes), std::end(sizes), frame + 5);
    CHECK(error_of(*jpeg) == "claims: cannot decode the JPEG: the file ends early");
  }
}

TEST_CASE("image: encode_png round trip") {
  const io::Image image = load("rgb.png");
  auto bytes = io::encode_png(image);
  REQUIRE(bytes.ok());
  auto again = io::decode_png(bytes->data(), bytes->size(), "memory");
  REQUIRE(again.ok());
  CHECK(again->pixels == image.pixels);
  CHECK_FALSE(io::encode_png(io::Image()).ok());
}

TEST_CASE("resize: as Pillow's bilinear, shrinking, enlarging and cropping") {
  const io::Image image = load("rgb.png");
  const io::Box whole{0, 0, 24, 16};
  CHECK(largest_difference(io::resize_bilinear(image, whole, 7, 5), expected("resized-7x5.npy")) < 1e-3);
  CHECK(largest_difference(io::resize_bilinear(image, whole, 40, 50), expected("resized-40x50.npy")) < 1e-3);
  const io::Box box = io::centre_crop(24, 16, 8, 8);
  CHECK(box.left == 4);
  CHECK(box.right == 20);
  CHECK(box.top == 0);
  CHECK(largest_difference(io::resize_bilinear(image, box, 8, 8), expected("cropped-8x8.npy")) < 1e-3);
}

TEST_CASE("resize: extreme shapes stay within the pixel range") {
  io::Image strip;
  strip.width = 1000;
  strip.height = 1;
  strip.channels = 1;
  for (int i = 0; i < 1000; ++i) strip.pixels.push_back(static_cast<uint8_t>(i % 256));
  for (const auto& [width, height] : {std::pair<int, int>(1, 1), {3, 700}, {1999, 2}}) {
    const io::Box box = io::centre_crop(1000, 1, width, height);
    for (const float value : io::resize_bilinear(strip, box, width, height)) {
      REQUIRE(value >= 0.0f);
      REQUIRE(value <= 255.001f);
    }
  }
}

TEST_CASE("preprocess: normalisation, channel order, grey") {
  Metadata metadata;
  metadata.mean = {10, 20, 30};
  metadata.std_dev = {1, 2, 4};
  io::Image image;
  image.width = image.height = 1;
  image.pixels = {110, 120, 130};
  float out[3];

  auto rgb = io::Preprocess::create({1, 3, 1, 1}, metadata);
  REQUIRE(rgb.ok());
  rgb->apply(image, out);
  CHECK(out[0] == 100);
  CHECK(out[1] == 50);
  CHECK(out[2] == 25);

  metadata.color_order = "BGR";  // mean and std are in the input's order
  auto bgr = io::Preprocess::create({1, 3, 1, 1}, metadata);
  REQUIRE(bgr.ok());
  bgr->apply(image, out);
  CHECK(out[0] == 120);
  CHECK(out[2] == 20);

  auto gray = io::Preprocess::create({8, 1, 1, 1}, Metadata());
  REQUIRE(gray.ok());
  gray->apply(image, out);
  CHECK(out[0] == doctest::Approx(0.299 * 110 + 0.587 * 120 + 0.114 * 130));

  image.channels = 1;
  image.pixels = {200};
  rgb->apply(image, out);
  CHECK(out[0] == 190);
  CHECK(out[2] == 42.5f);
}

TEST_CASE("preprocess: metadata that does not fit the input is refused") {
  Metadata two_means;
  two_means.mean = {1, 2};
  CHECK_FALSE(io::Preprocess::create({1, 3, 32, 32}, two_means).ok());
  Metadata zero_std;
  zero_std.std_dev = {1, 0, 1};
  CHECK_FALSE(io::Preprocess::create({1, 3, 32, 32}, zero_std).ok());
  Metadata order;
  order.color_order = "YUV";
  CHECK_FALSE(io::Preprocess::create({1, 3, 32, 32}, order).ok());
  Metadata rule;
  rule.resize = "nearest";
  CHECK_FALSE(io::Preprocess::create({1, 3, 32, 32}, rule).ok());
  CHECK_FALSE(io::Preprocess::create({1, 10}, Metadata()).ok());
  CHECK_FALSE(io::Preprocess::create({1, 4, 32, 32}, Metadata()).ok());
  CHECK_FALSE(io::Preprocess::create({1, 3, int64_t{1} << 40, 32}, Metadata()).ok());
}

}  // namespace
