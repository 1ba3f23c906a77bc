// Architectures by name: their counts equal the published table, their graphs the reference form, and their weights
// follow the recipe.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

using namespace sparsenet;

namespace {

Graph build(const std::string& name, uint64_t seed = 0) {
  Result<Architecture> arch = parse_architecture(name);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  Result<Graph> graph = build_graph(*arch, seed);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return *std::move(graph);
}

std::string error_of(const std::string& name) {
  Result<Architecture> arch = parse_architecture(name);
  if (!arch.ok()) {
    CHECK(arch.status().code() == StatusCode::kInvalidArgument);
    CHECK(arch.status().message().find('\n') == std::string::npos);
    return arch.status().message();
  }
  Result<Graph> graph = build_graph(*arch);
  return graph.ok() ? "" : graph.status().message();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<std::string> constant_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Value& value : graph.values) {
    if (value.is_constant) names.push_back(value.name);
  }
  return names;
}

const Value& find(const Graph& graph, const std::string& name) {
  for (const Value& value : graph.values) {
    if (value.name == name) return value;
  }
  FAIL("no value " << name);
  return graph.values[0];
}

std::vector<std::string> inputs_of(const Graph& graph, const std::string& node_name) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) {
    if (node.name != node_name) continue;
    for (ValueId id : node.inputs) names.push_back(graph.value(id).name);
  }
  return names;
}

bool has_node(const Graph& graph, const std::string& name) {
  return !inputs_of(graph, name).empty();
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("parameters and MACs equal the table to the unit") {
  struct Row {
    const char* name;
    int64_t parameters, macs;
  };
  const Row rows[] = {
      {"sparsenet-basic-v0", 88642, 22119120},
      {"sparsenet-bc-v0", 82346, 24363728},
      {"sparsenet-abc-v0", 86954, 24367184},
      {"sparsenet-basic-v1", 1197194, 286296576},
      {"sparsenet-bc-v1", 828442, 236292608},
      {"sparsenet-abc-v1", 860698, 236320256},
      {"sparsenet-basic-v2", 4115570, 952304320},
      {"sparsenet-bc-v2", 2439510, 665277120},
      {"sparsenet-abc-v2", 2512950, 665341920},
      {"sparsenet-basic-v3", 10413994, 2369920512},
      {"sparsenet-bc-v3", 5641090, 1492999680},
      {"sparsenet-abc-v3", 5779330, 1493124096},
      {"sparsenet-basic-v4", 18972730, 4271951008},
      {"sparsenet-bc-v4", 9693096, 2507645088},
      {"sparsenet-abc-v4", 9894336, 2507827608},
      {"densenet-bc-100-12", 806602, 295726608},
      {"resnet20", 269722, 40551040},  // 0.27 M and 41 M according to its authors
      // Two additional 1x1 convolutions, 16 -> 32 at 16 x 16 and 32 -> 64 at 8 x 8, with their batch normalisations.
      {"resnet20:shortcut=conv", 269722 + (16 * 32 + 64) + (32 * 64 + 128), 40551040 + 2 * 131072},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Graph graph = build(row.name);
    CHECK(graph.parameter_count() == row.parameters);
    CHECK(graph.macs_per_image() == row.macs);
    REQUIRE(graph.set_batch(3).ok());
    CHECK(graph.macs_per_image() == row.macs);
    CHECK(graph.shape(graph.outputs[0]) == Shape{3, 10});
  }
}

TEST_CASE("every known name builds, and its spelled-out form is the same network") {
  for (const std::string& name : known_architectures()) {
    CAPTURE(name);
    Result<Architecture> arch = parse_architecture(name);
    REQUIRE(arch.ok());
    Result<Architecture> again = parse_architecture(to_string(*arch));
    REQUIRE_MESSAGE(again.ok(), again.status().message());
    CHECK(to_string(*again) == to_string(*arch));
    CHECK(again->blocks == arch->blocks);
    CHECK(again->k == arch->k);
    CHECK(again->path == arch->path);
    CHECK(again->keep_far == arch->keep_far);
    CHECK(again->attention == arch->attention);
    CHECK(again->bn_epsilon == arch->bn_epsilon);
  }
  CHECK(build("densenet-40-12").parameter_count() == build("densenet-basic:blocks=12-12-12,k=12").parameter_count());
}

TEST_CASE("options follow any name") {
  Result<Architecture> arch = parse_architecture("SparseNet-abc-V0:keep=3-4,bn-eps=1e-3,classes=100,pre-relu=0");
  REQUIRE(arch.ok());
  CHECK(arch->bn_epsilon == 1e-3f);
  CHECK(arch->classes == 100);
  CHECK(arch->keep_far == 3);
  CHECK(arch->keep_near == 4);
  CHECK_FALSE(arch->pre_relu);
  arch = parse_architecture("sparsenet-abc");
  REQUIRE(arch.ok());
  CHECK(to_string(*arch) == to_string(*parse_architecture("sparsenet-abc-v1")));
  arch = parse_architecture("sparsenet-bc-v1:keep=10-4");
  REQUIRE(arch.ok());
  CHECK(arch->keep_far == 10);
  arch = parse_architecture("sparsenet-bc:keep=2-4,path=6");  // in any order
  REQUIRE(arch.ok());
  CHECK(arch->path == 6);
  CHECK(arch->keep_near == 4);
  arch = parse_architecture("sparsenet-bc:path=5");  // N is the larger half
  REQUIRE(arch.ok());
  CHECK(arch->keep_far == 2);
  CHECK(arch->keep_near == 3);
}

TEST_CASE("wrong names and options are told with what would be right") {
  CHECK(contains(error_of("vgg16"), "expected one of sparsenet-{basic|bc|abc}"));
  CHECK(contains(error_of("sparsenet-abc-v5"), "expected v0, v1, v2, v3 or v4, found 'v5'"));
  CHECK(contains(error_of("sparsenet-cab"), "expected basic, bc or abc"));
  CHECK(contains(error_of("densenet-bc-101-12"), "expected 6 n + 4"));
  CHECK(contains(error_of("densenet-41-12"), "expected 3 n + 4"));
  CHECK(contains(error_of("resnet21"), "expected 6 n + 2"));
  CHECK(contains(error_of("sparsenet-abc:width=3"), "expected one of blocks, k, attention"));
  CHECK(contains(error_of("densenet-bc-100-12:path=3"), "found 'path'"));
  CHECK(contains(error_of("resnet20:k=3"), "expected one of classes, bn-eps, image-size"));
  CHECK(contains(error_of("resnet20:shortcut=identity"), "shortcut: expected pad or conv, found 'identity'"));
  CHECK(contains(error_of("sparsenet-abc-v0:shortcut=conv"), "found 'shortcut'"));
  CHECK(contains(error_of("sparsenet-basic:pre-relu=0"), "found 'pre-relu'"));
  CHECK(contains(error_of("sparsenet-abc:keep=7-8"), "F + N = path = 14, found '7-8'"));
  CHECK(contains(error_of("sparsenet-abc:keep=7"), "expected F-N"));
  CHECK(contains(error_of("sparsenet-abc:k"), "expected KEY=VALUE"));
  CHECK(contains(error_of("sparsenet-abc:"), "expected KEY=VALUE"));
  CHECK(contains(error_of("sparsenet-abc:k=3,k=4"), "given twice"));
  CHECK(contains(error_of("sparsenet-abc:k=-3"), "found '-3'"));
  CHECK(contains(error_of("sparsenet-abc:k=99999999999"), "found '99999999999'"));
  CHECK(contains(error_of("sparsenet-abc:k=0"), "k: expected 1 to"));
  CHECK(contains(error_of("sparsenet-abc:blocks=8--16"), "blocks"));
  CHECK(contains(error_of("sparsenet-abc:blocks=8-0"), "1 or more layers"));
  CHECK(contains(error_of("sparsenet-abc:attention=gold"), "paper, se or none"));
  CHECK(contains(error_of("sparsenet-abc:bn-eps=nan"), "bn-eps"));
  CHECK(contains(error_of("sparsenet-abc:bn-eps=0"), "bn-eps"));
  CHECK(contains(error_of("sparsenet-abc:classes=0"), "classes"));
  CHECK(contains(error_of("sparsenet-abc:image-size=3"), "2 halvings"));
  CHECK(contains(error_of("sparsenet-abc:k=4096,blocks=1000"), "too large"));
  CHECK(contains(error_of(std::string("sparsenet-abc\n\x1b[2J")), "found"));
  CHECK_FALSE(error_of("").empty());
  CHECK_FALSE(error_of(std::string(100000, 'x')).empty());
  Architecture by_hand;
  by_hand.keep_near = 100;
  CHECK_FALSE(build_graph(by_hand).ok());
}

TEST_CASE("constants carry the reference names in the reference order") {
  const Names names = constant_names(build("sparsenet-abc-v0"));
  const Names start{"stem.weight",
                    "stem.bias",
                    "block0.layers.0.bn0.weight",
                    "block0.layers.0.bn0.bias",
                    "block0.layers.0.bn0.running_mean",
                    "block0.layers.0.bn0.running_var",
                    "block0.layers.0.conv0.weight",
                    "block0.layers.0.conv0.bias",
                    "block0.layers.0.bn1.weight",
                    "block0.layers.0.bn1.bias",
                    "block0.layers.0.bn1.running_mean",
                    "block0.layers.0.bn1.running_var",
                    "block0.layers.0.conv1.weight",
                    "block0.layers.0.conv1.bias",
                    "block0.layers.0.att.bn1.weight",
                    "block0.layers.0.att.bn1.bias",
                    "block0.layers.0.att.bn1.running_mean",
                    "block0.layers.0.att.bn1.running_var",
                    "block0.layers.0.att.conv1.weight",
                    "block0.layers.0.att.conv1.bias",
                    "block0.layers.0.att.bn2.weight",
                    "block0.layers.0.att.bn2.bias",
                    "block0.layers.0.att.bn2.running_mean",
                    "block0.layers.0.att.bn2.running_var",
                    "block0.layers.0.att.conv2.weight",
                    "block0.layers.0.att.conv2.bias",
                    "block0.layers.1.bn0.weight"};
  REQUIRE(names.size() > start.size());
  CHECK(Names(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(start.size())) == start);
  const Names end{"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "fc.weight", "fc.bias"};
  CHECK(Names(names.end() - 6, names.end()) == end);
  // 18 layers of 24 tensors, two transitions of 6, stem, head.
  CHECK(names.size() == 18 * 24 + 2 * 6 + 2 + 6);
  const Graph graph = build("sparsenet-abc-v0");
  CHECK(find(graph, "trans0.0.running_var").shape == Shape{48});
  CHECK(find(graph, "trans0.2.weight").shape == Shape{32, 48, 1, 1});
  CHECK(find(graph, "trans1.2.weight").shape == Shape{48, 72, 1, 1});
  CHECK(find(graph, "fc.weight").shape == Shape{10, 72});
  CHECK(find(graph, "input").shape == Shape{1, 3, 32, 32});
  CHECK(graph.value(graph.outputs[0]).name == "logits");
}

TEST_CASE("layers read the newest group first, and the keep rule drops as the reference does") {
  const Graph graph = build("sparsenet-abc-v0");
  CHECK(inputs_of(graph, "block0.layers.2.concat") ==
        Names{"block0.layers.1.att.add", "block0.layers.0.att.add", "stem.relu"});
  CHECK(inputs_of(graph, "block1.layers.1.concat") ==
        Names{"block1.layers.0.att.add", "block1.split.0", "block1.split.1", "block1.split.2"});
  CHECK(inputs_of(graph, "block2.layers.4.concat") ==
        Names{"block2.layers.3.att.add", "block2.layers.2.att.add", "block2.layers.1.att.add",
              "block2.layers.0.att.add", "block2.split.0", "block2.split.2", "block2.split.3", "block2.split.4"});
  CHECK(inputs_of(graph, "concat") == Names{"block2.layers.7.att.add", "block2.layers.6.att.add",
                                            "block2.layers.5.att.add", "block2.layers.4.att.add",
                                            "block2.layers.3.att.add", "block2.split.2", "block2.split.3",
                                            "block2.split.4"});
  CHECK(inputs_of(graph, "block0.layers.0.att.concat") ==
        Names{"block0.layers.0.att.conv1", "block0.layers.0.att.pool"});
  // All near: the oldest is dropped, the 2k-wide one first. All far: only the newest changes.
  CHECK(inputs_of(build("sparsenet-bc:blocks=4,k=8,path=2,keep=0-2"), "concat") ==
        Names{"block0.layers.3.conv1", "block0.layers.2.conv1", "block0.layers.1.conv1"});
  CHECK(inputs_of(build("sparsenet-bc:blocks=4,k=8,path=2,keep=2-0"), "concat") ==
        Names{"block0.layers.3.conv1", "block0.layers.0.conv1", "stem.relu"});
  CHECK(build("sparsenet-basic:blocks=4-4-4,k=4,path=1,keep=0-1").shape(0) == Shape{1, 3, 32, 32});
}

TEST_CASE("nothing is dropped in a DenseNet, and nothing split") {
  const Graph graph = build("densenet-bc-22-4");
  for (const Node& node : graph.nodes) CHECK(node.op != Op::kSplit);
  CHECK(inputs_of(graph, "concat").size() == 4);
  CHECK(inputs_of(graph, "concat").back() == "trans1.3");
}

TEST_CASE("variants") {
  CHECK_FALSE(has_node(build("sparsenet-abc-v0:pre-relu=0"), "block0.layers.0.relu0"));
  CHECK(has_node(build("sparsenet-abc-v0"), "block0.layers.0.relu0"));
  CHECK_FALSE(has_node(build("sparsenet-abc-v0:attention=none"), "block0.layers.0.att.pool"));
  CHECK(build("sparsenet-abc-v0:attention=none").parameter_count() == 82346);
  const Graph se = build("sparsenet-abc-v1:attention=se");
  CHECK(find(se, "block0.layers.0.att.fc1.weight").shape == Shape{2, 16});
  CHECK(find(se, "block0.layers.0.att.fc2.weight").shape == Shape{16, 2});
  CHECK(find(se, "block0.layers.0.att.mul").shape == Shape{1, 16, 32, 32});
  Graph large = build("sparsenet-abc:stem=imagenet,classes=1000,k=8");
  CHECK(large.shape(large.inputs[0]) == Shape{1, 3, 224, 224});
  CHECK(find(large, "stem").shape == Shape{1, 16, 112, 112});
  CHECK(find(large, "stem.pool").shape == Shape{1, 16, 56, 56});
  CHECK(find(large, "trans2.3").shape[2] == 7);
  CHECK(large.shape(large.outputs[0]) == Shape{1, 1000});
  CHECK(find(build("sparsenet-abc-v0:image-size=64"), "pool").shape == Shape{1, 72, 1, 1});
}

TEST_CASE("ResNet has option A shortcuts and the names of its PyTorch form") {
  const Graph graph = build("resnet20");
  const Names names = constant_names(graph);
  CHECK(Names(names.begin(), names.begin() + 7) == Names{"conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean",
                                                         "bn1.running_var", "layer1.0.conv1.weight",
                                                         "layer1.0.bn1.weight"});
  CHECK(names.back() == "linear.bias");
  CHECK(inputs_of(graph, "layer2.0.shortcut.slice") == Names{"layer1.2.relu2"});
  CHECK(find(graph, "layer2.0.shortcut.slice").shape == Shape{1, 16, 16, 16});
  CHECK(find(graph, "layer2.0.shortcut.pad").shape == Shape{1, 32, 16, 16});
  for (const Node& node : graph.nodes) {
    if (node.op == Op::kConv) CHECK(node.inputs.size() == 2);  // no bias
    if (node.name != "layer3.0.shortcut.pad") continue;
    CHECK(std::get<PadAttrs>(node.attrs).before == std::vector<int64_t>{0, 16, 0, 0});
    CHECK(std::get<PadAttrs>(node.attrs).after == std::vector<int64_t>{0, 16, 0, 0});
  }
  CHECK(build("resnet110").parameter_count() == 1727962);
}

TEST_CASE("ResNet with convolutions in its shortcuts, in the order of its PyTorch form") {
  const Result<Architecture> arch = parse_architecture("resnet20:shortcut=conv,classes=7");
  REQUIRE(arch.ok());
  CHECK(arch->shortcut == Architecture::Shortcut::kConv);
  CHECK(to_string(*parse_architecture(to_string(*arch))) == to_string(*arch));
  CHECK(to_string(*parse_architecture("resnet20:shortcut=pad")) == to_string(*parse_architecture("resnet20")));
  const Graph graph = build("resnet20:shortcut=conv");
  const Names names = constant_names(graph);
  const auto at = std::find(names.begin(), names.end(), "layer2.0.bn2.running_var");
  REQUIRE(names.end() - at > 6);
  CHECK(Names(at + 1, at + 7) == Names{"layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.weight",
                                       "layer2.0.shortcut.1.bias", "layer2.0.shortcut.1.running_mean",
                                       "layer2.0.shortcut.1.running_var", "layer2.1.conv1.weight"});
  CHECK(inputs_of(graph, "layer2.0.shortcut.0") == Names{"layer1.2.relu2", "layer2.0.shortcut.0.weight"});
  CHECK(find(graph, "layer2.0.shortcut.0.weight").shape == Shape{32, 16, 1, 1});
  CHECK(find(graph, "layer3.0.shortcut.1").shape == Shape{1, 64, 8, 8});
  CHECK(inputs_of(graph, "layer3.0.add") == Names{"layer3.0.bn2", "layer3.0.shortcut.1"});
  for (const char* depth : {"32", "44", "56", "110"}) {
    const std::string name = "resnet" + std::string(depth);
    CHECK(build(name + ":shortcut=conv").parameter_count() == build(name).parameter_count() + 2752);
  }
}

TEST_CASE("initial weights: the recipe's distribution, the same bits for the same seed") {
  const Graph a = build("sparsenet-abc-v0", 7), b = build("sparsenet-abc-v0", 7), c = build("sparsenet-abc-v0", 8);
  REQUIRE(a.values.size() == b.values.size());
  for (size_t i = 0; i < a.values.size(); ++i) {
    const Value& value = a.values[i];
    if (!value.is_constant) continue;
    CHECK(std::memcmp(value.constant.data, b.values[i].constant.data, value.constant.bytes()) == 0);
    const bool drawn = value.shape.size() > 1;  // weights; vectors have fixed values
    CHECK((std::memcmp(value.constant.data, c.values[i].constant.data, value.constant.bytes()) != 0) == drawn);
    if (drawn) continue;
    const bool one = contains(value.name, "running_var") ||
                     (contains(value.name, "bn") && contains(value.name, ".weight")) ||
                     value.name == "trans0.0.weight" || value.name == "trans1.0.weight";
    CAPTURE(value.name);
    CHECK(value.constant.f32()[0] == (one ? 1.f : 0.f));
  }
  // Another number of classes does not change the other weights.
  const Graph wide = build("sparsenet-abc-v0:classes=100", 7);
  CHECK(find(wide, "stem.weight").constant.f32()[5] == find(a, "stem.weight").constant.f32()[5]);

  // [64, 256, 3, 3]: standard deviation sqrt(2 / (3 3 64))
  const Graph large = build("sparsenet-basic:blocks=5,k=64,path=7", 1);
  const Tensor& weight = find(large, "block0.layers.2.conv1.weight").constant;
  REQUIRE(weight.shape == Shape{64, 256, 3, 3});
  double sum = 0, squares = 0, fourth = 0;
  const auto n = static_cast<double>(weight.elements());
  for (int64_t i = 0; i < weight.elements(); ++i) {
    const double v = weight.f32()[i];
    sum += v;
    squares += v * v;
    fourth += v * v * v * v;
  }
  const double variance = squares / n;
  CHECK(std::abs(sum / n) < 4 * std::sqrt(variance / n));
  CHECK(variance == doctest::Approx(2.0 / (9 * 64)).epsilon(4 * std::sqrt(2 / n)));
  CHECK(fourth / n / variance / variance == doctest::Approx(3.0).epsilon(0.03));  // a normal distribution's kurtosis
}
