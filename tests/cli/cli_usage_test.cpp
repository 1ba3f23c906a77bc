// How the command line reports errors and gives help: exit codes, one-line errors on stderr, nothing on stdout.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "command.h"
#include "data/npy.h"

namespace {

using namespace sparsenet;
using test::fails;
using test::json_of;
using test::sample;
using test::scratch;
using test::small_model;

const std::vector<std::string> kCommands{"create", "info",    "run",    "classify", "eval",
                                         "bench",  "profile", "verify", "train"};

TEST_CASE("cli: help and version") {
  const test::Outcome help = test::sparsenet({"--help"});
  CHECK(help.code == 0);
  CHECK(help.err.empty());
  for (const std::string& command : kCommands) {
    CHECK(help.out.find("\n  " + command + " ") != std::string::npos);
    const test::Outcome own = test::sparsenet({command, "--help"});
    CHECK(own.code == 0);
    CHECK(own.out.find("Examples:\n  sparsenet " + command) != std::string::npos);
  }
  const test::Outcome version = test::sparsenet({"--version"});
  CHECK(version.code == 0);
  CHECK(version.out.rfind("sparsenet ", 0) == 0);
}

TEST_CASE("cli: wrong usage is exit code 2") {
  fails(test::sparsenet({}), 2, {});
  fails(test::sparsenet({"clasify", "x"}), 2, {"unknown command 'clasify'"});
  for (const std::string& command : kCommands) {
    INFO(command);
    fails(test::sparsenet({command, "--no-such-option"}), 2, {});
    fails(test::sparsenet({command}), 2, {});
  }
  const std::string& model = small_model();
  fails(test::sparsenet({"bench", model, "--no-such-option"}), 2, {"--no-such-option"});
  fails(test::sparsenet({"bench", model, "extra"}), 2, {"extra"});
  fails(test::sparsenet({"bench", model, "-m", model}), 2, {"twice"});
  fails(test::sparsenet({"bench", model, "--runs", "0"}), 2, {"--runs"});
  fails(test::sparsenet({"bench", model, "--batch", "two"}), 2, {"two"});
  fails(test::sparsenet({"bench", model, "--threads", "-1"}), 2, {"--threads"});
  fails(test::sparsenet({"info", model, "--backend", "abacus"}), 2, {"abacus"});
  fails(test::sparsenet({"bench", model, "--precision", "int8"}), 2, {"precision 'int8': expected f32, bf16 or f16"});
  fails(test::sparsenet({"bench", model, "--precision", "f16"}), 1, {"precision f16: the CPU's kernels store float32"});
  fails(test::sparsenet({"classify", model}), 2, {"IMAGE"});
  fails(test::sparsenet({"eval", model}), 2, {"--data"});
  fails(test::sparsenet({"eval", model, "--data", "mnist:x"}), 2, {"mnist", "expected cifar10:DIR"});
  fails(test::sparsenet({"create", "sparsenet-xyz-v9", "-o", scratch("x.snet")}), 2, {"sparsenet-xyz-v9"});
  fails(test::sparsenet({"create", "sparsenet-abc-v0"}), 2, {"--output"});
  // Values that the option cannot accept, rejected before anything is read.
  const std::string out = scratch("usage.snet"), nowhere = "cifar10:" + scratch("nowhere");
  fails(test::sparsenet({"create", "resnet20", "-o", out, "--seed", "-1"}), 2, {"--seed", "'-1'"});
  fails(test::sparsenet({"create", "resnet20", "-o", out, "--seed", "99999999999999999999"}), 2, {"--seed"});
  fails(test::sparsenet({"create", "resnet20", "-o", ""}), 2, {"--output", "an empty one"});
  fails(test::sparsenet({"info", model, "--plan-svg", ""}), 2, {"--plan-svg", "an empty one"});
  fails(test::sparsenet({"info", ""}), 2, {"MODEL", "an empty one"});
  fails(test::sparsenet({"run", model, "-i", "input=", "-o", "x.npy"}), 2, {"--input", "'input='"});
  fails(test::sparsenet({"run", model, "-i", "x.npy", "-o", "="}), 2, {"--output", "'='"});
  fails(test::sparsenet({"train", "resnet21", "--data", nowhere, "-o", out}), 2, {"resnet21"});
  fails(test::sparsenet({"train", "resnet20", "--data", nowhere, "-o", out, "--seed", "-1"}), 2, {"--seed", "'-1'"});
  fails(test::sparsenet({"train", "resnet20", "--data", nowhere, "-o", out, "--lr", "nan"}), 2, {"--lr"});
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("cli: options of quantize that cannot be") {
  const std::string out = scratch("never.snet"), nowhere = "cifar10:" + scratch("nowhere");
  fails(test::sparsenet({"quantize", "a.snet", "-o", out}), 2, {"--data"});
  fails(test::sparsenet({"quantize", "a.snet", "--data", nowhere}), 2, {"--output"});
  fails(test::sparsenet({"quantize", "a.snet", "--data", nowhere, "-o", out, "--method", "mad"}), 2,
        {"--method: expected minmax, percentile, kl or mse, found 'mad'"});
  fails(test::sparsenet({"quantize", "a.snet", "--data", nowhere, "-o", out, "--samples", "0"}), 2, {"--samples"});
  fails(test::sparsenet({"quantize", "a.snet", "--data", nowhere, "-o", out, "--max-error-increase", "-2"}), 2,
        {"--max-error-increase"});
  fails(test::sparsenet({"quantize", "a.snet", "--data", nowhere, "-o", out}), 1, {"a.snet"});
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("cli: a missing or broken model is exit code 1 for every command") {
  const std::string missing = scratch("missing.snet"), broken = scratch("broken.snet");
  std::ofstream(broken) << "this is no model file";
  const std::string in = scratch("in.npy"), out = scratch("out.npy");
  const float zero = 0;
  REQUIRE(io::write_npy(in, {1}, &zero).ok());
  for (const std::string& path : {missing, broken}) {
    const std::vector<std::vector<std::string>> lines{{"info", path},
                                                      {"run", path, "-i", in, "-o", out},
                                                      {"classify", path, sample("cat-0000.png")},
                                                      {"eval", path, "--data", "cifar10:" + scratch()},
                                                      {"bench", path},
                                                      {"profile", path},
                                                      {"verify", path}};
    for (std::vector<std::string> line : lines) {
      INFO(line[0]);
      fails(test::sparsenet(line), 1, {path});
      if (line[0] == "run") continue;
      line.emplace_back("--json");
      fails(test::sparsenet(line), 1, {path});
    }
  }
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("cli: a model of another format is named, with the way to a .snet file, by every command") {
  const std::string onnx = scratch("other.onnx"), weights = scratch("other.pth"), data = "cifar10:" + scratch();
  std::ofstream(onnx) << "not read any further";
  std::ofstream(weights) << "not read any further";
  const std::string in = scratch("in.npy"), out = scratch("other.npy");
  const float zero = 0;
  REQUIRE(io::write_npy(in, {1}, &zero).ok());
  const std::vector<std::vector<std::string>> words{{"info", onnx},
                                                    {"run", onnx, "-i", in, "-o", out},
                                                    {"classify", onnx, sample("cat-0000.png")},
                                                    {"eval", onnx, "--data", data},
                                                    {"bench", "-m", onnx},
                                                    {"profile", onnx},
                                                    {"verify", onnx},
                                                    {"verify", onnx, "--steps"}};
  for (const auto& line : words) {
    INFO(line[0]);
    fails(test::sparsenet(line), 1, {onnx, "an ONNX file", "`sparsenet-convert " + onnx + " -o MODEL.snet`"});
  }
  fails(test::sparsenet({"info", weights}), 1, {"a PyTorch file", "--arch ARCH"});
  fails(test::sparsenet({"info", scratch()}), 1, {"a folder"});
}

TEST_CASE("cli: create writes nothing where it cannot") {
  fails(test::sparsenet({"create", "sparsenet-abc-v0", "-o", scratch("no/such/folder/x.snet")}), 1, {"no/such/folder"});
}

TEST_CASE("cli: run says what is wrong with its arrays") {
  const std::string& model = small_model();
  const std::string in = scratch("shape.npy"), out = scratch("shape-out.npy");
  const std::vector<float> values(2 * 3 * 32 * 32);
  REQUIRE(io::write_npy(in, {3, 32, 32}, values.data()).ok());
  fails(test::sparsenet({"run", model, "--input", in, "--output", out}), 1,
        {in, "'input'", "expected shape [3, 3, 32, 32]", "found [3, 32, 32]"});
  REQUIRE(io::write_npy(in, {0, 3, 32, 32}, values.data()).ok());
  fails(test::sparsenet({"run", model, "--input", in, "--output", out}), 1, {in, "found [0, 3, 32, 32]"});
  REQUIRE(io::write_npy(in, {1, 3, 32, 32}, values.data()).ok());
  fails(test::sparsenet({"run", model, "--input", "picture=" + in, "--output", out}), 1,
        {"no input 'picture'", "input"});
  fails(test::sparsenet({"run", model, "--input", in, "--input", in, "--output", out}), 1, {"input"});
  fails(test::sparsenet({"run", model, "--input", in, "--output", "scores=out.npy"}), 1,
        {"no output 'scores'", "logits"});
  fails(test::sparsenet({"run", model, "--input", scratch("none.npy"), "--output", out}), 1, {"none.npy"});
  fails(test::sparsenet({"run", model, "--input", sample("cat-0000.png"), "--output", out}), 1,
        {"cat-0000.png", ".npy"});
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("cli: classify goes on after a bad image and fails at the end") {
  const std::string& model = small_model();
  const std::string bad = scratch("bad.png");
  std::ofstream(bad) << "\x89PNG\r\n\x1a\n and then nothing";
  const test::Outcome text = test::sparsenet({"classify", model, bad, sample("cat-0000.png")});
  CHECK(text.code == 1);
  CHECK(text.err.find("error: " + bad) == 0);
  CHECK(text.out.find("cat-0000.png (") != std::string::npos);
  const nlohmann::json list = json_of({"classify", model, sample("cat-0000.png"), bad, sample("ship-0001.png")}, 1);
  REQUIRE(list.size() == 3);
  CHECK(list[0]["predictions"].size() == 5);
  CHECK(list[1]["predictions"].empty());
  CHECK(list[1]["error"].get<std::string>().find(bad) == 0);
  CHECK(list[2]["predictions"].size() == 5);
}

TEST_CASE("cli: eval says what is wrong with its data") {
  const std::string& model = small_model();
  fails(test::sparsenet({"eval", model, "--data", "cifar10:" + scratch("nowhere")}), 1, {"nowhere"});
  std::filesystem::create_directories(scratch("cifar"));
  std::ofstream(scratch("cifar/test_batch.bin")) << "too short";
  fails(test::sparsenet({"eval", model, "--data", "cifar10:" + scratch("cifar")}), 1,
        {"test_batch.bin", "expected whole records of 3073 bytes", "found 9"});
  std::filesystem::create_directories(scratch("hundred"));
  std::string record(3074, '\0');
  record[1] = 42;
  std::ofstream(scratch("hundred/test.bin"), std::ios::binary) << record;
  fails(test::sparsenet({"eval", model, "--data", "cifar100:" + scratch("hundred")}), 1,
        {"image 0", "expected a label below 10", "found 42"});
}

TEST_CASE("cli: classify and eval say once that a file stores no mean and std, or values for other pixels") {
  auto model = load_model(small_model());
  REQUIRE(model.ok());
  std::filesystem::create_directories(scratch("norm/cat"));
  std::filesystem::copy_file(sample("cat-0000.png"), scratch("norm/cat/1.png"),
                             std::filesystem::copy_options::overwrite_existing);
  const std::vector<float> pixels(3 * 32 * 32);
  REQUIRE(io::write_npy(scratch("norm.npy"), {1, 3, 32, 32}, pixels.data()).ok());
  std::ofstream(scratch("norm-labels.npy"), std::ios::binary)
      << std::string("\x93NUMPY\x01\0", 8) << '\x3c' << '\0'
      << "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }  \n"
      << '\3';
  const auto notes = [&](const std::vector<float>& mean, const std::vector<float>& std_dev) {
    const std::string path = scratch("norm.snet");
    model->metadata.mean = mean;
    model->metadata.std_dev = std_dev;
    REQUIRE(save_model(*model, path).ok());
    const test::Outcome classify =
        test::sparsenet({"classify", path, sample("cat-0000.png"), sample("dog-0012.png"), "--json"});
    REQUIRE(classify.code == 0);
    const test::Outcome eval = test::sparsenet({"eval", path, "--data", "folder:" + scratch("norm")});
    REQUIRE_MESSAGE(eval.code == 0, eval.err);
    CHECK(eval.err == classify.err);
    // Ready-made inputs are not normalised, so there is no note.
    const test::Outcome ready =
        test::sparsenet({"eval", path, "--data", "npy:" + scratch("norm.npy") + "," + scratch("norm-labels.npy")});
    REQUIRE_MESSAGE(ready.code == 0, ready.err);
    CHECK(ready.err.empty());
    return classify.err;
  };
  const std::string missing = notes({}, {});
  CHECK(missing.rfind("note: ", 0) == 0);
  CHECK(missing.find('\n') == missing.size() - 1);
  CHECK(missing.find("stores no mean and std") != std::string::npos);
  CHECK(missing.find("--normalize") != std::string::npos);
  const std::string unit = notes({0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f});
  CHECK(unit.find("look like 0..1 values") != std::string::npos);
  CHECK(unit.find("--pixel-scale 1") != std::string::npos);
  CHECK(notes({125.3f, 123, 113.9f}, {63, 62.1f, 66.7f}).empty());
  CHECK(notes({0, 0, 0}, {1, 1, 1}).empty());
}

TEST_CASE("cli: verify needs vectors") {
  const std::string plain = scratch("plain.snet");
  REQUIRE(test::sparsenet({"create", "sparsenet-abc-v0", "-o", plain}).code == 0);
  fails(test::sparsenet({"verify", plain}), 1, {plain, "no test vectors"});
}

TEST_CASE("cli: --precision bf16 computes in it, or says what is missing") {
  const std::vector<std::string> command{"bench", small_model(), "--precision", "bf16", "--runs", "1", "--json"};
  if (!is_available(Precision::kBfloat16)) {
    fails(test::sparsenet(command), 1, {small_model(), "precision bf16: expected a CPU"});
    return;
  }
  CHECK(json_of(command)["precision"] == "bf16");
  fails(test::sparsenet({"bench", small_model(), "--precision", "bf16", "--backend", "reference"}), 1,
        {"backend 'reference' computes in float32 only"});
}

TEST_CASE("cli: a backend that this build lacks is a clear failure") {
  for (const char* backend : {"opencl", "cuda"}) {
    const test::Outcome outcome = test::sparsenet({"bench", small_model(), "--backend", backend, "--runs", "1"});
    if (outcome.code != 0) fails(outcome, 1, {backend});
  }
}

}  // namespace
