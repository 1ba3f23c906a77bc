// Texts of the command lines that have a grammar: data sets, formats, backends, files of labels.
#include <sparsenet/session.h>

#include <string>

#include "converter/convert.h"
#include "converter/io/file_bytes.h"
#include "fuzz/scratch.h"
#include "io/dataset.h"
#include "io/file.h"

namespace sparsenet::fuzz {
namespace {

void run(const uint8_t* data, size_t size) {
  const std::string text(data, data + size);
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
