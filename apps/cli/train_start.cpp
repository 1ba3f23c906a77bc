#include "cli/train_start.h"

#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>
#include <sparsenet/session.h>
#include <sparsenet/trainer.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <utility>

#include "cli/classifier.h"
#include "cli/data_report.h"
#include "data/file.h"
#include "io/session_tensors.h"

namespace sparsenet::cli {
namespace {

// The number of classes of a data set; 0 if it does not state one.
int64_t classes_of(const io::DataSpec& spec, const io::Dataset& data) {
  if (spec.kind == "cifar100") return 100;
  if (spec.kind == "cifar10" || spec.kind == "svhn") return 10;
  return static_cast<int64_t>(data.class_names().size());
}

// The same, but for data sets without a stated number what their labels show: the value that --classes should have.
int64_t classes_to_ask_for(const io::DataSpec& spec, const io::Dataset& data) {
  const int64_t known = classes_of(spec, data);
  return known > 0 ? known : count_classes(data);
}

// Mean and std of the paper's recipe (SVHN: pixels divided by 255). Left empty if they are computed from the data, or
// if the data is used unchanged.
void set_known_normalisation(const std::string& kind, Metadata& metadata) {
  if (kind == "cifar10") {
    metadata.mean = {125.3f, 123.0f, 113.9f};
    metadata.std_dev = {63.0f, 62.1f, 66.7f};
  } else if (kind == "cifar100") {
    metadata.mean = {129.3f, 124.1f, 112.4f};
    metadata.std_dev = {68.2f, 65.4f, 70.4f};
  } else if (kind == "svhn") {
    metadata.mean = {0, 0, 0};
    metadata.std_dev = {255, 255, 255};
  }
}

std::vector<std::string> labels_for(const io::Dataset& data, int64_t classes) {
  const bool fit = static_cast<int64_t>(data.class_names().size()) == classes;
  return fit ? data.class_names() : std::vector<std::string>();
}

bool names_a_file(const std::string& source) {
  const std::string ending = ".snet";
  const bool ends = source.size() > ending.size() && source.compare(source.size() - ending.size(), 5, ending) == 0;
  return ends || io::is_file(source);
}

Status start_fresh(const TrainCommand& command, const io::Dataset& data, TrainStart& start) {
  SPARSENET_ASSIGN_OR_RETURN(auto architecture, parse_architecture(command.source));
  // Whoever spells the classes out has decided; else the data says.
  const bool spelled_out = command.source.find("classes=") != std::string::npos;
  const int64_t counted = spelled_out ? 0 : classes_of(command.data_spec, data);
  if (command.classes > 0) {
    architecture.classes = static_cast<int>(command.classes);
  } else if (counted > 0 && counted <= 1 << 20) {
    architecture.classes = static_cast<int>(counted);
  }
  auto graph = build_graph(architecture, command.seed);
  if (!graph.ok()) return graph.status().with_context(command.source);
  Metadata& metadata = start.model.metadata;
  start.model.graph = std::move(*graph);
  start.model_name = command.source;
  metadata.architecture = to_string(architecture);
  metadata.name = command.source.substr(0, command.source.find(':'));
  metadata.labels = labels_for(data, architecture.classes);
  set_known_normalisation(command.data_spec.kind, metadata);
  return {};
}

Status start_from_file(const TrainCommand& command, const io::Dataset& data, TrainStart& start, bool& usage) {
  SPARSENET_ASSIGN_OR_RETURN(auto loaded, load(command.source));
  start.model_name = loaded.name();
  start.model = std::move(loaded.model);
  start.file_bytes = loaded.file_bytes;
  start.before = std::move(start.model.metadata.provenance);
  const int64_t now = class_count(start.model.graph);
  Metadata& metadata = start.model.metadata;
  if (command.classes != 0 && command.classes != now && command.keep_labels) {
    usage = true;
    return invalid_argument("--keep-labels: keeps the model's " + std::to_string(now) +
                            " classes; expected no --classes " + std::to_string(command.classes) + " beside it");
  }
  // The same number of classes under other names means other classes: a user who gives --classes then gets a new last
  // layer.
  const bool renamed = !data.class_names().empty() && !match_classes(data, metadata.labels, now, "").conflict.empty();
  if (command.classes == 0 || command.keep_labels || (command.classes == now && !renamed)) {
    if (metadata.labels.empty()) metadata.labels = labels_for(data, now);
    return {};
  }
  const Status replaced = new_head(&start.model, command.classes, command.seed);
  if (!replaced.ok()) return replaced.with_context(command.source);
  if (command.classes == now) {
    start.notes.push_back("--classes " + std::to_string(now) + ": the last layer is new, for " +
                          name_list(data.class_names()) + " in place of " + name_list(metadata.labels));
  }
  metadata.labels = labels_for(data, command.classes);
  return {};
}

// The network's class for each class of the data, or why that cannot be determined.
Result<ClassMatch> match_to_network(const TrainCommand& command, const std::string& option, const io::DataSpec& spec,
                                    const io::Dataset& data, const std::vector<std::string>& labels,
                                    const std::string& whose, TrainStart& start) {
  const std::string place = option + " " + (option == "--data" ? command.data : command.test) + ": ";
  const bool for_training = option == "--data";
  ClassMatch match = match_classes(data, labels, class_count(start.model.graph), whose);
  if (!match.assumption.empty() && for_training) start.notes.push_back(place + match.assumption);
  // A test set may be small: only names can show that its classes are different ones.
  const bool matters = !match.conflict.empty() && (for_training || !data.class_names().empty());
  // A user who gives --classes for data without names has counted the classes.
  const bool counted = for_training && command.classes > 0 && data.class_names().empty();
  if (!matters || counted) return match;
  if (command.keep_labels) {
    start.notes.push_back(place + match.conflict + "; --keep-labels: they count in their order, and the labels stay");
    return match;
  }
  std::string remedy;
  if (for_training) {
    remedy = "--classes " + std::to_string(classes_to_ask_for(spec, data)) +
             " gives the network a new last layer for them, --keep-labels counts them as the model's, in their order";
  } else {
    remedy = "an error measured on them would mean nothing; --keep-labels counts them in their order";
  }
  return invalid_argument(place + match.conflict + "; " + remedy);
}

// The names of the network's classes as in the training data, against which the test data is matched.
std::vector<std::string> names_for_test(const io::Dataset& data, const ClassMatch& match,
                                        const std::vector<std::string>& labels) {
  const bool by_order = match.indices.empty() && !data.class_names().empty();
  return by_order ? data.class_names() : labels;
}

Result<std::unique_ptr<TrainData>> read_data(std::unique_ptr<io::Dataset> data, const std::string& name,
                                             const ClassMatch& match, bool skip_broken, const TrainStart& start) {
  const Graph& graph = start.model.graph;
  if (graph.inputs.size() != 1 || graph.outputs.size() != 1) {
    return invalid_model(start.model_name + ": expected a network with one input and one output, found " +
                         std::to_string(graph.inputs.size()) + " and " + std::to_string(graph.outputs.size()));
  }
  SPARSENET_ASSIGN_OR_RETURN(auto read, TrainData::read(std::move(data), name, graph.shape(graph.inputs[0]),
                                                        start.model.metadata, class_count(graph), match, skip_broken));
  return std::make_unique<TrainData>(std::move(read));
}

bool computes_with_integers(const Graph& graph) {
  return std::any_of(graph.values.begin(), graph.values.end(),
                     [](const Value& value) { return !value.is_constant && value.type == DataType::kInt8; });
}

// The learning rate depends on whether integers are trained.
Status resolve_rate(TrainCommand& command, TrainStart& start) {
  const Graph& graph = start.model.graph;
  if (!computes_with_integers(graph)) {
    command.resolve_rate(false);
    return {};
  }
  const Result<bool> simulated = simulates_integers(graph, command.train_options());
  if (!simulated.ok()) return simulated.status().with_context(start.model_name);
  command.resolve_rate(*simulated);
  start.notes.push_back(*simulated ? "the network computes with 8-bit integers: where it is trained, their rounding is "
                                     "simulated in float32, and " +
                                         command.output + " holds integers again"
                                   : "the network computes with 8-bit integers in front of what is trained, which is "
                                     "float32; they stay as they are");
  return {};
}

}  // namespace

int64_t class_count(const Graph& graph) {
  if (graph.outputs.empty()) return 0;
  const Shape& shape = graph.shape(graph.outputs[0]);
  return shape.empty() ? 0 : element_count(shape) / std::max<int64_t>(1, shape[0]);
}

Status new_head(Model* model, int64_t classes, uint64_t seed) {
  SPARSENET_RETURN_IF_ERROR(replace_head(&model->graph, classes, seed));
  if (auto architecture = parse_architecture(model->metadata.architecture); architecture.ok()) {
    architecture->classes = static_cast<int>(classes);
    model->metadata.architecture = to_string(*architecture);
  }
  return {};
}

Result<TrainStart> start_training(TrainCommand& command, bool& usage) {
  usage = false;
  TrainStart start;
  // Errors in the command line are reported before any data is read.
  const bool from_file = names_a_file(command.source);
  if (!from_file) {
    auto architecture = parse_architecture(command.source);
    usage = !architecture.ok();
    if (usage) return architecture.status();
  }
  auto data = io::open_dataset(command.data_spec);
  if (!data.ok()) return data.status();
  std::unique_ptr<io::Dataset> test_set;
  if (!command.test.empty()) {
    SPARSENET_ASSIGN_OR_RETURN(test_set, io::open_dataset(command.test_spec));
  }
  SPARSENET_RETURN_IF_ERROR(from_file ? start_from_file(command, **data, start, usage)
                                      : start_fresh(command, **data, start));
  SPARSENET_RETURN_IF_ERROR(resolve_rate(command, start));
  const auto check_batch = [&](int64_t images) -> Status {
    if (command.batch <= images) return {};
    usage = true;
    return invalid_argument("--batch: expected at most " + std::to_string(images) + ", the images of " + command.data +
                            ", found " + std::to_string(command.batch));
  };
  SPARSENET_RETURN_IF_ERROR(check_batch((*data)->size()));

  Metadata& metadata = start.model.metadata;
  SPARSENET_ASSIGN_OR_RETURN(auto of_data, match_to_network(command, "--data", command.data_spec, **data,
                                                            metadata.labels, "the model's", start));
  ClassMatch of_test;
  if (test_set != nullptr) {
    const auto names = names_for_test(**data, of_data, metadata.labels);
    const char* whose = names == metadata.labels ? "the model's" : "those of --data";
    SPARSENET_ASSIGN_OR_RETURN(of_test,
                               match_to_network(command, "--test", command.test_spec, *test_set, names, whose, start));
  }
  if (from_file && (*data)->holds_images()) {
    const std::string note = normalisation_note(command.source, metadata);
    if (!note.empty()) start.notes.push_back(note);
  }

  DataReport report(**data, command.data);
  SPARSENET_ASSIGN_OR_RETURN(auto train,
                             read_data(std::move(*data), command.data, of_data, command.skip_broken, start));
  start.train = std::move(train);
  SPARSENET_RETURN_IF_ERROR(check_batch(start.train->size()));
  report.skipped(start.train->skipped());
  const bool unknown = !from_file && metadata.mean.empty();
  std::vector<float> mean, std_dev;
  if ((unknown || command.data_spec.kind == "folder") && start.train->measure(mean, std_dev)) {
    report.measured(mean, std_dev, unknown ? "" : "the model's own are kept");
    if (unknown) {
      metadata.mean = mean;
      metadata.std_dev = std_dev;
      start.train->normalise(mean, std_dev);
    }
  }
  start.data_lines = report.lines("data    ");
  start.data = to_text(report.json());
  if (test_set != nullptr) {
    DataReport test_report(*test_set, command.test);
    auto test = read_data(std::move(test_set), command.test, of_test, command.skip_broken, start);
    if (!test.ok()) return test.status();
    start.test = std::move(*test);
    test_report.skipped(start.test->skipped());
    const auto lines = test_report.lines("test    ");
    start.data_lines.insert(start.data_lines.end(), lines.begin(), lines.end());
    if (start.test->hash() == start.train->hash()) {
      start.notes.push_back("--test: these are the images of --data, so the test error tells nothing of other images");
    }
  }
  return start;
}

Status renew_test_vectors(Model& model) {
  SessionOptions options;
  options.backend = Backend::kReference;
  options.threads = 1;
  SPARSENET_ASSIGN_OR_RETURN(auto session, Session::create(model.graph, options));
  if (model.test_vectors.empty()) {
    std::mt19937 random(1);
    TestVector vector;
    for (const TensorInfo& input : session.inputs()) {
      if (input.type != DataType::kFloat32) {
        std::vector<uint8_t> bytes(static_cast<size_t>(element_count(input.shape)));
        for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() >> 24);
        vector.inputs.push_back(io::integer_tensor(input.type, input.shape, std::move(bytes)));
        continue;
      }
      std::vector<float> values(static_cast<size_t>(element_count(input.shape)));
      // 24 random bits, which a float holds exactly: uniform in [-1.5, 1.5), about the range of normalised pixels.
      for (float& value : values) value = static_cast<float>(random() >> 8) * (3.0f / float{1 << 24}) - 1.5f;
      vector.inputs.push_back(Tensor::from(input.shape, std::move(values)));
    }
    SPARSENET_RETURN_IF_ERROR(round_inputs(model.graph, &vector));
    model.test_vectors.push_back(std::move(vector));
  }
  for (TestVector& vector : model.test_vectors) {
    for (size_t i = 0; i < vector.inputs.size(); ++i) {
      SPARSENET_RETURN_IF_ERROR(io::set_input(&session, i, vector.inputs[i]));
    }
    SPARSENET_RETURN_IF_ERROR(session.run());
    vector.outputs.clear();
    for (size_t i = 0; i < session.outputs().size(); ++i) {
      SPARSENET_ASSIGN_OR_RETURN(Tensor output, io::get_output(session, i));
      vector.outputs.push_back(std::move(output));
    }
  }
  return {};
}

}  // namespace sparsenet::cli
