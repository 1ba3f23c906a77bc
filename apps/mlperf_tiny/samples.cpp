#include "mlperf_tiny/samples.h"

#include <cstdlib>

#include "data/file.h"
#include "data/npy.h"

namespace sparsenet::mlperf {
namespace {

constexpr uint64_t kMostSamples = 100000;
constexpr uint64_t kMostBytes = 64 << 20;  // of one file of a folder

Result<std::vector<int64_t>> read_indices(const std::string& path, uint64_t samples) {
  SPARSENET_ASSIGN_OR_RETURN(auto file, io::File::open(path));
  SPARSENET_ASSIGN_OR_RETURN(auto header, io::read_npy_header(file));
  const int64_t count = header.elements();
  if (header.shape.size() != 1 || count < 1 || static_cast<uint64_t>(count) > kMostSamples) {
    return invalid_argument(path + ": expected a list of 1 to 100000 indices, found " + to_string(header.shape));
  }
  std::vector<int64_t> indices(static_cast<size_t>(count));
  SPARSENET_RETURN_IF_ERROR(io::read_npy_integers(file, header, 0, count, indices.data()));
  for (const int64_t index : indices) {
    if (index < 0 || static_cast<uint64_t>(index) >= samples) {
      return invalid_argument(path + ": expected indices of " + std::to_string(samples) + " samples, found " +
                              std::to_string(index));
    }
  }
  return indices;
}

Result<std::vector<int64_t>> choose(const std::string& indices, uint64_t samples) {
  if (!indices.empty()) return read_indices(indices, samples);
  std::vector<int64_t> all(static_cast<size_t>(samples));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  return all;
}

Result<std::vector<Sample>> read_cifar(const TaskKind& kind, const std::string& path, const std::string& indices) {
  const uint64_t record_bytes = 1 + kind.input_bytes;
  SPARSENET_ASSIGN_OR_RETURN(auto file, io::File::open(path));
  const uint64_t count = file.size() / record_bytes;
  if (count == 0 || file.size() % record_bytes != 0 || count > kMostSamples) {
    return invalid_argument(path + ": expected a CIFAR-10 file of 3073-byte records, found " +
                            std::to_string(file.size()) + " bytes");
  }
  SPARSENET_ASSIGN_OR_RETURN(const auto chosen, choose(indices, count));
  std::vector<Sample> samples(chosen.size());
  std::vector<uint8_t> record(record_bytes);
  constexpr size_t kChannels = 3;
  const size_t pixels = kind.input_bytes / kChannels;
  for (size_t i = 0; i < chosen.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(
        file.read_at(static_cast<uint64_t>(chosen[i]) * record_bytes, record.data(), record.size()));
    samples[i].label = record[0];
    samples[i].bytes.resize(kind.input_bytes);
    // The file stores planes, the benchmark's inputs are pixels.
    for (size_t c = 0; c < kChannels; ++c) {
      for (size_t p = 0; p < pixels; ++p) samples[i].bytes[p * kChannels + c] = record[1 + c * pixels + p];
    }
  }
  return samples;
}

// The numbers behind the file's name in a line; false if one is no number below 2^31.
bool read_line(const std::string& line, std::string* file, std::vector<size_t>* numbers) {
  size_t at = line.find(',');
  *file = line.substr(0, at);
  numbers->clear();
  while (at != std::string::npos) {
    const size_t next = line.find(',', at + 1);
    const std::string word = line.substr(at + 1, next == std::string::npos ? next : next - at - 1);
    if (word.empty() || word.size() > 9 || word.find_first_not_of("0123456789") != std::string::npos) return false;
    numbers->push_back(static_cast<size_t>(std::strtoul(word.c_str(), nullptr, 10)));
    at = next;
  }
  return !file->empty();
}

Result<std::vector<Sample>> read_folder(const TaskKind& kind, const std::string& folder, const std::string& indices) {
  const std::string list = io::join_path(folder, "y_labels.csv");
  SPARSENET_ASSIGN_OR_RETURN(const auto lines, io::read_lines(list));
  if (lines.empty()) return invalid_argument(list + ": expected lines FILE,CLASSES,CLASS, found none");
  SPARSENET_ASSIGN_OR_RETURN(const auto chosen, choose(indices, lines.size()));
  const bool windows = kind.score != nullptr;
  std::vector<Sample> samples;
  for (const int64_t index : chosen) {
    const std::string& line = lines[static_cast<size_t>(index)];
    std::string name;
    std::vector<size_t> numbers;
    if (!read_line(line, &name, &numbers) || numbers.size() != (windows ? 4 : 2) || numbers[1] >= numbers[0]) {
      return invalid_argument(list + ": expected a line FILE,CLASSES,CLASS" + (windows ? ",BYTES,STRIDE" : "") +
                              " for " + kind.id + ", found '" + line + "'");
    }
    if (windows && (numbers[0] != 2 || numbers[2] != kind.input_bytes || numbers[3] == 0)) {
      return invalid_argument(list + ": expected 2 classes, " + std::to_string(kind.input_bytes) +
                              " bytes and a stride of at least 1, found '" + line + "'");
    }
    Sample sample;
    sample.label = numbers[1];
    sample.stride = windows ? numbers[3] : 0;
    const std::string path = io::join_path(folder, name);
    SPARSENET_ASSIGN_OR_RETURN(sample.bytes, io::read_file(path, kMostBytes));
    if (windows ? sample.bytes.size() < kind.input_bytes : sample.bytes.size() != kind.input_bytes) {
      return invalid_argument(path + ": expected " + (windows ? "at least " : "") + std::to_string(kind.input_bytes) +
                              " bytes for " + kind.id + ", found " + std::to_string(sample.bytes.size()));
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace

Result<std::vector<Sample>> read_samples(const TaskKind& kind, const std::string& path, const std::string& indices) {
  SPARSENET_ASSIGN_OR_RETURN(const bool folder, io::find_directory(path));
  if (folder) return read_folder(kind, path, indices);
  if (&kind == &image_classification) return read_cifar(kind, path, indices);
  return invalid_argument(path + ": expected a folder with y_labels.csv and the files that it lists, for " + kind.id);
}

}  // namespace sparsenet::mlperf
