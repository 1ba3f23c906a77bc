#include "cli/classifier.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sparsenet::cli {

bool ends_in_softmax(const Graph& graph) {
  if (graph.outputs.empty()) return false;
  ValueId wanted = graph.outputs[0];
  // Searches backwards for the node that produces the output, looking through ops that only change its shape.
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    if (std::find(node->outputs.begin(), node->outputs.end(), wanted) == node->outputs.end()) continue;
    if (node->op == Op::kSoftmax) return true;
    const bool passes_on = node->op == Op::kReshape || node->op == Op::kIdentity;
    if (!passes_on || node->inputs.empty()) return false;
    wanted = node->inputs[0];
  }
  return false;
}

Classifier::Classifier(Session session, io::Preprocess preprocess, int64_t batch, int64_t classes, bool softmax)
    : session_(std::move(session)),
      preprocess_(std::move(preprocess)),
      batch_(batch),
      classes_(classes),
      softmax_(softmax) {}

Result<Classifier> Classifier::create(const LoadedModel& model, const SessionOptions& options) {
  SPARSENET_ASSIGN_OR_RETURN(auto session, make_session(model, options));
  if (session.inputs().size() != 1 || session.outputs().size() != 1) {
    return invalid_model(model.path + ": expected a classifier with one input and one output, found " +
                         std::to_string(session.inputs().size()) + " and " + std::to_string(session.outputs().size()));
  }
  auto preprocess = io::Preprocess::create(session.inputs()[0].shape, model.model.metadata);
  if (!preprocess.ok()) return preprocess.status().with_context(model.path);
  const TensorInfo& input = session.inputs()[0];
  if (input.type != DataType::kFloat32) preprocess->set_integers(input.type, input.quantization);
  const TensorInfo& output = session.outputs()[0];
  const int64_t scores = element_count(output.shape);
  if (output.shape.empty() || output.shape[0] != options.batch || scores < 1) {
    return invalid_model(model.path + ": output '" + output.name +
                         "': expected one row of scores per image, found shape " + to_string(output.shape));
  }
  return Classifier(std::move(session), std::move(*preprocess), options.batch, scores / options.batch,
                    cli::ends_in_softmax(model.model.graph));
}

Status Classifier::run(const std::vector<float>& pixels, std::vector<float>& scores) {
  SPARSENET_RETURN_IF_ERROR(session_.set_input(0, pixels.data(), pixels.size()));
  SPARSENET_RETURN_IF_ERROR(session_.run());
  scores.resize(static_cast<size_t>(batch_ * classes_));
  return session_.get_output(0, scores.data(), scores.size());
}

std::string normalisation_note(const std::string& path, const Metadata& metadata) {
  switch (io::normalisation_of(metadata)) {
    case io::Normalisation::kStored:
      return "";
    case io::Normalisation::kMissing:
      return path +
             ": the file stores no mean and std, so pixels of 0..255 go into the network as they are; "
             "`sparsenet-convert " +
             path +
             " -o NEW.snet --mean a,b,c --std a,b,c` stores them (or --normalize "
             "imagenet, ...; --normalize none if pixels as they are is right)";
    case io::Normalisation::kLooksUnitRange:
      return path +
             ": the file's mean and std look like 0..1 values, but are applied to pixels of 0..255; "
             "`sparsenet-convert " +
             path +
             " -o NEW.snet --pixel-scale 1 --mean a,b,c --std a,b,c` stores them "
             "rightly";
  }
  return "";
}

Result<std::vector<double>> softmax(const float* scores, size_t count) {
  double largest = -INFINITY;
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(scores[i])) return internal_error("the network's output holds values that are not finite");
    largest = std::max(largest, static_cast<double>(scores[i]));
  }
  std::vector<double> probabilities(count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += probabilities[i] = std::exp(static_cast<double>(scores[i]) - largest);
  for (double& probability : probabilities) probability /= sum;
  return probabilities;
}

}  // namespace sparsenet::cli
