// What the converter reports on failure: one line per cause, with a count, the first of its problems and the remedy,
// and every problem in the report.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "converter/convert.h"
#include "converter/importers.h"
#include "converter/weights/matching.h"
#include "converter/weights/readers.h"
#include "converter/weights/recognise.h"
#include "support/architecture_graph.h"
#include "support/imported.h"

namespace sparsenet::converter {
namespace {

using test::import_file;
using test::OnnxFile;

std::vector<std::string> lines_of(const Report& report) {
  std::vector<std::string> lines;
  for (const ProblemGroup& group : grouped_problems(report)) lines.push_back(group.line);
  return lines;
}

std::string text_of(const Report& report) {
  std::string text;
  for (const std::string& line : lines_of(report)) text += line + "\n";
  return text;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("messages: problems that differ in names and numbers are one line") {
  Report report;
  report.problem("Elu 'a'", "this operator is not supported");
  report.problem("Mish 'b'", "this operator is not supported");
  report.problem("Elu 'c'", "this operator is not supported");
  report.problem("tensor 'x'", "expected [1, 2] for 'y', found 3");
  report.problem("tensor 'z'", "expected [4] for 'w', found 56");
  CHECK(lines_of(report) == std::vector<std::string>{"Elu 'a' (the first of 2): this operator is not supported",
                                                     "Mish 'b': this operator is not supported",
                                                     "tensor 'x' (the first of 2): expected [1, 2] for 'y', found 3"});
  const auto json = nlohmann::json::parse(to_json(report), nullptr, false);
  CHECK(json["problems"].size() == 5);
  REQUIRE(json["causes"].size() == 3);
  CHECK(json["causes"][0]["count"] == 2);
  CHECK(json["causes"][0]["first"] == "Elu 'a'");
  CHECK(json["causes"][0]["problems"] == std::vector<int>{0, 2});
}

TEST_CASE("messages: a declared cause takes its problems together, and notes of one kind are one line") {
  Report report;
  const Cause cause{"the sky is falling", "go inside", "clouds"};
  report.problem("cloud 'a'", "it is low", report.cause(cause));
  report.problem("tree 'b'", "it is high");
  report.problem("bird 'c'", "", report.cause(cause));
  CHECK(report.causes.size() == 1);
  CHECK(lines_of(report) ==
        std::vector<std::string>{"the sky is falling (2 clouds, the first: cloud 'a': it is low): go inside",
                                 "tree 'b': it is high"});
  CHECK(to_line(report.problems[2]) == "bird 'c'");
  for (const char* name : {"a", "b", "c"}) report.note(std::string("tensor '") + name + "' converted");
  report.note("and something else");
  CHECK(grouped_notes(report) ==
        std::vector<std::string>{"tensor 'a' converted (and 2 more like it)", "and something else"});
}

TEST_CASE("messages: onnx: quantised operators that are not supported are one cause, with the way out") {
  OnnxFile file(13);
  file.zeros("wq", {4, 3, 1, 1}, OnnxFile::kUInt8, 1).input("x", {1, 3, 8, 8}).output("y").output("z");
  SUBCASE("scales that are computed while the network runs") {
    file.named("DynamicQuantizeLinear", "d", {"x"}, {"xq", "s", "zero"});
    file.named("ConvInteger", "c", {"xq", "wq", "zero"}, {"y"}).named("MatMulInteger", "m", {"xq", "wq"}, {"z"});
    const Report report = import_file(file).report;
    CHECK(report.problems.size() == 3);
    CHECK(text_of(report) ==
          "the network computes its scales while it runs (3 nodes, the first: DynamicQuantizeLinear 'd'): quantise it "
          "with fixed ones (in ONNX Runtime: quantize_static), or give the float network\n");
  }
  SUBCASE("operators that have no other form here") {
    file.named("QLinearWhere", "w", {"x", "wq"}, {"y"}, "com.microsoft");
    file.named("QAttention", "a", {"x", "wq"}, {"z"}, "com.microsoft");
    CHECK(
        text_of(import_file(file).report) ==
        "the network has quantised operators that are not supported (2 nodes, the first: QLinearWhere 'w'): quantise "
        "it to QuantizeLinear and DequantizeLinear around float operators (in ONNX Runtime: QuantFormat.QDQ), or give "
        "the float network\n");
  }
}

TEST_CASE("messages: onnx: one missing file of data is one line, and no node behind it a problem") {
  OnnxFile file(13);
  for (const char* name : {"w1", "w2"}) file.outside(name, {3, 3, 1, 1}, "no-such.data");
  file.outside("v", {3}, "no-such.data").input("x", {1, 3, 8, 8}).output("y");
  file.named("Conv", "c1", {"x", "w1"}, {"a"}).named("Conv", "c2", {"a", "w2"}, {"b"});
  file.named("Shape", "shape", {"b"}, {"s"}).named("Gather", "gather", {"s", "s"}, {"g"});
  file.named("Cast", "cast", {"g"}, {"gc"}, "", {{"to", 7}}).named("Sqrt", "sqrt", {"v"}, {"sv"});
  file.named("NonZero", "nonzero", {"sv"}, {"nz"}).named("Relu", "relu", {"b"}, {"y"});
  const Report report = import_file(file, {}, ".").report;
  CHECK(report.problems.size() == 3);
  CHECK(text_of(report) ==
        "tensor 'w1' (the first of 3): its data lie in a file of their own, 'no-such.data', which is not in the "
        "model's folder: put it there\n");
  REQUIRE_FALSE(report.notes.empty());
  CHECK(contains(report.notes.back(), "nodes behind the problems"));
}

TEST_CASE("messages: onnx: operators behind a failure are told, also where no shape is declared") {
  OnnxFile file(13);
  file.zeros("w", {3, 3, 2, 2}).zeros("k", {5, 4, 1, 1}).input("x", {1, 3, 8, 8}).output("y").output("wrong");
  file.named("Shrink", "keeps its shape", {"x"}, {"a"}).named("Conv", "of four channels", {"a", "k"}, {"wrong"});
  file.named("DeformConv", "of any shape", {"a", "w"}, {"b"}).named("Sinh", "behind", {"b"}, {"c"});
  file.named("Cosh", "further behind", {"c"}, {"d"}).named("Whatever", "of ours", {"d"}, {"e"}, "our.domain");
  file.named("Relu", "fine", {"e"}, {"y"});
  const std::string text = text_of(import_file(file).report);
  for (const char* part :
       {"Shrink 'keeps its shape'", "Conv 'of four channels'", "DeformConv 'of any shape'", "Sinh 'behind'",
        "Cosh 'further behind'", "operators of domain 'our.domain' are not supported (Whatever 'of ours')"}) {
    INFO(text);
    CHECK(contains(text, part));
  }
  CHECK_FALSE(contains(text, "Relu"));
  CHECK_FALSE(contains(text, "Conv 'of four channels': Conv"));  // the node is named only once
}

TEST_CASE("messages: onnx: operators of ONNX Runtime's own are one cause") {
  OnnxFile file(13);
  file.input("x", {1, 3, 8, 8}).output("y").named("FusedConv", "c", {"x"}, {"a"}, "com.microsoft");
  const Report report = import_file(file.named("FusedGelu", "g", {"a"}, {"y"}, "com.microsoft")).report;
  CHECK(lines_of(report).size() == 1);
  CHECK(contains(text_of(report), "2 nodes, the first: FusedConv 'c'"));
  CHECK(contains(text_of(report), "give the file as it was exported"));
}

TEST_CASE("messages: element types have names") {
  OnnxFile file(13);
  file.zeros("t", {2}, OnnxFile::kString, 1).zeros("u", {2}, 23, 1).zeros("v", {2}, 99, 1);
  const Report report =
      import_file(file.input("x", {1, 3}, OnnxFile::kString).output("y").node("Relu", {"x"}, {"y"})).report;
  std::string all;
  for (const Problem& problem : report.problems) all += to_line(problem) + "\n";
  INFO(all);
  CHECK(contains(all, "'t': expected floats, integers or booleans, found element type string"));
  CHECK(contains(all, "'u': expected floats, integers or booleans, found element type float4e2m1"));
  CHECK(contains(all, "'v': expected floats, integers or booleans, found element type number 99"));
  CHECK(contains(all, "input 'x': expected"));
  CHECK_FALSE(contains(all, "type 8"));
}

// The weights of an architecture under their own names with `prefix` in front.
SourceTensors weights_of(const std::string& architecture, const std::string& prefix = "") {
  SourceTensors source;
  for (const Value& value : test::graph_of(architecture).values) {
    if (!value.is_constant) continue;
    SourceTensor tensor;
    tensor.name = prefix + value.name;
    tensor.shape = value.shape;
    tensor.values.assign(static_cast<size_t>(element_count(value.shape)), 1.f);
    source.tensors.push_back(std::move(tensor));
  }
  return source;
}

// Matches as the converter does.
Report match(SourceTensors source, const std::string& architecture) {
  Report report;
  Graph graph = test::graph_of(architecture);
  const ShapeCounts shapes = count_shapes(source, NameRules());
  match_weights(std::move(source), NameRules(), &graph, &report);
  const Result<Architecture> given = parse_architecture(architecture);
  if (!report.problems.empty()) explain_mismatch(shapes, *given, architecture, 0, &report);
  return report;
}

TEST_CASE("messages: a wrong --arch is one line that names the right one") {
  const struct {
    const char *file, *given, *expected;
  } rows[] = {
      {"sparsenet-abc-v0", "sparsenet-abc-v1", "this looks like sparsenet-abc-v0: say so"},
      {"sparsenet-abc-v0", "resnet20", "this looks like sparsenet-abc-v0: say so"},
      {"resnet20", "resnet32", "this looks like resnet20: say so"},
      {"resnet20:shortcut=conv", "resnet20", "this looks like resnet20:shortcut=conv: say so"},
      {"resnet20", "resnet20:shortcut=conv", "this looks like resnet20: say so"},
      {"sparsenet-bc-v0:classes=100", "sparsenet-bc-v0", "this looks like sparsenet-bc-v0:classes=100: say so"},
      {"sparsenet-abc:blocks=2-2,k=5,path=3,attention=se", "sparsenet-abc:blocks=2-2,k=5,path=3", "attention=se"},
      {"sparsenet-abc:blocks=2-2,k=5,path=3", "resnet20", "no known architecture has these shapes"},
  };
  for (const auto& row : rows) {
    INFO(row.file, " as ", row.given);
    const Report report = match(weights_of(row.file), row.given);
    REQUIRE(lines_of(report).size() == 1);
    CHECK(contains(text_of(report), std::string("the tensors are not those of --arch ") + row.given + " ("));
    CHECK_MESSAGE(contains(text_of(report), row.expected), text_of(report));
  }
  // A single missing tensor does not make it another architecture.
  SourceTensors short_of_one = weights_of("resnet20");
  short_of_one.tensors.erase(short_of_one.tensors.begin() + 7);
  const Report report = match(std::move(short_of_one), "resnet20");
  REQUIRE_FALSE(report.problems.empty());
  CHECK_FALSE(contains(text_of(report), "not those of --arch"));
  // The right architecture is not suggested as another one if only names or their order are the problem.
  SourceTensors renamed = weights_of("resnet20");
  for (size_t i = 0; i < renamed.tensors.size(); ++i) renamed.tensors[i].name = "t" + std::to_string(i);
  renamed.ordered = false;
  for (const char* architecture : {"resnet20", "resnet20:bn-eps=1e-3"}) {
    const Report by_shape = match(renamed, architecture);
    CHECK(lines_of(by_shape).size() == 1);
    CHECK(contains(text_of(by_shape), std::string("the tensors have the shapes of --arch ") + architecture));
    CHECK(contains(text_of(by_shape), "--map"));
  }
}

TEST_CASE("messages: a file of weights without --arch says what it looks like") {
  CHECK(recognised_text(recognise(count_shapes(weights_of("densenet-bc-100-12", "net."), NameRules()), nullptr)) ==
        "densenet-bc-100-12");
  CHECK(recognise(count_shapes(SourceTensors(), NameRules()), nullptr).empty());
}

TEST_CASE("messages: a prefix of all tensors is taken off and told, one of some is named as a rule") {
  for (const char* prefix : {"backbone.", "encoder.body.", "state_dict.model.", "module.", "net/"}) {
    INFO(prefix);
    const Report report = match(weights_of("resnet20", prefix), "resnet20");
    CHECK_MESSAGE(report.problems.empty(), text_of(report));
    REQUIRE(report.notes.size() == 1);
    CHECK(contains(report.notes[0], std::string("the prefix '") + prefix + "' was taken off"));
  }
  SourceTensors parts = weights_of("resnet20");
  for (SourceTensor& tensor : parts.tensors) tensor.name = (tensor.name[0] == 'l' ? "trunk." : "top.") + tensor.name;
  parts.ordered = false;
  const Report report = match(std::move(parts), "resnet20");
  CHECK_FALSE(report.problems.empty());
  REQUIRE_FALSE(report.notes.empty());
  CHECK(contains(report.notes.back(), "--map 'trunk\\.(.*)=$1'"));
  // "block0.layers.0." precedes a "bn1.weight", but in another network.
  CHECK(match(weights_of("sparsenet-abc-v0"), "resnet20").notes.empty());
}

// Pickles of protocol 2, as torch.save writes them.
std::string text(const std::string& value) {
  return "X" + std::string{static_cast<char>(value.size()), 0, 0, 0} + value;
}
std::string tensor() {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text("k") +
         text("cpu") + "K\x04NtQK" + std::string(1, '\0') + "K\x04\x85K\x01\x85\x89}tR";
}
std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out = "}(";
  for (const auto& [key, value] : items) out += text(key) + value;
  return out + "u";
}
Result<SourceTensors> read_checkpoint(const std::string& object) {
  const std::string two = "\x80\x02";
  std::string file = two + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + two + "M\xe9\x03." + two + "}." + two +
                     object + "." + two + "]";
  const bool has_tensors = contains(object, "_rebuild_tensor");  // all of them on one storage of four elements
  file += has_tensors ? "(" + text("k") + "e.\x04" + std::string(7 + 16, '\0') : ".";
  return read_torch(reinterpret_cast<const uint8_t*>(file.data()), file.size());
}

TEST_CASE("messages: checkpoints: the dict of weights is found, and what else could be meant is told") {
  const std::string weights = dict({{"w", tensor()}, {"b", tensor()}});
  const auto note = [](const Result<SourceTensors>& source) {
    REQUIRE_MESSAGE(source.ok(), source.status().message());
    std::string all;
    for (const std::string& line : source->notes) all += line + "\n";
    return all;
  };
  CHECK(note(read_checkpoint(weights)).empty());
  CHECK(contains(note(read_checkpoint(dict({{"epoch", "K\x03"}, {"state_dict_ema", weights}}))), "'state_dict_ema'"));
  CHECK(contains(note(read_checkpoint(dict({{"a", dict({{"b", weights}})}}))), "['a']['b']"));
  const std::string both = note(read_checkpoint(
      dict({{"state_dict_ema", weights}, {"state_dict", weights}, {"optimizer", dict({{"w", tensor()}})}})));
  CHECK(contains(both, "weights taken from the checkpoint's 'state_dict'\n"));
  CHECK(contains(both, "were not taken: ['state_dict_ema'] (2 tensors)"));
  const Result<SourceTensors> two = read_checkpoint(dict({{"g", weights}, {"d", weights}}));
  REQUIRE_FALSE(two.ok());
  CHECK(contains(two.status().message(), "['g'] (2 tensors), ['d'] (2 tensors)"));
  CHECK(contains(two.status().message(), "torch.save(torch.load(FILE)['g'], 'weights.pth')"));
  const Result<SourceTensors> none = read_checkpoint(dict({{"epoch", "K\x03"}}));
  REQUIRE_FALSE(none.ok());
  CHECK(contains(none.status().message(), "torch.save(model.state_dict()"));
}

TEST_CASE("messages: a pickled module is told from a checkpoint that holds other objects") {
  const Result<SourceTensors> whole = read_checkpoint("cour.nets\nNet\n)\x81}b");
  REQUIRE_FALSE(whole.ok());
  CHECK(contains(whole.status().message(), "'our.nets.Net': a whole pickled object"));
  CHECK(contains(whole.status().message(), ".state_dict()"));
  CHECK(contains(whole.status().message(), "or export the network to ONNX (torch.onnx.export)"));
  const Result<SourceTensors> source_code =
      read_checkpoint("(" + text("module") + "cour.nets\nNet\n" + text("net.py") + text("class Net") + "tQ");
  REQUIRE_FALSE(source_code.ok());
  CHECK(contains(source_code.status().message(), "'our.nets.Net': a whole pickled object"));
  const Result<SourceTensors> options =
      read_checkpoint(dict({{"args", "cargparse\nNamespace\n)\x81"}, {"state_dict", dict({{"w", tensor()}})}}));
  REQUIRE_FALSE(options.ok());
  CHECK(contains(options.status().message(), "'argparse.Namespace': only tensors"));
  CHECK(contains(options.status().message(), "['state_dict']"));
}

}  // namespace
}  // namespace sparsenet::converter
