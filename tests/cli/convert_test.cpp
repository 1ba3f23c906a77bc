// sparsenet-convert tested from outside: exit codes, one line per problem on stderr, files that are complete or absent,
// reports.
#include <doctest/doctest.h>
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/onnx_file.h"
#include "support/scratch_folder.h"

namespace {

namespace fs = std::filesystem;

const std::string kGoldens = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/";

struct Run {
  int code = -1;
  std::string out, err;
};

// A folder of this process, removed at its end.
const fs::path& scratch() {
  static const sparsenet::test::ScratchFolder folder;
  return folder.path();
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

Run convert(const std::vector<std::string>& arguments) {
  std::string command = std::string("'") + SPARSENET_CONVERT + "'";
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  const fs::path out = scratch() / "stdout", err = scratch() / "stderr";
  command += " >'" + out.string() + "' 2>'" + err.string() + "' </dev/null";
  const int status = std::system(command.c_str());
  Run run;
  run.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  run.out = read_text(out);
  run.err = read_text(err);
  return run;
}

size_t lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST_CASE("convert: a conversion writes a model that loads, and a report") {
  const fs::path model = scratch() / "abc.snet", report = scratch() / "abc.json", labels = scratch() / "labels.txt";
  std::string names;
  for (int i = 0; i < 10; ++i) names += "class " + std::to_string(i) + "\n";
  write_text(labels, names);
  const Run run = convert({kGoldens + "nets/abc.pth", "-o", model.string(), "--arch",
                           "sparsenet-abc:blocks=2-2-3,k=5,path=3", "--labels", labels.string(), "--mean",
                           "125.3,123.0,113.9", "--std", "63,62.1,66.7", "--report", report.string(), "-v"});
  CHECK_MESSAGE(run.code == 0, run.err);
  CHECK(run.err.empty());
  CHECK(run.out.find("parameters  11,935") != std::string::npos);
  CHECK(run.out.find("stem.weight") != std::string::npos);
  const auto loaded = sparsenet::load_model(model.string());
  REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
  CHECK(loaded->metadata.labels.size() == 10);
  CHECK(loaded->metadata.mean == std::vector<float>{125.3f, 123.0f, 113.9f});
  CHECK(loaded->metadata.architecture.find("sparsenet-abc") == 0);
  CHECK(loaded->metadata.provenance.find("abc.pth") != std::string::npos);
  CHECK(loaded->graph.parameter_count() == 11935);
  const auto json = nlohmann::json::parse(read_text(report), nullptr, false);
  REQUIRE(json.is_object());
  CHECK(json["converted"] == true);
  CHECK(json["parameters"] == 11935);
  CHECK(json["problems"].empty());
  REQUIRE(json["tensors"].size() > 100);
  for (const auto& tensor : json["tensors"]) CHECK(!tensor["how"].get<std::string>().empty());
}

// A network of two heads, one of which cannot be converted, with an input whose height and width are open.
std::string two_heads() {
  using sparsenet::test::OnnxFile;
  OnnxFile file(13);
  file.input("x", {0, 3, 0, 0}).output("y").output("label").constant("w", {2, 3, 1, 1}, {1, 2, 3, 4, 5, 6});
  file.named("Conv", "c", {"x", "w"}, {"y"}).named("NoSuchOperator", "l", {"y"}, {"label"});
  const fs::path path = scratch() / "heads.onnx";
  write_text(path, file.text());
  return path.string();
}

TEST_CASE("convert: outputs and sizes of an ONNX graph are chosen on the command line, as the messages say") {
  const std::string file = two_heads();
  const fs::path model = scratch() / "heads.snet";
  const Run open = convert({file, "-o", model.string()});
  CHECK(open.code == 1);
  CHECK(open.err.find("--input-shape x=1,3,224,224") != std::string::npos);
  const Run heads = convert({file, "-o", model.string(), "--input-shape", "x=1,3,8,6"});
  CHECK(heads.code == 1);
  CHECK(heads.err.find("--outputs y leaves them out") != std::string::npos);
  const Run done = convert({file, "-o", model.string(), "--input-shape", "x=1,3,8,6", "--outputs", "y"});
  CHECK_MESSAGE(done.code == 0, done.err);
  const auto loaded = sparsenet::load_model(model.string());
  REQUIRE(loaded.ok());
  CHECK(loaded->graph.shape(loaded->graph.inputs[0]) == sparsenet::Shape{1, 3, 8, 6});
  CHECK(loaded->graph.outputs.size() == 1);
  const std::vector<std::vector<std::string>> wrong{{"--input-shape", "x"},
                                                    {"--input-shape", "x=1,3,0,6"},
                                                    {"--input-shape", "z=1,3,8,6", "--outputs", "y"},
                                                    {"--outputs", "y,"},
                                                    {"--outputs", ",y"},
                                                    {"--outputs", ""},
                                                    {"--outputs", "no such value"}};
  for (const std::vector<std::string>& words : wrong) {
    std::vector<std::string> all{file, "-o", model.string()};
    all.insert(all.end(), words.begin(), words.end());
    const Run run = convert(all);
    CAPTURE(run.err);
    CHECK(run.code == 2);
    CHECK(run.err.find(words[0]) != std::string::npos);
  }
  const Run weights = convert({kGoldens + "nets/abc.pth", "-o", model.string(), "--arch",
                               "sparsenet-abc:blocks=2-2-3,k=5,path=3", "--outputs", "y"});
  CHECK(weights.code == 2);
  CHECK(weights.err.find("for ONNX files") != std::string::npos);
}

TEST_CASE("convert: mean and std as training scripts state them, and by name") {
  const fs::path model = scratch() / "norm.snet", report = scratch() / "norm.json";
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{kGoldens + "nets/abc.pth",
                                   "-o",
                                   model.string(),
                                   "--arch",
                                   "sparsenet-abc:blocks=2-2-3,k=5,path=3",
                                   "--report",
                                   report.string()};
    words.insert(words.end(), more.begin(), more.end());
    return convert(words);
  };
  const auto stored = [&] { return sparsenet::load_model(model.string())->metadata; };
  const Run unit = with({"--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"});
  REQUIRE_MESSAGE(unit.code == 0, unit.err);
  CHECK(unit.out.find("taken as 0..1 values") != std::string::npos);
  CHECK(unit.out.find("mean 123.675,116.28,103.53, std 58.395,57.12,57.375") != std::string::npos);
  CHECK(stored().mean == std::vector<float>{123.675f, 116.28f, 103.53f});
  CHECK(stored().std_dev == std::vector<float>{58.395f, 57.12f, 57.375f});
  const auto json = nlohmann::json::parse(read_text(report), nullptr, false);
  CHECK(json["mean"][0].get<float>() == 123.675f);
  CHECK(json["notes"][0].get<std::string>().find("taken as 0..1 values") != std::string::npos);

  REQUIRE(with({"--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--pixel-scale", "255"}).code == 0);
  CHECK(stored().mean[0] == 0.485f);
  REQUIRE(with({"--normalize", "-1..1"}).code == 0);
  CHECK(stored().mean == std::vector<float>{127.5f, 127.5f, 127.5f});
  REQUIRE(with({"--mean", "-0.5,-0.5,-0.5", "--std", "1,1,1"}).code == 0);  // not an option, despite the leading '-'
  CHECK(stored().mean[0] == -127.5f);

  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"--normalize", "imagenett"},
                                             {"--normalize", "none", "--mean", "1,2,3"},
                                             {"--pixel-scale", "7", "--mean", "1,2,3"},
                                             {"--pixel-scale", "1"},
                                             {"--mean", "1,x,3"},
                                             {"--mean", "1,2,3e99"},
                                             {"--std", "1,0,1"}}) {
    INFO(wrong[0], " ", wrong[1]);
    const Run run = with(wrong);
    CHECK(run.code == 2);
    CHECK(lines(run.err) == 1);
  }
}

TEST_CASE("convert: the same input gives the same bytes") {
  const fs::path a = scratch() / "a.snet", b = scratch() / "b.snet";
  for (const fs::path& path : {a, b})
    CHECK(convert({kGoldens + "graphs/tiny-mobilenet.onnx", "-o", path.string()}).code == 0);
  CHECK(read_text(a) == read_text(b));
}

TEST_CASE("convert: a failure tells every cause on a line of its own, leaves no file, and reports every problem") {
  const fs::path model = scratch() / "wrong.snet", report = scratch() / "wrong.json";
  const std::vector<std::string> wrong{kGoldens + "nets/abc.pth", "-o", model.string(), "--arch",
                                       "sparsenet-abc:blocks=2-2-3,k=5,path=3,classes=7"};
  const Run run = convert(wrong);
  CHECK(run.code == 1);
  CHECK(run.out.empty());
  CHECK(run.err.rfind("error: ", 0) == 0);
  CHECK(run.err.find("2 problems of one cause, nothing was written (--report FILE.json lists") != std::string::npos);
  CHECK(run.err.find("the first: tensor 'fc.weight'") != std::string::npos);
  CHECK(run.err.find("this looks like sparsenet-abc:blocks=2-2-3,k=5,path=3") != std::string::npos);
  CHECK(run.err.find("classes=10") != std::string::npos);
  CHECK(lines(run.err) == 2);
  CHECK(!fs::exists(model));
  std::vector<std::string> reported = wrong;
  reported.insert(reported.end(), {"--report", report.string()});
  const Run again = convert(reported);
  CHECK(again.code == 1);
  CHECK(again.err.find("(" + report.string() + " lists every problem)") != std::string::npos);
  const auto json = nlohmann::json::parse(read_text(report), nullptr, false);
  REQUIRE(json.is_object());
  CHECK(json["converted"] == false);
  CHECK(json["problems"].size() == 2);  // fc.weight and fc.bias
  CHECK(json["problems"][1]["subject"] == "tensor 'fc.bias'");
  REQUIRE(json["causes"].size() == 1);
  CHECK(json["causes"][0]["count"] == 2);
}

TEST_CASE("convert: what is no model that is read here is told with the way to go") {
  const fs::path model = scratch() / "foreign.snet", saved = scratch() / "saved";
  fs::create_directories(saved);
  write_text(saved / "saved_model.pb", "x");
  write_text(scratch() / "net.caffemodel", "x");
  write_text(scratch() / "lfs.onnx", "version https://git-lfs.github.com/spec/v1\n");
  write_text(scratch() / "frozen.pb", "x");
  const struct {
    fs::path file;
    const char *what, *way;
  } rows[] = {{saved, "a TensorFlow SavedModel folder", "from_saved_model"},
              {scratch() / "net.caffemodel", "the weights of a Caffe network", "caffe2onnx"},
              {scratch() / "lfs.onnx", "a pointer of Git LFS", "git lfs pull"},
              {scratch() / "frozen.pb", "a TensorFlow graph", "--from onnx"}};
  for (const auto& row : rows) {
    const Run run = convert({row.file.string(), "-o", model.string()});
    INFO(run.err);
    CHECK(run.code == 1);
    CHECK(lines(run.err) == 2);
    CHECK(run.err.find(row.what) != std::string::npos);
    CHECK(run.err.find(row.way) != std::string::npos);
    CHECK(!fs::exists(model));
  }
  // Its name suggests another format than --from: the user decides.
  const Run insists = convert({(scratch() / "frozen.pb").string(), "-o", model.string(), "--from", "onnx"});
  CHECK(insists.code == 1);
  CHECK(insists.err.find("ONNX") != std::string::npos);
  CHECK(insists.err.find("TensorFlow") == std::string::npos);

  const Run unnamed = convert({kGoldens + "nets/resnet20.th", "-o", model.string()});
  CHECK(unnamed.code == 1);
  CHECK(unnamed.err.find("say with --arch which network they are of; this looks like resnet20\n") != std::string::npos);
}

TEST_CASE("convert: a .snet file that nothing is added to is told") {
  const std::string first = (scratch() / "first.snet").string(), second = (scratch() / "second.snet").string();
  REQUIRE(convert({kGoldens + "graphs/gemm-forms.onnx", "-o", first}).code == 0);
  const Run same = convert({first, "-o", second});
  CHECK(same.code == 0);
  CHECK(same.out.find("note: the input is a .snet file already") == 0);
  CHECK(read_text(first) == read_text(second));
  CHECK(convert({first, "-o", second, "--plan", "portable-f32"}).out.find("already") == std::string::npos);
  const Run arch = convert({first, "-o", second, "--arch", "resnet20"});
  CHECK(arch.code == 1);
  CHECK(arch.err.find("this is a .snet file, which holds its own graph") != std::string::npos);
}

TEST_CASE("convert: --check compares with the source framework's outputs and stores them") {
  const std::string net = kGoldens + "nets/resnet8-conv.safetensors", in = kGoldens + "nets/input-2x3x32x32.npy",
                    out = kGoldens + "nets/resnet8-conv.logits.npy", other = kGoldens + "nets/resnet20.logits.npy";
  const fs::path model = scratch() / "checked.snet", report = scratch() / "checked.json";
  const std::vector<std::string> common{net,        "-o",           model.string(), "--arch", "resnet8:shortcut=conv",
                                        "--report", report.string()};
  const auto with = [&common](std::vector<std::string> more) {
    more.insert(more.begin(), common.begin(), common.end());
    return convert(more);
  };
  const Run right = with({"--check", in + "," + out});
  CHECK_MESSAGE(right.code == 0, right.err);
  CHECK(right.out.find("check       2 images equal within ") != std::string::npos);
  CHECK(right.out.find("vectors     2, from the outputs given with --check") != std::string::npos);
  auto json = nlohmann::json::parse(read_text(report), nullptr, false);
  REQUIRE(json["check"].is_object());
  CHECK(json["check"]["images"] == 2);
  CHECK(json["check"]["stored"] == 2);
  CHECK(json["check"]["largest_error"] < 1e-5);
  const auto loaded = sparsenet::load_model(model.string());
  REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
  REQUIRE(loaded->test_vectors.size() == 2);
  const std::string logits = read_text(out);  // ends with two rows of ten floats
  for (size_t n = 0; n < 2; ++n) {
    CHECK(std::memcmp(loaded->test_vectors[n].outputs[0].data, logits.data() + logits.size() - 80 + 40 * n, 40) == 0);
  }
  fs::remove(model);

  const Run wrong = with({"--check", in + "," + other});
  CHECK(wrong.code == 1);
  CHECK(wrong.err.find("--check: " + other + ": image ") != std::string::npos);
  CHECK(wrong.err.find("more than the tolerance of 1.0e-04") != std::string::npos);
  CHECK(!fs::exists(model));
  json = nlohmann::json::parse(read_text(report), nullptr, false);
  CHECK(json["converted"] == false);
  CHECK(json["check"]["stored"] == 0);

  CHECK(with({"--check", in + "," + out, "--test-vectors", "2"}).code == 2);
  CHECK(with({"--tolerance", "1e-3"}).code == 2);
  CHECK(with({"--check", in + "," + out, "--tolerance", "0"}).code == 2);
  CHECK(!fs::exists(model));
}

TEST_CASE("convert: a rule that drops layers warns, the architecture that has them does not") {
  const std::string net = kGoldens + "nets/resnet8-conv.safetensors";
  const fs::path model = scratch() / "dropped.snet";
  const Run refused = convert({net, "-o", model.string(), "--arch", "resnet8"});
  CHECK(refused.code == 1);
  CHECK(refused.err.find("'layer2.0.downsample.0.weight'") != std::string::npos);
  CHECK(refused.err.find("drop it") == std::string::npos);
  CHECK(refused.err.find("this looks like resnet8:classes=10,bn-eps=1e-05,shortcut=conv") != std::string::npos);
  CHECK(!fs::exists(model));
  const Run dropped = convert({net, "-o", model.string(), "--arch", "resnet8", "--map", ".*downsample.*="});
  CHECK(dropped.code == 0);
  CHECK(dropped.err.rfind("warning: rule 1 (.*downsample.*=) drops 10 tensors", 0) == 0);
  CHECK(dropped.err.find("looks like resnet8:classes=10,bn-eps=1e-05,shortcut=conv") != std::string::npos);
  const Run right = convert({net, "-o", model.string(), "--arch", "resnet8:shortcut=conv"});
  CHECK(right.code == 0);
  CHECK(right.err.empty());
}

TEST_CASE("convert: what cannot be run is not written") {
  sparsenet::Model model;
  std::vector<sparsenet::ValueId> inputs{model.graph.add_input("x", {1, 2, 5})};
  for (const char* name : {"scale", "shift", "mean", "variance"}) {
    inputs.push_back(model.graph.add_constant(name, sparsenet::Tensor::filled({2}, 1.f)));
  }
  model.graph.outputs = {model.graph.add_node(sparsenet::Op::kBatchNorm, "norm", inputs, sparsenet::BatchNormAttrs{})};
  REQUIRE(model.graph.infer_shapes().ok());
  const fs::path source = scratch() / "signal.snet", target = scratch() / "unrunnable.snet";
  REQUIRE(save_model(model, source.string()).ok());
  const Run run = convert({source.string(), "-o", target.string()});
  CHECK(run.code == 1);
  CHECK(run.err.find("the network cannot be run: ") != std::string::npos);
  CHECK(run.err.find("'norm'") != std::string::npos);
  CHECK(!fs::exists(target));
}

TEST_CASE("convert: what cannot be read or written") {
  const std::string model = (scratch() / "none.snet").string();
  const std::string onnx = kGoldens + "graphs/gemm-forms.onnx";
  write_text(scratch() / "cut.onnx", read_text(onnx).substr(0, 300));
  write_text(scratch() / "noise", "neither this nor that");
  write_text(scratch() / "labels.txt", "just one\n");
  const std::vector<std::vector<std::string>> cases = {
      {"no-such-file.onnx", "-o", model},
      {(scratch() / "cut.onnx").string(), "-o", model},
      {(scratch() / "noise").string(), "-o", model},
      {onnx, "-o", model, "--from", "tflite"},
      {onnx, "-o", model, "--labels", (scratch() / "labels.txt").string()},
      {onnx, "-o", (scratch() / "no" / "such" / "folder.snet").string()},
      {onnx, "-o", model, "--c-array", (scratch() / "noise" / "x").string()},
      {onnx, "-o", model, "--select-ops", (scratch() / "noise" / "x").string()},
      {onnx, "-o", model, "--precision", "bf16"},
      {kGoldens + "nets/abc.pth", "-o", model, "--arch", "resnet20", "--map", "no-such-file"},
      {kGoldens + "nets/abc.pth", "-o", model},
  };
  for (const auto& arguments : cases) {
    const Run run = convert(arguments);
    CAPTURE(arguments[0]);
    CAPTURE(run.err);
    CHECK(run.code == 1);
    CHECK(run.err.rfind("error: ", 0) == 0);
    CHECK(!fs::exists(model));
  }
}

TEST_CASE("convert: a model as C source, and its kernels") {
  const fs::path folder = scratch() / "generated";
  const std::string model = (scratch() / "3 nets.snet").string();
  const Run run = convert({kGoldens + "graphs/gemm-forms.onnx", "-o", model, "--test-vectors", "1", "--c-array",
                           folder.string(), "--select-ops", folder.string()});
  CAPTURE(run.err);
  REQUIRE(run.code == 0);
  const std::string header = read_text(folder / "model_3_nets.h"), source = read_text(folder / "model_3_nets.c");
  // The bytes of the array are the device's file.
  std::vector<uint8_t> bytes;
  for (size_t at = source.find("= {", source.find("aligned(64)")); (at = source.find("0x", at)) != std::string::npos;
       at += 5) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(source.substr(at + 2, 2), nullptr, 16)));
  }
  const auto read = sparsenet::load_model(model);
  REQUIRE(read.ok());
  const auto parts = sparsenet::make_device_parts(*read);
  REQUIRE(parts.ok());
  CHECK(bytes == parts->file);
  CHECK(header.find("#define MODEL_3_NETS_BYTES " + std::to_string(bytes.size()) + " ") != std::string::npos);
  CHECK(header.find("#define MODEL_3_NETS_TEST_VECTORS 1 ") != std::string::npos);
  CHECK(header.find("SN_KERNELS_COMPACT") != std::string::npos);  // for whose memory the macros are
  CHECK(read_text(folder / "sparsenet_kernels.cpp") == parts->kernel_table);
  CHECK(parts->kernel_table.find("#include \"") == std::string::npos);  // no header that is missing from an install
  CHECK(parts->kernel_table.find("&compact::kConv,") != std::string::npos);
  CHECK(parts->kernel_table.find("&compact::kPool,") == std::string::npos);
  CHECK(parts->kernel_table.find("activations::") == std::string::npos);
}

TEST_CASE("convert: usage") {
  CHECK(convert({"--help"}).code == 0);
  CHECK(convert({"--help"}).out.find("Examples") != std::string::npos);
  const std::string onnx = kGoldens + "graphs/gemm-forms.onnx";
  const std::vector<std::vector<std::string>> cases = {
      {},
      {onnx},
      {onnx, "-o", "x.snet", "--no-such-option"},
      {onnx, "-o", "x.snet", "--from", "caffe"},
      {onnx, "-o", "x.snet", "--mean", "a,b"},
      {onnx, "-o", "x.snet", "--std", "0,1,1"},
      {onnx, "-o", "x.snet", "--test-vectors", "-1"},
      {onnx, "-o", "x.snet", "--plan", "cortex-m"},
      {onnx, "-o", "x.snet", "--plan", ""},
      {onnx, "-o", ""},
      {onnx, "-o", "x.snet", "--precision", "int8"},
      {kGoldens + "graphs/max-pool.onnx", "-o", "x.snet", "--mean", "1,2,3,4,5"},
      {onnx, "-o", "x.snet", "--max-memory", "much"},
      {onnx, "-o", "x.snet", "--arch", "sparsenet-xyz"},
      {onnx, "-o", "x.snet", "--arch", "resnet21"},
      {onnx, "-o", "x.snet", "--map", "(=x"}};
  for (const auto& arguments : cases) {
    const Run run = convert(arguments);
    CAPTURE(run.err);
    CHECK(run.code == 2);
    CHECK(run.err.rfind("error: ", 0) == 0);
    CHECK(!fs::exists("x.snet"));
  }
  CHECK(convert({onnx, "-o", "x.snet", "--plan", "cortex-m"}).err.find("one of: portable-f32; found 'cortex-m'") !=
        std::string::npos);
}

TEST_CASE("convert: --plan stores a plan, also in a .snet file, whose metadata stay") {
  const fs::path plain = scratch() / "plain.snet", planned = scratch() / "planned.snet";
  const fs::path direct = scratch() / "direct.snet", report = scratch() / "plan.json";
  const std::vector<std::string> source = {kGoldens + "nets/abc.pth",
                                           "--arch",
                                           "sparsenet-abc:blocks=2-2-3,k=5,path=3",
                                           "--mean",
                                           "1,2,3",
                                           "--license",
                                           "CC0-1.0"};
  const auto with = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), source.begin(), source.end());
    return convert(arguments);
  };
  CHECK(with({"-o", plain.string(), "--name", "abc"}).code == 0);
  const Run run = with({"-o", direct.string(), "--name", "abc", "--plan", "portable-f32", "--report", report.string()});
  CHECK_MESSAGE(run.code == 0, run.err);
  CHECK(run.out.find("plan        portable-f32, batch 1") != std::string::npos);
  const auto json = nlohmann::json::parse(read_text(report), nullptr, false);
  REQUIRE(json.is_object());
  CHECK(json["plans"] == nlohmann::json::array({{{"target", "portable-f32"}, {"batch", 1}, {"trains", false}}}));

  CHECK(convert({plain.string(), "-o", planned.string(), "--plan", "portable-f32"}).code == 0);
  CHECK(read_text(planned) == read_text(direct));
  CHECK(convert({planned.string(), "-o", planned.string(), "--plan", "portable-f32"}).code == 0);  // in place, again
  CHECK(read_text(planned) == read_text(direct));
  CHECK(fs::file_size(planned) > fs::file_size(plain));

  const auto loaded = sparsenet::load_model(planned.string());
  REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
  REQUIRE(loaded->plans.size() == 1);
  CHECK(loaded->plans[0].target == "portable-f32");
  CHECK(loaded->plans[0].batch == 1);
  const auto session = sparsenet::Session::create(*loaded, {});
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  CHECK(session->uses_stored_plan());

  // Options change what they name and nothing else; the plan stays with the graph.
  CHECK(convert({planned.string(), "-o", planned.string(), "--std", "4,5,6", "--test-vectors", "2"}).code == 0);
  const auto changed = sparsenet::load_model(planned.string());
  REQUIRE_MESSAGE(changed.ok(), changed.status().message());
  CHECK(changed->metadata.name == "abc");
  CHECK(changed->metadata.license == "CC0-1.0");
  CHECK(changed->metadata.mean == std::vector<float>{1, 2, 3});
  CHECK(changed->metadata.std_dev == std::vector<float>{4, 5, 6});
  CHECK(changed->metadata.provenance == loaded->metadata.provenance);
  CHECK(changed->test_vectors.size() == 2);
  CHECK(changed->plans.size() == 1);
  CHECK_FALSE(changed->plans[0].step_checks.empty());

  // A plan that trains, in addition to the other; both are kept and updated for new test vectors.
  const fs::path training = scratch() / "training.snet", folder = scratch() / "training";
  const Run trains = convert({planned.string(), "-o", training.string(), "--training-plan", "--c-array",
                              folder.string(), "--report", report.string()});
  CHECK_MESSAGE(trains.code == 0, trains.err);
  CHECK(trains.out.find("plan        portable-f32, batch 1, trains the last layer") != std::string::npos);
  CHECK(nlohmann::json::parse(read_text(report), nullptr, false)["plans"].size() == 2);
  CHECK(read_text(folder / "training.h").find("TRAINING_MEMORY_BYTES 0 ") == std::string::npos);
  CHECK(read_text(folder / "training.h").find("#define TRAINING_INPUT_BYTES 12288 ") != std::string::npos);
  CHECK(read_text(folder / "training.h").find("#define TRAINING_OUTPUT_BYTES 40 ") != std::string::npos);
  CHECK(convert({training.string(), "-o", training.string(), "--test-vectors", "3"}).code == 0);
  const auto both = sparsenet::load_model(training.string());
  REQUIRE_MESSAGE(both.ok(), both.status().message());
  REQUIRE(both->plans.size() == 2);
  CHECK(both->plans[1].trains);
  CHECK(both->plans[1].check.labels.size() == 3);
  CHECK(convert({planned.string(), "-o", planned.string(), "--arch", "resnet20"}).code == 1);
  write_text(scratch() / "cut.snet", read_text(planned).substr(0, 5000));
  CHECK(convert({(scratch() / "cut.snet").string(), "-o", (scratch() / "x.snet").string()}).code == 1);
}

TEST_CASE("convert: a training plan for a last layer behind integers, and none for a layer of integers") {
  const std::string models = std::string(SPARSENET_SOURCE_DIR) + "/models/sparsenet-abc-v0-int8";
  const fs::path out = scratch() / "behind.snet", folder = scratch() / "behind";
  const Run trains = convert({models + "-body.snet", "-o", out.string(), "--plan", "portable-f32", "--training-plan",
                              "--test-vectors", "1", "--select-ops", folder.string()});
  CHECK_MESSAGE(trains.code == 0, trains.err);
  const std::string table = read_text(folder / "sparsenet_kernels.cpp");
  for (const char* part : {"kIntegerConvSingle", "kReferenceUpdateSgd", "&kIntegerParts", "&kTrainingParts"}) {
    CHECK_MESSAGE(table.find(part) != std::string::npos, part);
  }
  const auto model = sparsenet::load_model(out.string());
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  REQUIRE(model->plans.size() == 2);
  CHECK(model->plans[1].check.losses.size() == 5);
  // What both plans compute with integers with is in the file once.
  const fs::path alone = scratch() / "alone.snet";
  REQUIRE(
      convert({models + "-body.snet", "-o", alone.string(), "--plan", "portable-f32", "--test-vectors", "1"}).code ==
      0);
  CHECK(fs::file_size(out) < fs::file_size(alone) + 48000);
  const fs::path none = scratch() / "none.snet";
  const Run refused = convert({models + ".snet", "-o", none.string(), "--plan", "portable-f32", "--training-plan"});
  CHECK(refused.code == 1);
  CHECK_MESSAGE(refused.err.find("--training-plan: FullyConnected 'fc' is the last layer and computes with integers") !=
                    std::string::npos,
                refused.err);
  CHECK(refused.err.find("`sparsenet quantize --keep-float fc`") != std::string::npos);
  CHECK_FALSE(fs::exists(none));
}

}  // namespace
