// Command line texts that have a grammar: lists of numbers, data sets, formats, backends, files of labels.
#include <sparsenet/session.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "converter/convert.h"
#include "converter/io/file_bytes.h"
#include "data/dataset.h"
#include "data/file.h"
#include "fuzz/scratch.h"

namespace sparsenet::fuzz {
namespace {

// --mean MEAN --std STD, as "MEAN STD".
void use_normalisation(const std::string& text) {
  const size_t space = std::min(text.find(' '), text.size());
  for (const int scale : {0, 1, 255}) {
    converter::NormalisationOptions options;
    options.pixel_scale = scale;
    if (!converter::parse_number_list(text.substr(0, space), &options.mean)) options.mean.clear();
    if (space < text.size() && !converter::parse_number_list(text.substr(space + 1), &options.std_dev))
      options.std_dev.clear();
    if (!options.given() || !converter::check_normalisation(options).ok()) continue;
    Metadata metadata;
    std::vector<std::string> notes;
    if (!converter::apply_normalisation(options, {1, 3, 4, 4}, &metadata, &notes).ok()) continue;
    (void)converter::number_list(metadata.mean);
    for (const float value : metadata.std_dev) {
      if (!(value > 0) || !std::isfinite(value)) std::abort();
    }
    for (const float value : metadata.mean) {
      if (!std::isfinite(value)) std::abort();
    }
  }
}

void run(const uint8_t* data, size_t size) {
  const std::string text(data, data + size);
  use_normalisation(text);
  if (const Result<io::DataSpec> spec = io::parse_data_spec(text, "train"); spec.ok() && spec->paths.empty())
    std::abort();
  (void)converter::parse_format(text).ok();
  (void)parse_backend(text).ok();
  (void)io::has_image_suffix(text);
  const std::string path = scratch_file("labels.txt", data, size);
  (void)converter::read_lines(path).ok();
  (void)io::read_lines(path).ok();
}

}  // namespace

extern const Target options_target{"options", 256, run};

}  // namespace sparsenet::fuzz
