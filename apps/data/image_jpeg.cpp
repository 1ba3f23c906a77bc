// libjpeg reports errors through a callback that must not return. As in image_png.cpp, everything that a jump can cross
// is in a plain struct owned by the caller.

// jpeglib.h needs size_t and FILE declared before it, so the order stays as it is:
// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <csetjmp>
#include <cstring>

#include "data/image.h"

namespace sparsenet::io {
namespace {

// A progressive file of a few kilobytes can declare thousands of scans over a huge image; ordinary ones have about ten.
constexpr int kMaxScans = 100;

struct JpegReader {
  jpeg_decompress_struct decoder{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf escape{};
  char error[JMSG_LENGTH_MAX] = "damaged";
  bool created = false;

  ~JpegReader() {
    if (created) jpeg_destroy_decompress(&decoder);
  }
};

JpegReader& reader_of(j_common_ptr info) {
  return *static_cast<JpegReader*>(info->client_data);
}

[[noreturn]] void leave(j_common_ptr info) {
  (*info->err->format_message)(info, reader_of(info).error);
  std::longjmp(reader_of(info).escape, 1);
}

// libjpeg fills a truncated file with grey, continues if a progressive file lacks a scan, and only warns. For a
// classifier these are wrong answers, so they are rejected.
void on_message(j_common_ptr info, int level) {
  const int code = info->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_BOGUS_PROGRESSION)) leave(info);
}

void print_nothing(j_common_ptr) {}

void on_progress(j_common_ptr info) {
  if (info->is_decompressor == 0) return;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  std::strncpy(reader_of(info).error, "too many scans", JMSG_LENGTH_MAX - 1);
  std::longjmp(reader_of(info).escape, 1);
}

bool read_header(JpegReader& reader, const uint8_t* data, size_t size) {
  reader.decoder.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = leave;
  reader.errors.emit_message = on_message;
  reader.errors.output_message = print_nothing;
  reader.decoder.client_data = &reader;
  if (setjmp(reader.escape) != 0) return false;
  jpeg_create_decompress(&reader.decoder);
  reader.created = true;
  reader.decoder.mem->max_memory_to_use = 1L << 30;
  reader.progress.progress_monitor = on_progress;
  reader.decoder.progress = &reader.progress;
  jpeg_mem_src(&reader.decoder, const_cast<uint8_t*>(data), static_cast<unsigned long>(size));
  jpeg_read_header(&reader.decoder, TRUE);
  switch (reader.decoder.jpeg_color_space) {
    case JCS_GRAYSCALE:
      reader.decoder.out_color_space = JCS_GRAYSCALE;
      break;
    case JCS_CMYK:
    case JCS_YCCK:
      reader.decoder.out_color_space = JCS_CMYK;
      break;
    default:
      reader.decoder.out_color_space = JCS_RGB;
  }
  jpeg_calc_output_dimensions(&reader.decoder);
  return true;
}

// Colour components may come in separate scans; libjpeg silently fills a missing one with grey. To be called after
// jpeg_start_decompress(), which reads all scans of such files. A component's quantisation table is taken when its
// first scan begins, and without its first coefficient a progressive component has no image.
bool all_components_came(const jpeg_decompress_struct& decoder) {
  for (int c = 0; c < decoder.num_components; ++c) {
    if (decoder.comp_info[c].quant_table == nullptr) return false;
    if (decoder.coef_bits != nullptr && decoder.coef_bits[c][0] < 0) return false;
  }
  return true;
}

bool read_pixels(JpegReader& reader, uint8_t* pixels, size_t row_bytes) {
  if (setjmp(reader.escape) != 0) return false;
  jpeg_start_decompress(&reader.decoder);
  if (jpeg_has_multiple_scans(&reader.decoder) && !all_components_came(reader.decoder)) {
    std::strncpy(reader.error, "a colour component is missing", JMSG_LENGTH_MAX - 1);
    return false;
  }
  while (reader.decoder.output_scanline < reader.decoder.output_height) {
    JSAMPROW row = pixels + reader.decoder.output_scanline * row_bytes;
    jpeg_read_scanlines(&reader.decoder, &row, 1);
  }
  jpeg_finish_decompress(&reader.decoder);
  return true;
}

// Converts ink to light. Files with Adobe's marker store the ink inverted.
std::vector<uint8_t> cmyk_to_rgb(const std::vector<uint8_t>& cmyk, bool inverted) {
  std::vector<uint8_t> rgb(cmyk.size() / 4 * 3);
  for (size_t pixel = 0; pixel < cmyk.size() / 4; ++pixel) {
    const uint8_t* ink = &cmyk[pixel * 4];
    const int light = inverted ? ink[3] : 255 - ink[3];
    for (size_t c = 0; c < 3; ++c) {
      const int channel = inverted ? ink[c] : 255 - ink[c];
      rgb[pixel * 3 + c] = static_cast<uint8_t>((channel * light + 127) / 255);
    }
  }
  return rgb;
}

}  // namespace

Result<Image> decode_jpeg(const uint8_t* data, size_t size, const std::string& what) {
  if (size > kMaxImageFileBytes) return invalid_argument(what + ": the JPEG is larger than 256 MiB");
  JpegReader reader;
  if (!read_header(reader, data, size)) return invalid_argument(what + ": cannot decode the JPEG: " + reader.error);
  const uint64_t width = reader.decoder.output_width, height = reader.decoder.output_height;
  if (width > kMaxImageSide || height > kMaxImageSide || width * height > kMaxImagePixels) {
    return invalid_argument(what + ": expected at most " + std::to_string(kMaxImagePixels) + " pixels, found " +
                            std::to_string(width) + " x " + std::to_string(height));
  }
  // A block of 8 x 8 pixels of the finest component takes at least one bit; with arithmetic coding, which is rare, a
  // fraction of one. For a file far too short for its pixels, no memory is allocated.
  const uint64_t blocks = (width + 7) / 8 * ((height + 7) / 8);
  const uint64_t most_blocks_of_one_bit = reader.decoder.arith_code ? 64 : 4;
  if (blocks > most_blocks_of_one_bit * 8 * size) {
    return invalid_argument(what + ": cannot decode the JPEG: the file ends early");
  }
  const int components = reader.decoder.out_color_components;
  const bool inverted = reader.decoder.saw_Adobe_marker != 0;
  Image image;
  image.width = static_cast<int>(width);
  image.height = static_cast<int>(height);
  image.channels = components;
  image.pixels.resize(image.bytes());
  const size_t row_bytes = static_cast<size_t>(width) * static_cast<size_t>(components);
  if (!read_pixels(reader, image.pixels.data(), row_bytes)) {
    return invalid_argument(what + ": cannot decode the JPEG: " + reader.error);
  }
  if (components == 4) {
    image.pixels = cmyk_to_rgb(image.pixels, inverted);
    image.channels = 3;
  }
  return image;
}

}  // namespace sparsenet::io
