// libpng reports errors by longjmp. Everything a jump can cross lives in PngReader and PngWriter, which are plain
// structs owned by the caller, so no destructor is skipped and no local variable is read after a jump.
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "data/image.h"

namespace sparsenet::io {
namespace {

struct PngReader {
  const uint8_t* data = nullptr;
  size_t left = 0;
  char error[160] = "damaged";
  png_structp png = nullptr;
  png_infop info = nullptr;
  uint32_t width = 0, height = 0;
  int channels = 0;
  uint64_t packed_row_bytes = 0;  // as stored in the file, decompressed
  int passes = 0;

  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void keep_error(png_structp png, png_const_charp message) {
  auto* text = static_cast<char*>(png_get_error_ptr(png));
  std::strncpy(text, message, 159);
  text[159] = '\0';
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep out, size_t size) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (size > reader->left) png_error(png, "the file ends early");
  std::memcpy(out, reader->data, size);
  reader->data += size;
  reader->left -= size;
}

// libpng allocates memory for a chunk according to its stated length, before it notices that the file is shorter. So
// lengths are checked first; false if one reaches beyond the file.
bool chunks_fit(const uint8_t* data, size_t size) {
  constexpr size_t kSignature = 8, kLengthAndType = 8, kCrc = 4;
  for (size_t at = kSignature; at < size && size - at >= kLengthAndType + kCrc;) {
    const uint32_t length =
        uint32_t{data[at]} << 24 | uint32_t{data[at + 1]} << 16 | uint32_t{data[at + 2]} << 8 | uint32_t{data[at + 3]};
    if (length > size - at - kLengthAndType - kCrc) return false;
    if (std::memcmp(data + at + 4, "IEND", 4) == 0) break;
    at += kLengthAndType + length + kCrc;
  }
  return true;
}

// Reads everything up to the pixels and sets the conversions. False after an error.
bool read_header(PngReader& reader) {
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader.error, keep_error, ignore_warning);
  if (reader.png == nullptr) return false;
  reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) return false;
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_read_fn(reader.png, &reader, read_bytes);
  png_set_user_limits(reader.png, kMaxImageSide, kMaxImageSide);
  png_set_chunk_malloc_max(reader.png, 8 << 20);
  png_set_chunk_cache_max(reader.png, 64);
  png_read_info(reader.png, reader.info);
  reader.packed_row_bytes = png_get_rowbytes(reader.png, reader.info);
  png_set_expand(reader.png);  // palettes to RGB, small grey samples to 8 bits
  png_set_strip_16(reader.png);
  png_set_strip_alpha(reader.png);
  reader.passes = png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  reader.width = png_get_image_width(reader.png, reader.info);
  reader.height = png_get_image_height(reader.png, reader.info);
  reader.channels = png_get_channels(reader.png, reader.info);
  return true;
}

bool read_pixels(PngReader& reader, uint8_t* pixels) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  const size_t row_bytes = png_get_rowbytes(reader.png, reader.info);
  if (row_bytes != static_cast<size_t>(reader.width) * static_cast<size_t>(reader.channels)) return false;
  for (int pass = 0; pass < reader.passes; ++pass) {
    for (uint32_t y = 0; y < reader.height; ++y) png_read_row(reader.png, pixels + y * row_bytes, nullptr);
  }
  png_read_end(reader.png, nullptr);
  return true;
}

struct PngWriter {
  std::vector<uint8_t>* out = nullptr;
  char error[160] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;

  ~PngWriter() { png_destroy_write_struct(&png, &info); }
};

void write_bytes(png_structp png, png_bytep data, size_t size) {
  auto* out = static_cast<std::vector<uint8_t>*>(png_get_io_ptr(png));
  out->insert(out->end(), data, data + size);
}

void flush_nothing(png_structp) {}

bool write_image(PngWriter& writer, const Image& image) {
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, writer.error, keep_error, ignore_warning);
  if (writer.png == nullptr) return false;
  writer.info = png_create_info_struct(writer.png);
  if (writer.info == nullptr) return false;
  if (setjmp(png_jmpbuf(writer.png)) != 0) return false;
  png_set_write_fn(writer.png, writer.out, write_bytes, flush_nothing);
  png_set_IHDR(writer.png, writer.info, static_cast<uint32_t>(image.width), static_cast<uint32_t>(image.height), 8,
               image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(writer.png, writer.info);
  const size_t row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  for (int y = 0; y < image.height; ++y) {
    png_write_row(writer.png, image.pixels.data() + static_cast<size_t>(y) * row_bytes);
  }
  png_write_end(writer.png, writer.info);
  return true;
}

}  // namespace

Result<Image> decode_png(const uint8_t* data, size_t size, const std::string& what) {
  const auto cut = [&what] { return invalid_argument(what + ": cannot decode the PNG: the file ends early"); };
  PngReader reader;
  reader.data = data;
  reader.left = size;
  if (!chunks_fit(data, size)) return cut();
  if (!read_header(reader)) return invalid_argument(what + ": cannot decode the PNG: " + reader.error);
  if (uint64_t{reader.width} * reader.height > kMaxImagePixels) {
    return invalid_argument(what + ": expected at most " + std::to_string(kMaxImagePixels) + " pixels, found " +
                            std::to_string(reader.width) + " x " + std::to_string(reader.height));
  }
  // Deflate expands a byte to at most 1032 bytes: for a file too short for its pixels, no memory is allocated.
  constexpr uint64_t kMostOfOneByte = 1032;
  if (reader.packed_row_bytes * reader.height > kMostOfOneByte * size) return cut();
  if (reader.channels != 1 && reader.channels != 3) {
    return unsupported(what + ": expected a grey or RGB PNG, found " + std::to_string(reader.channels) + " channels");
  }
  Image image;
  image.width = static_cast<int>(reader.width);
  image.height = static_cast<int>(reader.height);
  image.channels = reader.channels;
  image.pixels.resize(image.bytes());
  if (!read_pixels(reader, image.pixels.data())) {
    return invalid_argument(what + ": cannot decode the PNG: " + reader.error);
  }
  return image;
}

Result<std::vector<uint8_t>> encode_png(const Image& image) {
  if (image.width < 1 || image.height < 1 || (image.channels != 1 && image.channels != 3) ||
      image.pixels.size() != image.bytes()) {
    return invalid_argument("cannot encode a PNG: the image is empty or its sizes contradict each other");
  }
  std::vector<uint8_t> bytes;
  PngWriter writer;
  writer.out = &bytes;
  if (!write_image(writer, image)) return internal_error(std::string("cannot encode a PNG: ") + writer.error);
  return bytes;
}

}  // namespace sparsenet::io
