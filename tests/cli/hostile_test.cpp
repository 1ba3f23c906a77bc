// Files designed to exhaust the machine: small ones that ask for gigabytes or hours, and names that point elsewhere.
// Each is rejected with one clear line, within bounds on memory and processor time; an ordinary conversion is bounded
// as well.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "limited_process.h"
#include "scratch_folder.h"
#include "wire.h"

namespace {

namespace fs = std::filesystem;
namespace wire = sparsenet::test::wire;
using sparsenet::test::kSanitizedMemory;
using sparsenet::test::kSanitizedTime;
using sparsenet::test::LimitedRun;

constexpr size_t kMiB = size_t{1} << 20;
// What a hostile file of a few kilobytes may take: the default budget and the program itself.
constexpr size_t kMostBytes = 400 * kMiB * kSanitizedMemory;
// Of a processor; machines that test are slow and busy.
constexpr double kMostSeconds = 3 * kSanitizedTime;
constexpr double kMostWallSeconds = 60 * kSanitizedTime;

const fs::path& scratch() {
  static const sparsenet::test::ScratchFolder folder;
  return folder.path();
}

std::string write(const std::string& name, const std::string& text) {
  const fs::path path = scratch() / name;
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
  return path.string();
}

LimitedRun convert(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), SPARSENET_CONVERT);
  arguments.insert(arguments.end(), {"-o", (scratch() / "out.snet").string()});
  return sparsenet::test::run_limited(arguments, scratch().string(), kMostWallSeconds);
}

bool told(const LimitedRun& run, const std::vector<std::string>& parts) {
  bool all = true;
  for (const std::string& part : parts) all = all && run.err.find(part) != std::string::npos;
  return all;
}

// Checks that the program failed as it should, with these parts in its message, and within bounds.
void check_refused(const LimitedRun& run, const std::vector<std::string>& parts, int code = 1) {
  INFO("stderr: " << run.err.substr(0, 2000));
  CHECK(!run.timed_out);
  CHECK(run.code == code);
  CHECK(told(run, parts));
  CHECK(run.err.size() < 2000);
  CHECK(run.peak_bytes < kMostBytes);
  CHECK(run.cpu_seconds < kMostSeconds);
  CHECK(!fs::exists(scratch() / "out.snet"));
}

// ConstantOfShape with 2^26 floats, the largest that is allowed.
std::string large_constant(const std::string& name) {
  return wire::node("ConstantOfShape", "shape", name);
}
std::string shape_input() {
  return wire::bytes(5, wire::tensor("shape", wire::dim(1), 7, wire::little(uint64_t{1} << 26, 8)));
}

std::string axis_0() {
  return wire::bytes(5, wire::bytes(1, "axis") + wire::number(3, 0));
}

TEST_CASE("hostile ONNX: constants that are folded") {
  std::string many = shape_input();
  for (int i = 0; i < 40; ++i) many += large_constant("c" + std::to_string(i));
  std::string all;
  for (int i = 0; i < 40; ++i) all += (i ? " c" : "c") + std::to_string(i);
  many += wire::node("Concat", all, "all", axis_0()) + wire::node("Add", "x all", "y");
  check_refused(convert({write("fold.onnx", wire::onnx(many))}), {"ConstantOfShape 'c0'", "--max-memory"});

  // One fits; what is computed from it does not.
  const std::string quarter = wire::bytes(5, wire::tensor("shape", wire::dim(1), 7, wire::little(1u << 24, 8)));
  struct Chain {
    const char* op;
    const char* second;  // input
  };
  for (const Chain& chain : {Chain{"Add", " c"}, Chain{"Neg", ""}, Chain{"Concat", " c"}, Chain{"Transpose", ""}}) {
    CAPTURE(chain.op);
    const bool joins = std::string(chain.op) == "Concat";
    std::string graph = quarter + wire::node("ConstantOfShape", "shape", "c");
    std::string last = "c";
    for (int i = 0; i < 40; ++i) {
      const std::string next = "t" + std::to_string(i);
      graph += wire::node(chain.op, last + chain.second, next, joins ? axis_0() : "");
      last = next;
    }
    graph += wire::node("Add", "x " + last, "y");
    check_refused(convert({write("chain.onnx", wire::onnx(graph))}), {chain.op, "--max-memory"});
  }
}

TEST_CASE("hostile ONNX: constants that are made and dropped") {
  std::string graph = wire::bytes(5, wire::tensor("shape", wire::dim(1), 7, wire::little(1u << 25, 8)));
  graph += wire::node("ConstantOfShape", "shape", "c");
  for (int i = 0; i < 10000; ++i) graph += wire::node("Neg", "c", " ");  // an output without a name
  const LimitedRun run = convert({write("dropped.onnx", wire::onnx(graph + wire::node("Relu", "x", "y")))});
  CHECK(!run.timed_out);
  CHECK(run.peak_bytes < kMostBytes);
  CHECK(run.cpu_seconds < 2 * kMostSeconds);
  fs::remove(scratch() / "out.snet");  // nodes that nothing needs may be skipped
}

TEST_CASE("hostile ONNX: a message that is small only as bytes") {
  std::string nodes;
  for (int i = 0; i < 3000000; ++i) nodes += std::string("\x0a\x00", 2);  // empty nodes
  const LimitedRun run = convert({write("nodes.onnx", wire::onnx(nodes))});
  CHECK_MESSAGE(told(run, {"--max-memory"}), run.err.substr(0, 500));
  CHECK(run.code == 1);
  CHECK(run.peak_bytes < kMostBytes);
  CHECK(run.cpu_seconds < kMostSeconds);
}

TEST_CASE("hostile ONNX: data outside the file stays inside the folder, and is a file") {
  const std::string one = wire::dim(1), big = wire::dim(uint64_t{1} << 31);
  const std::string relu = wire::node("Add", "x w", "y");
  const auto with = [&](const std::string& dims, const std::string& location) {
    return convert({write("model/net.onnx", wire::onnx(wire::bytes(5, wire::external("w", dims, location)) + relu))});
  };
  write("model/data/w.bin", std::string(4, '\0'));
  write("secret.bin", std::string(4, 'x'));
  fs::create_symlink(scratch() / "secret.bin", scratch() / "model/link.bin");
  fs::create_symlink(scratch() / "model/data/w.bin", scratch() / "model/inner.bin");
  fs::create_directory_symlink(scratch(), scratch() / "model/up");
  REQUIRE(mkfifo((scratch() / "model/pipe").c_str(), 0600) == 0);

  const LimitedRun good = with(one, "data/w.bin");
  CHECK_MESSAGE(good.code == 0, good.err);
  fs::remove(scratch() / "out.snet");
  check_refused(with(one, "link.bin"), {"tensor 'w'", "link.bin", "symbolic link"});
  check_refused(with(one, "inner.bin"), {"symbolic link"});
  check_refused(with(one, "up/secret.bin"), {"symbolic link"});
  check_refused(with(one, "../secret.bin"), {"not inside the model's folder"});
  check_refused(with(one, "data/../../secret.bin"), {"not inside the model's folder"});
  check_refused(with(one, (scratch() / "secret.bin").string()), {"not inside the model's folder"});
  check_refused(with(one, "pipe"), {"tensor 'w'", "expected a regular file, found a named pipe"});
  check_refused(with(one, "."), {"expected a regular file, found a folder"});
  check_refused(with(big, "."), {"expected a regular file, found a folder"});
  check_refused(with(one, ""), {"not inside the model's folder"});
  check_refused(with(big, "data/w.bin"), {"tensor 'w'", "expected 8589934592 bytes"});

  // The same bytes repeatedly: a sparse file costs nothing.
  write("model/zeros.bin", "");
  fs::resize_file(scratch() / "model/zeros.bin", 64 * kMiB);
  std::string graph;
  for (int i = 0; i < 100; ++i) {
    graph += wire::bytes(5, wire::external("w" + std::to_string(i), wire::dim(1u << 24), "zeros.bin"));
  }
  const LimitedRun again = convert({write("model/again.onnx", wire::onnx(graph + relu)), "--max-memory", "150MB"});
  check_refused(again, {"tensor 'w2'", "--max-memory"});
}

TEST_CASE("hostile ONNX: many nodes, values and uses take time in proportion") {
  // All with the same name, all reading the same constant, which batch normalisations never share.
  constexpr int kNodes = 20000;
  const std::string c = wire::bytes(5, wire::tensor("c", wire::dim(4), 1, std::string(16, '\x3f')));
  std::string graph = c, last = "x";
  for (int i = 0; i < kNodes; ++i) {
    const std::string next = i + 1 == kNodes ? "y" : "v" + std::to_string(i);
    graph += wire::node("BatchNormalization", last + " c c c c", next, wire::bytes(3, "same"));
    last = next;
  }
  const LimitedRun run = convert({write("many.onnx", wire::onnx(graph))});
  CHECK_MESSAGE(!run.timed_out, run.err);
  CHECK(run.cpu_seconds < 3 * kMostSeconds);
  CHECK(run.peak_bytes < kMostBytes);
  fs::remove(scratch() / "out.snet");

  std::string outputs = wire::node("Relu", "x", "y");
  for (int i = 0; i < 60000; ++i) outputs += wire::bytes(12, wire::bytes(1, "y"));
  const LimitedRun wide = convert({write("outputs.onnx", wire::onnx(outputs))});
  CHECK(!wide.timed_out);
  CHECK(wide.cpu_seconds < 3 * kMostSeconds);
  fs::remove(scratch() / "out.snet");
}

// torch.save's older format, reduced to what precedes the object.
std::string pickle_text(const std::string& text) {
  return "X" + wire::little(text.size(), 4) + text;
}
std::string legacy(const std::string& object) {
  const std::string magic = std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  const std::string protocol = std::string("\x80\x02M\xe9\x03.", 6), system = std::string("\x80\x02}.", 4);
  return magic + protocol + system + "\x80\x02" + object;
}

TEST_CASE("hostile pickles") {
  const auto refused = [](const std::string& name, const std::string& object, const std::string& part) {
    CAPTURE(name);
    check_refused(convert({write(name, legacy(object)), "--arch", "resnet20"}), {part});
  };
  // A long text, stored once and used as a name many times.
  std::string global =
      pickle_text("torch") + "q" + '\x00' + "0" + pickle_text(std::string(1 << 20, 'A') + "Storage") + "q\x01" + "0";
  for (int i = 0; i < 2000; ++i)
    global += std::string(
        "h\x00h\x01\x93"
        "0",
        6);
  refused("global.pth", global + "N.", "nothing is ever executed");
  // A list of pairs, stored once and made into a dict many times.
  std::string dicts = std::string("](", 2);
  for (int i = 0; i < 200000; ++i) dicts += "NN\x86";
  dicts += std::string("e\x85q\x00", 4) +
           "0ccollections\nOrderedDict\nq\x01"
           "0";
  for (int i = 0; i < 2000; ++i) dicts += std::string("h\x01h\x00R0", 6);
  refused("dicts.pth", dicts + "N.", "--max-memory");
  // A large tuple, used as arguments again and again.
  std::string calls = "(";
  for (int i = 0; i < 500000; ++i) calls += "N";
  calls += std::string("tq\x00", 3) +
           "0ctorch\nSize\nq\x01"
           "0";
  for (int i = 0; i < 100000; ++i) calls += std::string("h\x01h\x00R0", 6);
  refused("calls.pth", calls + "N.", "problem");
  refused("nones.pth", std::string(6000000, 'N') + ".", "--max-memory");
  refused("memo.pth", "N" + std::string(8000000, '\x94') + ".", "--max-memory");
}

TEST_CASE("hostile archives") {
  const std::string bomb = wire::zip("w.npy", std::string(100, '\0'), 0xfffffff0u, 8);
  check_refused(convert({write("bomb.npz", bomb), "--arch", "resnet20"}), {"zip entry 'w.npy'", "--max-memory"});
  const std::string torch = wire::zip("a/data.pkl", std::string(100, '\0'), 0xfffffff0u, 8);
  check_refused(convert({write("bomb.pth", torch), "--arch", "resnet20"}), {"zip entry 'a/data.pkl'", "--max-memory"});
}

TEST_CASE("hostile safetensors: a long header takes time in proportion") {
  const auto file = [](const std::string& header) { return wire::little(header.size(), 8) + header; };
  std::string header = "{";
  for (int i = 0; i < 12000; ++i) {
    header += (i ? ",\"" : "\"") + std::string("layer.") + std::to_string(i) +
              R"(.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  }
  const LimitedRun run = convert({write("header.safetensors", file(header + "}")), "--arch", "resnet20"});
  CHECK(run.code == 1);
  CHECK(!run.timed_out);
  CHECK(run.cpu_seconds < kMostSeconds);
  CHECK(run.peak_bytes < kMostBytes);

  std::string lists = R"({"a":{"dtype":"F32","shape":[)";
  for (int i = 0; i < 2000000; ++i) lists += "1,";
  check_refused(convert({write("lists.safetensors", file(lists + "1]}}")), "--arch", "resnet20"}), {"tensor 'a'"});
}

TEST_CASE("--map: no expression can hang the conversion") {
  std::string names = "{";
  for (int i = 0; i < 50; ++i) {
    names += (i ? ",\"" : "\"") + std::string(40 + static_cast<size_t>(i), 'a') +
             R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  }
  names += "}";
  const std::string file = write("names.safetensors", wire::little(names.size(), 8) + names);
  for (const char* rule : {"(a+)+b=x", "(a*)*b=x", "(a|a)*b=x", "(.*)(.*)(.*)(.*)(.*)(.*)b=x", "(a?){200}a{200}b=x"}) {
    CAPTURE(rule);
    const LimitedRun run = convert({file, "--arch", "resnet20", "--map", rule});
    CHECK(run.code == 1);
    CHECK(!run.timed_out);
    CHECK(run.cpu_seconds < kMostSeconds);
    CHECK(run.peak_bytes < kMostBytes);
  }
  check_refused(convert({file, "--arch", "resnet20", "--map", "(a)\\1=x"}), {"--map", "back references"}, 2);
  check_refused(convert({file, "--arch", "resnet20", "--map", "((((a{100}){100}){100}){100})=x"}), {"--map"}, 2);
}

TEST_CASE("a limit of the user's own") {
  const std::string weights(4 * 1000 * 4, '\0');
  const std::string w = wire::bytes(5, wire::tensor("w", wire::dim(4) + wire::dim(1000), 1, weights));
  const std::string net = write("limit.onnx", wire::onnx(w + wire::node("MatMul", "x w", "y")));
  check_refused(convert({net, "--max-memory", "20000"}), {"--max-memory"});
  const LimitedRun enough = convert({net, "--max-memory", "64MiB"});
  CHECK_MESSAGE(enough.code == 0, enough.err);
  fs::remove(scratch() / "out.snet");
  for (const char* wrong : {"0", "-5", "many"}) {
    CAPTURE(wrong);
    CHECK(convert({net, "--max-memory", wrong}).code == 2);
  }
}

TEST_CASE("what is no regular file is neither waited for nor read") {
  const std::string pipe = (scratch() / "a.pipe").string(), folder = (scratch() / "a.folder").string();
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  fs::create_directories(folder);
  const std::string net = write("plain.onnx", wire::onnx(wire::node("Relu", "x", "y")));
  for (const std::string& path : {pipe, folder, std::string("/dev/zero")}) {
    CAPTURE(path);
    const std::string why = path == folder ? "this is a folder" : "expected a regular file";
    check_refused(convert({path, "--from", "onnx"}), {path, why});
    check_refused(convert({path, "--from", "snet"}), {path, why});
    check_refused(convert({net, "--labels", path}), {path, "expected a regular file"});
    const std::string header = R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})";
    const std::string file = write("one.safetensors", wire::little(header.size(), 8) + header);
    check_refused(convert({file, "--arch", "resnet20", "--map", path}), {path, "expected a regular file"});
#ifdef SPARSENET_CLI
    for (const char* command : {"info", "bench", "verify"}) {
      check_refused(sparsenet::test::run_limited({SPARSENET_CLI, command, path}, scratch().string(), kMostWallSeconds),
                    {path});
    }
#endif
  }
}

TEST_CASE("an ordinary conversion takes about twice the file") {
  // 96 MiB of weights in four matrices, as written by exporters.
  constexpr uint64_t kWide = 6291456;
  const std::string raw(kWide * 4, '\x11');
  std::string graph;
  for (int i = 0; i < 4; ++i) {
    const std::string n = std::to_string(i);
    graph += wire::bytes(5, wire::tensor("w" + n, wire::dim(kWide / 4) + wire::dim(4), 1, raw));
    graph += wire::node("Gemm", "x w" + n, "g" + n, wire::bytes(5, wire::bytes(1, "transB") + wire::number(3, 1)));
    graph += wire::bytes(12, wire::bytes(1, "g" + n));
  }
  const std::string file = write("large.onnx", wire::onnx(graph + wire::node("Relu", "x", "y")));
  const LimitedRun run = convert({file});
  CHECK_MESSAGE(run.code == 0, run.err);
  const size_t bytes = fs::file_size(file);
  INFO("took " << run.peak_bytes << " bytes for a file of " << bytes);
  CHECK(run.peak_bytes < (bytes * 22 / 10 + 50 * kMiB) * kSanitizedMemory);
  fs::remove(scratch() / "out.snet");
  fs::remove(file);
}

#ifdef SPARSENET_CLI

LimitedRun sparsenet_run(std::vector<std::string> words) {
  words.insert(words.begin(), SPARSENET_CLI);
  return sparsenet::test::run_limited(words, scratch().string(), kMostWallSeconds);
}

TEST_CASE("hostile .snet: shapes of gigabytes in a file of a kilobyte") {
  sparsenet::Model model;
  sparsenet::Graph& graph = model.graph;
  const auto x = graph.add_input("x", {1, 1, 32768, 32768});
  graph.outputs = {graph.add_node(sparsenet::Op::kRelu, "relu", {x})};
  const std::string path = (scratch() / "large.snet").string();
  REQUIRE(sparsenet::save_model(model, path).ok());
  for (const char* command : {"info", "bench", "profile", "verify"}) {
    CAPTURE(command);
    const LimitedRun run = sparsenet_run({command, path});
    INFO(run.err);
    CHECK(run.code == 1);
    CHECK(run.peak_bytes < kMostBytes);
    CHECK(run.cpu_seconds < kMostSeconds);
  }
  CHECK(told(sparsenet_run({"info", path}), {path, "bytes", "--max-memory"}));
  // Converting needs no more than that; running the network would, and is refused.
  const LimitedRun plan = convert({path, "--plan", "portable-f32", "--test-vectors", "1"});
  check_refused(plan, {"--max-memory"});
}

TEST_CASE("the limit of memory is the user's to set") {
  const std::string path = (scratch() / "small.snet").string();
  CHECK(sparsenet_run({"create", "sparsenet-abc-v0", "-o", path}).code == 0);
  const LimitedRun little = sparsenet_run({"info", path, "--max-memory", "1000"});
  CHECK(little.code == 1);
  CHECK(told(little, {path, "more than the 1000"}));
  CHECK(sparsenet_run({"info", path, "--max-memory", "1GiB"}).code == 0);
}

TEST_CASE("images and arrays that are no regular files") {
  const std::string path = (scratch() / "photos.snet").string(), pipe = (scratch() / "photo.pipe").string();
  CHECK(sparsenet_run({"create", "sparsenet-abc-v0", "-o", path}).code == 0);
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  for (const std::string& image : {pipe, std::string("/dev/zero")}) {
    CAPTURE(image);
    for (const auto& words : {std::vector<std::string>{"classify", path, image},
                              {"run", path, "-i", image, "-o", (scratch() / "out.npy").string()},
                              {"eval", path, "--data", "npy:" + image + "," + image}}) {
      const LimitedRun run = sparsenet_run(words);
      INFO(run.err);
      CHECK(run.code == 1);
      CHECK(!run.timed_out);
      CHECK(told(run, {image}));
      CHECK(run.peak_bytes < kMostBytes);
    }
  }
}

#endif

}  // namespace
