#include "cli/train_data.h"

#include <sparsenet/train_tools.h>

#include <cmath>
#include <limits>

#include "cli/progress.h"

namespace sparsenet::cli {
namespace {

constexpr size_t kLevels = 256;

Status at_image(const Status& status, const std::string& name, int64_t index) {
  return status.with_context(name + ": image " + std::to_string(index));
}

}  // namespace

Result<TrainData> TrainData::read(std::unique_ptr<io::Dataset> data, const std::string& name, const Shape& input,
                                  const Metadata& metadata, int64_t classes, const ClassMatch& match,
                                  bool skip_broken) {
  if (data->size() >= int64_t{std::numeric_limits<uint32_t>::max()}) {
    return invalid_argument(name + ": expected less than 2^32 - 1 images, found " + std::to_string(data->size()));
  }
  Metadata plain = metadata;
  plain.mean.clear();
  plain.std_dev.clear();
  SPARSENET_ASSIGN_OR_RETURN(auto raw, io::Preprocess::create(input, plain));

  TrainData result(std::move(raw));
  SPARSENET_RETURN_IF_ERROR(result.read_labels(*data, name, classes, match));
  if (!data->holds_images()) {
    SPARSENET_RETURN_IF_ERROR(result.check_values(*data, name));
    result.source_ = std::move(data);
  } else {
    SPARSENET_RETURN_IF_ERROR(result.read_bytes(*data, name, skip_broken));
  }
  result.normalise(metadata.mean, metadata.std_dev);
  return result;
}

Status TrainData::read_labels(const io::Dataset& data, const std::string& name, int64_t classes,
                              const ClassMatch& match) {
  labels_.resize(static_cast<size_t>(data.size()));
  for (int64_t i = 0; i < data.size(); ++i) {
    const int64_t label = match.index_of(data.label(i));
    if (label < 0 || label >= classes) {
      return at_image(
          invalid_argument("expected a label below " + std::to_string(classes) + ", the network's classes, found " +
                           std::to_string(label) + "; --classes " + std::to_string(count_classes(data)) +
                           " gives it a new last layer for those of the data"),
          name, i);
    }
    labels_[static_cast<size_t>(i)] = static_cast<int32_t>(label);
  }
  return {};
}

Status TrainData::read_bytes(const io::Dataset& data, const std::string& name, bool skip_broken) {
  const auto count = static_cast<size_t>(data.size());
  if (count > std::numeric_limits<size_t>::max() / 2 / elements()) {
    return out_of_memory(name + ": no memory for " + std::to_string(count) + " images of " +
                         std::to_string(elements()) + " bytes");
  }
  bytes_.resize(count * elements());
  std::vector<float> values(elements());
  Progress progress("reading " + name, "images", data.size());
  size_t kept = 0;
  for (int64_t i = 0; i < data.size(); ++i) {
    const Status read = data.input(i, raw_, values.data());
    if (!read.ok() && !broken_.take(data, i, read)) return at_image(read, name, i);
    if (read.ok()) {
      uint8_t* bytes = bytes_.data() + kept * elements();
      for (size_t e = 0; e < values.size(); ++e) bytes[e] = static_cast<uint8_t>(values[e] + 0.5f);  // all are 0..255
      labels_[kept++] = labels_[static_cast<size_t>(i)];
    }
    progress.update(i + 1, "");
  }
  SPARSENET_RETURN_IF_ERROR(broken_.check(data, name, skip_broken));
  bytes_.resize(kept * elements());
  labels_.resize(kept);
  hash_ = hash_bytes(labels_.data(), labels_.size() * sizeof labels_[0]);
  hash_ = hash_bytes(bytes_.data(), bytes_.size(), hash_);
  return {};
}

Status TrainData::check_values(const io::Dataset& data, const std::string& name) {
  hash_ = hash_bytes(labels_.data(), labels_.size() * sizeof labels_[0]);
  std::vector<float> values(elements());
  Progress progress("reading " + name, "images", data.size());
  for (int64_t i = 0; i < data.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(at_image(data.input(i, raw_, values.data()), name, i));
    for (const float value : values) {
      if (!std::isfinite(value)) {
        return at_image(invalid_argument("expected finite values, found " + std::to_string(value)), name, i);
      }
    }
    hash_ = hash_bytes(values.data(), values.size() * sizeof values[0], hash_);
    progress.update(i + 1, "");
  }
  return {};
}

bool TrainData::measure(std::vector<float>& mean, std::vector<float>& std_dev) const {
  if (source_ != nullptr) return false;
  const size_t area = elements() / static_cast<size_t>(channels());
  mean.clear();
  std_dev.clear();
  for (size_t c = 0; c < static_cast<size_t>(channels()); ++c) {
    // Integer sums are exact, so they do not depend on any order.
    uint64_t sum = 0, squares = 0;
    for (size_t i = 0; i < labels_.size(); ++i) {
      const uint8_t* plane = bytes_.data() + i * elements() + c * area;
      for (size_t p = 0; p < area; ++p) {
        sum += plane[p];
        squares += uint64_t{plane[p]} * plane[p];
      }
    }
    const double count = static_cast<double>(labels_.size()) * static_cast<double>(area);
    const double average = static_cast<double>(sum) / count;
    const double variance = std::max(0.0, static_cast<double>(squares) / count - average * average);
    mean.push_back(static_cast<float>(std::round(average * 10) / 10));
    // Images of a single colour have a deviation of 0, by which nothing can be divided.
    std_dev.push_back(static_cast<float>(std::max(1.0, std::round(std::sqrt(variance) * 10) / 10)));
  }
  return true;
}

void TrainData::normalise(const std::vector<float>& mean, const std::vector<float>& std_dev) {
  const auto of_channel = [](const std::vector<float>& list, size_t c, float missing) {
    return list.empty() ? missing : list[list.size() == 1 ? 0 : c];
  };
  table_.resize(static_cast<size_t>(channels()) * kLevels);
  for (size_t c = 0; c < static_cast<size_t>(channels()); ++c) {
    for (size_t level = 0; level < kLevels; ++level) {
      // The same division as in Preprocess, so that training and inference see the same bits.
      table_[c * kLevels + level] = (static_cast<float>(level) - of_channel(mean, c, 0)) / of_channel(std_dev, c, 1);
    }
  }
}

Status TrainData::input(int64_t index, float* out) const {
  if (source_ != nullptr) return source_->input(index, raw_, out);
  const size_t area = elements() / static_cast<size_t>(channels());
  const uint8_t* bytes = bytes_.data() + static_cast<size_t>(index) * elements();
  for (size_t c = 0; c < static_cast<size_t>(channels()); ++c) {
    const float* table = table_.data() + c * kLevels;
    for (size_t p = 0; p < area; ++p) *out++ = table[*bytes++];
  }
  return {};
}

}  // namespace sparsenet::cli
