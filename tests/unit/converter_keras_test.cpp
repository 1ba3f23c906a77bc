// Keras files: every form gives the numbers that Keras computes, and no HDF5 file crashes or exhausts the converter.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "converter/convert.h"
#include "converter/io/child_process.h"
#include "converter/io/file_bytes.h"
#include "converter/io/npy.h"
#include "converter/weights/keras_config.h"
#include "converter/weights/matching.h"
#include "converter/weights/readers.h"
#include "support/architecture_graph.h"
#include "support/imported.h"
#include "support/read_array.h"
#include "support/scratch_folder.h"
#include "support/skip.h"

namespace sparsenet::converter {
namespace {

const std::string kKeras = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/keras/";
const std::string kArch = "sparsenet-basic:blocks=2,k=2,path=1,classes=3,image-size=8";
const std::string kArchOfKeras = kArch + ",bn-eps=0.001";
constexpr size_t kTensors = 20;  // two of four convolutions and dense layers, four of three batch normalisations

bool contains(const std::vector<std::string>& texts, const std::string& part) {
  return std::any_of(texts.begin(), texts.end(), [&](const auto& t) { return t.find(part) != std::string::npos; });
}

Result<Model> import_keras(const std::string& path, const std::string& arch, Report* report) {
  Options options;
  options.input = path;
  options.architecture = arch;
  return import_model(options, report);
}

TEST_CASE("keras: names of classes become names of groups") {
  CHECK(snake_case("Conv2D") == "conv2d");
  CHECK(snake_case("BatchNormalization") == "batch_normalization");
  CHECK(snake_case("DepthwiseConv2D") == "depthwise_conv2d");
  CHECK(snake_case("GlobalAveragePooling2D") == "global_average_pooling2d");
  CHECK(snake_case("ReLU") == "re_lu");
  CHECK(snake_case("my_package>MyLayer") == "my_layer");
  CHECK(snake_case("") == "");
}

Result<KerasConfig> parse(const std::string& text) {
  return parse_keras_config(text.data(), text.size());
}

TEST_CASE("keras: the configuration gives layers their places, in networks inside networks too") {
  const Result<KerasConfig> config = parse(R"({"class_name": "Functional", "config": {"name": "net", "layers": [
    {"class_name": "InputLayer", "config": {"name": "in"}},
    {"class_name": "Conv2D", "config": {"name": "a", "kernel_initializer": {"config": {"layers": [{}]}}}},
    {"class_name": "Functional", "name": "inner", "config": {"layers": [
      {"class_name": "Conv2D", "name": "b", "config": {}},
      {"class_name": "BatchNormalization", "name": "n", "config": {"epsilon": 0.001, "scale": false}}]}},
    {"class_name": "Conv2D", "config": {"name": "c"}, "inbound_nodes": [[1, 2]]}]}})");
  REQUIRE_MESSAGE(config.ok(), config.status().message());
  CHECK(config->layers.size() == 6);
  CHECK(config->layers.at("layers/conv2d").name == "a");
  CHECK(config->layers.at("layers/functional/layers/conv2d").name == "b");
  CHECK(config->layers.at("layers/conv2d_1").name == "c");
  CHECK(config->layers.at("layers/conv2d_1").order > config->layers.at("layers/functional/layers/conv2d").order);
  CHECK(!config->layers.at("layers/functional/layers/batch_normalization").scale);
  CHECK(config->epsilons == std::set<double>{0.001});
}

TEST_CASE("keras: a configuration that is none is refused, a deep one is cut") {
  for (const char* text : {"", "[]", "{", "7", "{\"config\": tru}"}) CHECK(!parse(text).ok());
  CHECK(parse("{}").ok());
  CHECK(parse("{\"config\": {\"layers\": 1}}").ok());
  const std::string open = "{\"config\":{\"layers\":[", close = "]}}";
  std::string deep, end;
  for (int i = 0; i < 100000; ++i) {
    deep += open;
    end += close;
  }
  const Result<KerasConfig> cut = parse(deep + end);
  CHECK((!cut.ok() || cut->layers.size() < 100));
}

SourceTensors keras_tensors(const Graph& graph) {
  SourceTensors source;
  source.keras = true;
  float next = 1;
  for (const Value& value : graph.values) {
    if (!value.is_constant) continue;
    SourceTensor tensor;
    tensor.name = value.name;
    tensor.shape = value.shape;
    tensor.values.assign(static_cast<size_t>(element_count(value.shape)), next++);
    source.tensors.push_back(std::move(tensor));
  }
  return source;
}

void check_in_place(const Graph& graph) {
  float next = 1;
  for (const Value& value : graph.values) {
    if (!value.is_constant) continue;
    CAPTURE(value.name);
    CHECK(value.constant.f32()[0] == next++);
  }
}

// "block0.layers.0.bn1.running_var" -> "block0_layers_0_bn1/moving_variance:0"
std::string keras_name(const Graph& graph, const std::string& name) {
  bool normalises = false;
  for (const Node& node : graph.nodes) {
    if (node.op != Op::kBatchNorm) continue;
    for (const ValueId id : node.inputs) normalises = normalises || graph.value(id).name == name;
  }
  const size_t dot = name.rfind('.');
  std::string layer = name.substr(0, dot), role = name.substr(dot + 1);
  std::replace(layer.begin(), layer.end(), '.', '_');
  role = role == "weight"         ? (normalises ? "gamma" : "kernel")
         : role == "bias"         ? (normalises ? "beta" : "bias")
         : role == "running_mean" ? "moving_mean"
                                  : "moving_variance";
  return layer + "/" + role + ":0";
}

TEST_CASE("keras: layers are found by their names, under a prefix, under another implementation's, by rules") {
  Graph graph = test::graph_of("resnet8:shortcut=conv");
  SourceTensors source = keras_tensors(graph);
  for (SourceTensor& tensor : source.tensors) tensor.name = keras_name(graph, tensor.name);
  source.ordered = false;
  Report report;
  std::string rules;
  SUBCASE("as they are") {}
  SUBCASE("prefix of all") {
    for (SourceTensor& tensor : source.tensors) tensor.name = "my_net/" + tensor.name;
  }
  SUBCASE("other names") {
    for (SourceTensor& tensor : source.tensors) {
      if (tensor.name.rfind("linear/", 0) == 0) tensor.name.replace(0, 6, "fc");
    }
  }
  SUBCASE("rules") {
    for (SourceTensor& tensor : source.tensors) tensor.name.insert(0, "x-");
    rules = "x-(.*)=$1";
  }
  std::reverse(source.tensors.begin(), source.tensors.end());
  Result<NameRules> parsed = rules.empty() ? Result<NameRules>(NameRules()) : NameRules::load(rules);
  REQUIRE(parsed.ok());
  match_weights(std::move(source), *parsed, &graph, &report);
  CHECK_MESSAGE(report.problems.empty(), test::problems_of(report));
  check_in_place(graph);
}

TEST_CASE("keras: layers that are numbered by class are assigned class by class") {
  Graph graph = test::graph_of("resnet8");
  SourceTensors all = keras_tensors(graph), source;
  source.keras = true;
  for (const int run : {2, 1}) {
    for (SourceTensor& tensor : all.tensors) {
      const std::string name = keras_name(graph, tensor.name);
      const bool normalises = name.find("/kernel") == std::string::npos && name.find("/bias") == std::string::npos;
      if (normalises != (run == 2)) continue;
      tensor.run = run;
      tensor.name = (normalises ? "n" : "w") + std::to_string(source.tensors.size()) + name.substr(name.find('/'));
      source.tensors.push_back(tensor);
    }
  }
  source.ordered_in_runs = true;
  Report report;
  SUBCASE("complete") {
    match_weights(source, NameRules(), &graph, &report);
    CHECK_MESSAGE(report.problems.empty(), test::problems_of(report));
    check_in_place(graph);
  }
  SUBCASE("the file states an order, which is not that of the constants") {
    source.ordered_in_runs = false;
    match_weights(source, NameRules(), &graph, &report);
    CHECK_MESSAGE(report.problems.empty(), test::problems_of(report));
    check_in_place(graph);
  }
  SUBCASE("one less") {
    source.tensors.pop_back();
    match_weights(source, NameRules(), &graph, &report);
    CHECK(!report.problems.empty());
  }
}

#ifdef SPARSENET_HAVE_HDF5

TEST_CASE("keras: every form gives what Keras computes") {
  const test::Array images = test::read_array(kKeras + "images.npy"),
                    expected = test::read_array(kKeras + "logits.npy");
  const struct {
    const char *file, *format, *how;
    bool tells_epsilon;
  } rows[] = {{"whole.keras", "Keras (.keras)", "order and shape", true},
              {"whole-keras3.h5", "Keras (HDF5)", "order and shape", true},
              {"keras2-whole.h5", "Keras (HDF5)", "order and shape", true},
              {"keras2-weights.h5", "Keras (HDF5)", "order and shape", false},
              {"packed.h5", "Keras (HDF5)", "order and shape", false},
              {"automatic.weights.h5", "Keras (HDF5)", "order and shape", false},
              {"named.weights.h5", "Keras (HDF5)", "name", false}};
  for (const auto& row : rows) {
    CAPTURE(row.file);
    Report report;
    Result<Model> model = import_keras(kKeras + row.file, kArchOfKeras, &report);
    CHECK_MESSAGE(model.ok(), test::problems_of(report));
    if (!model.ok()) continue;
    CHECK(report.format == row.format);
    CHECK(report.warnings.empty());
    CHECK(contains(report.notes, "compare the results with --check") == (row.how != std::string("name")));
    CHECK(report.tensors.size() == kTensors);
    for (const TensorRecord& tensor : report.tensors) CHECK(tensor.how == row.how);
    REQUIRE(model->graph.set_batch(images.shape[0]).ok());
    const Result<std::vector<test::Array>> outputs = test::evaluate(model->graph, {images});
    REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
    REQUIRE(outputs->at(0).shape == expected.shape);
    for (size_t i = 0; i < expected.size(); ++i) {
      CHECK(outputs->at(0).data[i] == doctest::Approx(expected.data[i]).epsilon(1e-5));
    }

    // Another epsilon would be a mistake that no shape tells.
    Report other;
    const Result<Model> wrong = import_keras(kKeras + row.file, kArch, &other);
    CHECK(wrong.ok() != row.tells_epsilon);
    if (row.tells_epsilon) CHECK(test::problems_of(other).find("say bn-eps=0.001 there") != std::string::npos);
    if (!row.tells_epsilon) CHECK(contains(other.warnings, "(bn-eps=0.001)"));
  }
}

TEST_CASE("keras: reports show the file's names, types and shapes") {
  Report report;
  REQUIRE(import_keras(kKeras + "packed.h5", kArchOfKeras, &report).ok());
  CHECK(report.producer == "Keras 2.15.0");
  const TensorRecord& stem = report.tensors[0];
  CHECK(stem.source == "conv2d/kernel");
  CHECK(stem.target == "stem.weight");
  CHECK(stem.shape == Shape{3, 3, 3, 4});
  std::set<std::string> types;
  for (const TensorRecord& tensor : report.tensors) types.insert(tensor.type);
  CHECK(types == std::set<std::string>{"float16", "float32", "float64"});
}

TEST_CASE("keras: without --arch or with a wrong one, the message says what the file looks like") {
  Report none, wrong;
  CHECK(!import_keras(kKeras + "whole.keras", "", &none).ok());
  CHECK(test::problems_of(none).find("say with --arch which network they are of") != std::string::npos);
  CHECK(test::problems_of(none).find("from_keras_model), which needs no --arch") != std::string::npos);
  CHECK(!import_keras(kKeras + "whole.keras", kArchOfKeras + ",attention=se", &wrong).ok());
  REQUIRE(grouped_problems(wrong).size() == 1);
  CHECK(grouped_problems(wrong)[0].line.find("this looks like sparsenet-basic:blocks=2,k=2") != std::string::npos);
}

TEST_CASE("keras: HDF5 files that lead elsewhere, hold something else or ask for too much are refused") {
  const struct {
    const char *file, *part;
  } rows[] = {{"external-link", "'fc/fc/kernel:0': is a link to another file, which is not followed"},
              {"soft-link", "'fc/fc/kernel:0': is a soft link"},
              {"cycle", "'fc/fc/again': is also in another place"},
              {"external-storage", "its elements are in another file"},
              {"virtual", "its elements are in other datasets"},
              {"compound", "expected float32, float16, float64 or integers, found records"},
              {"texts", "found texts"},
              {"complex", "found records"},
              {"filter", "expected gzip, shuffle and checksums, found the filter 32000"},
              {"scale-offset", "found the filter 6"},
              {"terabyte", "asks for 1048576 MiB of memory where"},
              {"gigabytes", "asks for 4096 MiB of memory where"},
              {"overflow", "is too large"},
              {"deep", "expected groups at most 32 deep"},
              {"missing", "layer 'fc': expected its weight at 'fc/fc/kernel:0', found none"}};
  for (const auto& row : rows) {
    CAPTURE(row.file);
    Report report;
    CHECK(!import_keras(kKeras + "hostile/" + row.file + ".h5", kArchOfKeras, &report).ok());
    CHECK_MESSAGE(test::problems_of(report).find(row.part) != std::string::npos, test::problems_of(report));
  }
}

TEST_CASE("keras: damaged files are refused or read, and never crash") {
  const int cases = test::scaled_by_effort(12);
  uint32_t state = 4321;
  const auto next = [&state] {
    state = state * 1664525u + 1013904223u;
    return state >> 8;
  };
  const auto read = [](const std::vector<uint8_t>& bytes) {
    const Result<SourceTensors> tensors = read_keras(bytes.data(), bytes.size());
    if (!tensors.ok()) {
      CHECK(!tensors.status().message().empty());
      CHECK(tensors.status().message().find('\n') == std::string::npos);
      return;
    }
    for (const SourceTensor& tensor : tensors->tensors) {
      if (is_float(tensor.type)) CHECK(static_cast<int64_t>(tensor.values.size()) == element_count(tensor.shape));
    }
  };
  for (const char* file : {"packed.h5", "keras2-weights.h5", "automatic.weights.h5", "whole.keras"}) {
    CAPTURE(file);
    const std::vector<uint8_t> whole = test::read_bytes(kKeras + file);
    const auto size = static_cast<uint32_t>(whole.size());
    for (int i = 0; i < cases; ++i) {
      const uint32_t keep =
          i < cases / 2 ? size * static_cast<uint32_t>(i) / static_cast<uint32_t>(cases) : next() % size;
      read({whole.begin(), whole.begin() + keep});
    }
    for (int i = 0; i < 2 * cases; ++i) {
      std::vector<uint8_t> bytes = whole;
      const uint32_t span = i % 2 == 0 ? size : std::min<uint32_t>(size, 4096);
      for (int flip = 0; flip <= i % 4; ++flip) bytes[next() % span] ^= static_cast<uint8_t>(1u << next() % 8);
      read(bytes);
    }
  }
}

TEST_CASE("keras: what is not a Keras file is told") {
  const test::ScratchFolder folder;
  const struct {
    const char *name, *content, *part;
  } rows[] = {{"net.h5", "no signature", "expected an HDF5 file"},
              {"cut.h5", "\x89HDF\r\n\x1a\n", "damaged HDF5 file"},
              {"net.keras", "PK\x03\x04", "zip archive"}};
  for (const auto& row : rows) {
    Report report;
    CHECK(!import_keras(folder.write(row.name, row.content), kArchOfKeras, &report).ok());
    CHECK_MESSAGE(test::problems_of(report).find(row.part) != std::string::npos, test::problems_of(report));
  }
}

#else

TEST_CASE("keras: without libhdf5 the message says how to get it") {
  Report report;
  CHECK(!import_keras(kKeras + "keras2-weights.h5", kArchOfKeras, &report).ok());
  CHECK(test::problems_of(report).find("libhdf5-dev") != std::string::npos);
}

#endif

Status send(const std::function<void(ChildOutput*)>& work, uint64_t* received, const ChildLimits& limits) {
  return run_in_child(limits, work, [received](ChildInput* input) {
    return input->read(received, sizeof *received) ? Status() : invalid_model("nothing came");
  });
}

TEST_CASE("a process of its own: what it sends arrives, and how it ends is told") {
  const ChildLimits limits{uint64_t{64} << 20, 2};
  uint64_t received = 0;
  const auto number = [](ChildOutput* output) {
    const uint64_t value = 42;
    output->write(&value, sizeof value);
  };
  CHECK(send(number, &received, limits).ok());
  CHECK(received == 42);
  const Status crash = send([](ChildOutput*) { std::raise(SIGSEGV); }, &received, limits);
  CHECK(crash.message().find("broke off (signal 11)") != std::string::npos);
  const Status thrown = send([](ChildOutput*) { throw 7; }, &received, limits);
  CHECK(thrown.message().find("broke off") != std::string::npos);
  const Status endless = send(
      [](ChildOutput*) {
        for (volatile unsigned i = 0;; i = i + 1) {
        }
      },
      &received, limits);
  CHECK_MESSAGE(endless.message().find("more time than a sound file needs") != std::string::npos, endless.message());
}

TEST_CASE("a process of its own: memory is limited, and a receiver that has enough ends it") {
  uint64_t received = 0;
  const Status large = send(
      [](ChildOutput* output) {
        constexpr size_t kMuch = size_t{1} << 30;
        void* volatile memory = std::malloc(kMuch);
        const uint64_t got = memory != nullptr ? 1 : 0;
        output->write(&got, sizeof got);
      },
      &received, {uint64_t{64} << 20, 2});
  CHECK(large.ok());
#ifdef __linux__
  CHECK(received == 0);
#endif
  const auto endless = [](ChildOutput* output) {
    const std::vector<char> much(1 << 16);
    for (;;) output->write(much.data(), much.size());
  };
  CHECK(send(endless, &received, {uint64_t{64} << 20, 2}).ok());
}

}  // namespace
}  // namespace sparsenet::converter
