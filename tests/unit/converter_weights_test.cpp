// Weights without a graph: what the pickle reader rejects, name rules, and the matching that never guesses.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>

#include <algorithm>

#include "converter/convert.h"
#include "converter/io/npy.h"
#include "converter/weights/matching.h"
#include "converter/weights/pickle.h"
#include "converter/weights/readers.h"
#include "support/architecture_graph.h"
#include "support/imported.h"

namespace sparsenet::converter {
namespace {

Result<Pickle> read(const std::string& text) {
  return read_pickle(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// A literal that contains zero bytes.
template <size_t N>
std::string literal(const char (&text)[N]) {
  return std::string(text, N - 1);
}

Graph tiny_graph() {
  return test::graph_of("sparsenet-basic:blocks=1-1,k=3,path=1,classes=4");
}

// The constants of a graph as a file would contain them, with elements that tell where they came from.
SourceTensors tensors_of(const Graph& graph) {
  SourceTensors source;
  float next = 1;
  for (const Value& value : graph.values) {
    if (!value.is_constant) continue;
    SourceTensor tensor;
    tensor.name = value.name;
    tensor.shape = value.shape;
    tensor.values.assign(static_cast<size_t>(element_count(value.shape)), next);
    next += 1;
    source.tensors.push_back(std::move(tensor));
  }
  return source;
}

void check_all_in_place(const Graph& graph) {
  float next = 1;
  for (const Value& value : graph.values) {
    if (!value.is_constant) continue;
    CAPTURE(value.name);
    CHECK(value.constant.f32()[0] == next);
    CHECK(value.constant.shape == value.shape);
    next += 1;
  }
}

NameRules rules(const std::string& text) {
  Result<NameRules> parsed = NameRules::load(text);
  REQUIRE_MESSAGE(parsed.ok(), parsed.status().message());
  return std::move(parsed).value();
}

TEST_CASE("pickle: containers and numbers") {
  // {'a': (1, -2, True, None, [3.5])}
  const Result<Pickle> pickle =
      read(literal("\x80\x02}q\x00X\x01\x00\x00\x00"
                   "a(K\x01J\xfe\xff\xff\xff\x88N]G\x40\x0c\x00\x00\x00\x00\x00\x00"
                   "ats."));
  REQUIRE_MESSAGE(pickle.ok(), pickle.status().message());
  const PickleValue* tuple = pickle->find(pickle->at(pickle->root), "a");
  REQUIRE(tuple);
  REQUIRE(tuple->items.size() == 5);
  CHECK(pickle->at(tuple->items[0]).integer == 1);
  CHECK(pickle->at(tuple->items[1]).integer == -2);
  CHECK(pickle->at(pickle->at(tuple->items[4]).items[0]).number == 3.5);
}

TEST_CASE("pickle: whatever could run code is refused by name") {
  for (const char* text : {"\x80\x02"
                           "cos\nsystem\n(X\x02\x00\x00\x00lstR.",
                           "\x80\x02"
                           "cbuiltins\neval\n.",
                           "\x80\x02"
                           "ctorch.storage\n_load_from_bytes\n.",
                           "\x80\x02"
                           "c__builtin__\ngetattr\n."}) {
    const Result<Pickle> pickle = read(text);
    REQUIRE(!pickle.ok());
    CHECK(pickle.status().message().find("the file asks for '") != std::string::npos);
  }
  CHECK(read("\x80\x02"
             "cos\nsystem\n.")
            .status()
            .message()
            .find("'os.system'") != std::string::npos);
}

TEST_CASE("pickle: damage is told, not followed") {
  for (const char* text : {"",
                           ".",
                           "t.",
                           "(",
                           "\x80\x02",
                           "h\x05.",
                           "R.",
                           "}K\x01u.",
                           "}(K\x01u.",
                           "K\x01s.",
                           "K\x01K\x02R.",
                           "\x80\x09N.",
                           "q\x01.",
                           "0.",
                           "1.",
                           "\x85.",
                           "Qb.",
                           "]K\x01"
                           "b.",
                           "?",
                           "i",
                           "\x8b\xff\xff\xff\xff",
                           "X\xff\xff\xff\xff"
                           "a"}) {
    CHECK(!read(text).ok());
  }
  // A list that contains itself, and endless nesting: no recursion anywhere.
  CHECK(read("]q\x01h\x01"
             "a.")
            .ok());
  CHECK(read(std::string(1000000, ']') + ".").ok());
  CHECK(!read(std::string(5000000, ']') + ".").ok());
}

// An old-format file with one tensor 'w' [2, 2] on a storage of `elements`, with given offset and strides.
std::string legacy_file(uint64_t elements, uint8_t offset, uint8_t rows, uint8_t columns, uint8_t row_stride,
                        uint8_t column_stride) {
  const std::string two = "\x80\x02";
  std::string file =
      two + "\x8a\x0a" + literal("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + "." + two + "M\xe9\x03." + two + "}.";
  const auto number = [](uint8_t v) { return std::string("K") + static_cast<char>(v); };
  file += two + "}X" + literal("\x01\x00\x00\x00w") + "ctorch._utils\n_rebuild_tensor_v2\n((X" +
          literal("\x07\x00\x00\x00storage") + "ctorch\nFloatStorage\nX" + literal("\x01\x00\x00\x00k") + "X" +
          literal(
              "\x03\x00\x00\x00"
              "cpu") +
          number(4) + "NtQ" + number(offset) + number(rows) + number(columns) + "\x86" + number(row_stride) +
          number(column_stride) + "\x86" + "\x89" + "}tRs.";
  file += two + "]X" + literal("\x01\x00\x00\x00k") + "a.";
  for (int i = 0; i < 8; ++i) file += static_cast<char>(elements >> (8 * i));
  const float values[] = {1, 2, 3, 4};
  file.append(reinterpret_cast<const char*>(values), sizeof values);
  return file;
}

Result<SourceTensors> read_legacy(const std::string& file) {
  return read_torch(reinterpret_cast<const uint8_t*>(file.data()), file.size());
}

TEST_CASE("torch: strides and storage bounds") {
  const Result<SourceTensors> plain = read_legacy(legacy_file(4, 0, 2, 2, 2, 1));
  REQUIRE_MESSAGE(plain.ok(), plain.status().message());
  CHECK(plain->tensors[0].values == std::vector<float>{1, 2, 3, 4});
  const Result<SourceTensors> flipped = read_legacy(legacy_file(4, 0, 2, 2, 1, 2));
  REQUIRE(flipped.ok());
  CHECK(flipped->tensors[0].values == std::vector<float>{1, 3, 2, 4});
  const Result<SourceTensors> part = read_legacy(legacy_file(4, 1, 1, 3, 200, 1));
  REQUIRE(part.ok());
  CHECK(part->tensors[0].values == std::vector<float>{2, 3, 4});
  CHECK(!read_legacy(legacy_file(4, 1, 2, 2, 2, 1)).ok());    // one element too far
  CHECK(!read_legacy(legacy_file(4, 0, 2, 2, 255, 1)).ok());  // far too far
  CHECK(!read_legacy(legacy_file(5, 0, 2, 2, 2, 1)).ok());    // storage longer than the file
  CHECK(!read_legacy(legacy_file(UINT64_MAX / 2, 0, 2, 2, 2, 1)).ok());
  CHECK(!read_legacy(legacy_file(3, 0, 2, 2, 2, 1)).ok());
}

TEST_CASE("safetensors: the header's ranges are checked") {
  const auto make = [](const std::string& header, size_t data) {
    std::string file;
    for (int i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> (8 * i));
    return file + header + std::string(data, '\0');
  };
  const auto read_text = [](const std::string& file) {
    return read_safetensors(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  };
  CHECK(read_text(make(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8)).ok());
  for (
      const char* header :
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})",
       R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
       R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})",
       R"({"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}})",
       R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}})", R"([1])", R"({})",
       "nonsense"}) {
    CAPTURE(header);
    CHECK(!read_text(make(header, 8)).ok());
  }
  CHECK(!read_text(make(std::string(100000, '['), 0)).ok());
}

TEST_CASE("name rules") {
  const NameRules r = rules("# a comment;conv_(\\d+)\\.(.*)=layer$1.$2;  old\\..*=");
  CHECK(r.size() == 2);
  std::string target;
  CHECK(r.apply("conv_12.weight", &target) == 1);
  CHECK(target == "layer12.weight");
  CHECK(r.apply("xconv_12.weight", &target) == 0);
  CHECK(r.apply("old.thing", &target) == 2);
  CHECK(target.empty());
  CHECK(!NameRules::load("(=x").ok());
  CHECK(!NameRules::load("no separator, no file").ok());
  CHECK(!NameRules::load("=x").ok());
}

TEST_CASE("matching by name, prefix and rule") {
  Graph graph = tiny_graph();
  SourceTensors source = tensors_of(graph);
  SourceTensor counter;
  counter.name = "bn.num_batches_tracked";
  counter.type = ElementType::kInt64;
  source.tensors.push_back(counter);
  for (size_t i = 0; i < source.tensors.size(); ++i)
    source.tensors[i].name = (i % 2 ? "module." : "model.module.") + source.tensors[i].name;
  Report report;
  SUBCASE("prefixes") {
    match_weights(source, NameRules(), &graph, &report);
  }
  SUBCASE("in another order") {
    source.ordered = false;
    std::reverse(source.tensors.begin(), source.tensors.end());
    match_weights(source, NameRules(), &graph, &report);
  }
  SUBCASE("rules") {
    for (SourceTensor& tensor : source.tensors)
      tensor.name = "net/" + tensor.name.substr(tensor.name.find("module.") + 7);
    SourceTensor head;
    head.name = "net/auxiliary";
    head.shape = {7};
    head.values.assign(7, 0.f);
    source.tensors.push_back(head);
    match_weights(source, rules("net/auxiliary=;net/(.*)=$1"), &graph, &report);
  }
  CHECK_MESSAGE(report.problems.empty(), test::problems_of(report));
  check_all_in_place(graph);
}

Graph graph_of(const std::string& architecture) {
  const Result<Architecture> arch = parse_architecture(architecture);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  Result<Graph> graph = build_graph(*arch, 1);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(graph).value();
}

TEST_CASE("matching by the names of other implementations, where the order tells nothing") {
  Graph graph = graph_of("resnet8:shortcut=conv");
  SourceTensors source = tensors_of(graph);
  for (SourceTensor& tensor : source.tensors) {
    const size_t shortcut = tensor.name.find(".shortcut.");
    if (shortcut != std::string::npos) tensor.name.replace(shortcut, 10, ".downsample.");
    if (tensor.name.rfind("linear.", 0) == 0) tensor.name.replace(0, 6, "fc");
    tensor.name = "module." + tensor.name;
  }
  source.ordered = false;
  std::reverse(source.tensors.begin(), source.tensors.end());
  Report report;
  match_weights(source, NameRules(), &graph, &report);
  CHECK_MESSAGE(report.problems.empty(), test::problems_of(report));
  check_all_in_place(graph);
  size_t shortcuts = 0, heads = 0;
  for (const TensorRecord& record : report.tensors) {
    shortcuts += record.how == "name, shortcut for downsample";
    heads += record.how == "name, linear for fc";
  }
  CHECK(shortcuts == 10);
  CHECK(heads == 2);
}

TEST_CASE("tensors of layers that the architecture lacks are told as that, and dropping them warns") {
  const SourceTensors source = tensors_of(graph_of("resnet8:shortcut=conv"));
  Graph graph = graph_of("resnet8");
  Report refused;
  match_weights(source, NameRules(), &graph, &refused);
  CHECK(refused.problems.size() == 10);
  CHECK(test::problems_of(refused).find(
            "tensor 'layer2.0.shortcut.0.weight': a parameter of a layer that the architecture does "
            "not have") != std::string::npos);
  CHECK(test::problems_of(refused).find("drop it") == std::string::npos);
  CHECK(refused.warnings.empty());

  Report dropped;
  match_weights(source, rules(".*shortcut.*="), &graph, &dropped);
  CHECK_MESSAGE(dropped.problems.empty(), test::problems_of(dropped));
  REQUIRE(dropped.warnings.size() == 1);
  CHECK(dropped.warnings[0].find("drops 10 tensors that look like parameters of layers, the first: "
                                 "'layer2.0.shortcut.0.weight' [32, 16, 1, 1]") != std::string::npos);
  CHECK(to_json(dropped).find("another network") != std::string::npos);
}

TEST_CASE("what is no layer's parameter may be dropped without a warning") {
  Graph graph = tiny_graph();
  SourceTensors source = tensors_of(graph);
  SourceTensor extra;
  extra.name = "ema.decay";
  extra.shape = {1};
  extra.values.assign(1, 0.9f);
  source.tensors.push_back(extra);
  Report refused;
  match_weights(source, NameRules(), &graph, &refused);
  CHECK(test::problems_of(refused).find("drop it with the rule") != std::string::npos);
  Report dropped;
  match_weights(source, rules("ema\\..*="), &graph, &dropped);
  CHECK(dropped.problems.empty());
  CHECK(dropped.warnings.empty());
}

TEST_CASE("matching by order and shape") {
  Graph graph = tiny_graph();
  SourceTensors source = tensors_of(graph);
  Report report;
  for (size_t i = 0; i < source.tensors.size(); ++i) source.tensors[i].name = "tensor" + std::to_string(i);
  SUBCASE("complete and in order: one way") {
    match_weights(source, NameRules(), &graph, &report);
    CHECK_MESSAGE(report.problems.empty(), test::problems_of(report));
    check_all_in_place(graph);
    for (const TensorRecord& record : report.tensors) CHECK(record.how == "order and shape");
  }
  SUBCASE("one tensor more of a shape that is there twice: not unique") {
    source.tensors.insert(source.tensors.begin() + 3, source.tensors[2]);
    source.tensors[3].name = "another";
    match_weights(source, NameRules(), &graph, &report);
    CHECK(test::problems_of(report).find("more than one way") != std::string::npos);
  }
  SUBCASE("one tensor less") {
    source.tensors.erase(source.tensors.begin() + 4);
    match_weights(source, NameRules(), &graph, &report);
    CHECK(!report.problems.empty());
  }
  SUBCASE("a format without an order: only shapes that occur once are placed") {
    source.ordered = false;
    match_weights(source, NameRules(), &graph, &report);
    CHECK(!report.problems.empty());
  }
  SUBCASE("names that tell another role stand against the order") {
    // PyTorch's order is weight, bias, mean, variance; alphabetical order is not.
    const auto find_bn = [&] {
      for (const Node& node : graph.nodes) {
        if (node.op == Op::kBatchNorm) return node;
      }
      return Node{};
    };
    const Node bn = find_bn();
    REQUIRE(bn.inputs.size() == 5);
    size_t at = 0;
    for (size_t i = 0; i < static_cast<size_t>(bn.inputs[1]); ++i) at += graph.values[i].is_constant;
    const char* const kNames[] = {"x.bias", "x.running_mean", "x.running_var", "x.weight"};
    for (size_t i = 0; i < 4; ++i) source.tensors[at + i].name = kNames[i];
    match_weights(source, NameRules(), &graph, &report);
    CHECK(!report.problems.empty());
  }
}

TEST_CASE("matching tells everything that does not fit, and changes nothing") {
  Graph graph = tiny_graph();
  SourceTensors source = tensors_of(graph);
  const std::string first = source.tensors[0].name, last = source.tensors.back().name;
  source.tensors[0].shape.push_back(1);
  source.tensors.back().name = "surplus.thing";
  source.tensors.back().shape = {99};
  source.tensors.back().values.assign(99, 0.f);
  Report report;
  match_weights(source, NameRules(), &graph, &report);
  const std::string text = test::problems_of(report);
  CHECK(text.find("'" + first + "'") != std::string::npos);
  CHECK(text.find("'" + last + "'") != std::string::npos);
  CHECK(text.find("'surplus.thing'") != std::string::npos);
  CHECK(report.tensors.size() == source.tensors.size() + 1);  // all of the file, and the empty constant
  bool untouched = true;
  for (const Value& value : graph.values)
    untouched = untouched && (!value.is_constant || value.constant.f32()[0] != 2.f || value.constant.elements() < 2);
  CHECK(untouched);
}

TEST_CASE("matching: a rule that leads nowhere, and two tensors for one constant") {
  Graph graph = tiny_graph();
  const SourceTensors source = tensors_of(graph);
  Report nowhere;
  match_weights(source, rules("stem\\.bias=no.such.thing"), &graph, &nowhere);
  CHECK(test::problems_of(nowhere).find("'no.such.thing', which the architecture does not have") != std::string::npos);
  Report twice;
  match_weights(source, rules("bn\\.weight=bn.bias"), &graph, &twice);
  CHECK(test::problems_of(twice).find("already filled by") != std::string::npos);
}

TEST_CASE("half, bfloat and integer elements") {
  CHECK(half_to_float(0x3c00) == 1.f);
  CHECK(half_to_float(0xc000) == -2.f);
  CHECK(half_to_float(0x0001) == 5.9604644775390625e-8f);
  CHECK(half_to_float(0x03ff) == 6.097555160522461e-05f);
  CHECK(half_to_float(0x7bff) == 65504.f);
  CHECK(half_to_float(0x7c00) > 3e38f);
  CHECK(bfloat16_to_float(0x3f80) == 1.f);
  const uint8_t minus_one[] = {255, 255, 255, 255, 255, 255, 255, 255};
  CHECK(load_int(ElementType::kInt16, minus_one) == -1);
  CHECK(load_int(ElementType::kUInt16, minus_one) == 65535);
  CHECK(load_int(ElementType::kUInt64, minus_one) == INT64_MAX);
}

}  // namespace
}  // namespace sparsenet::converter
