// What the commands return if all is well: JSON fields, files, agreement between commands.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "command.h"
#include "data/image.h"
#include "data/npy.h"
#include "data/preprocess.h"

namespace {

using namespace sparsenet;
using nlohmann::json;
using test::json_of;
using test::sample;
using test::scratch;
using test::small_model;

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void need(const json& object, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) CHECK_MESSAGE(object.contains(key), key);
}

TEST_CASE("cli: create is reproducible and info tells the published counts") {
  const std::string first = scratch("a.snet"), second = scratch("b.snet"), other = scratch("c.snet");
  for (const auto& [path, seed] : {std::pair<std::string, const char*>(first, "5"), {second, "5"}, {other, "6"}}) {
    const test::Outcome made = test::sparsenet({"create", "sparsenet-abc-v1", "-o", path, "--seed", seed});
    REQUIRE_MESSAGE(made.code == 0, made.err);
    CHECK(made.err.empty());
  }
  CHECK(read_text(first) == read_text(second));
  CHECK(read_text(first) != read_text(other));

  const json info = json_of({"info", first});
  need(info, {"name", "parameters", "macs", "input_shape", "classes", "nodes", "steps", "copy_steps", "memory",
              "images_at_once"});
  need(info["memory"], {"arena_bytes", "lower_bound_bytes", "scratch_bytes", "weights_bytes"});
  CHECK(info["name"] == "sparsenet-abc-v1");
  CHECK(info["parameters"] == 860698);
  CHECK(info["macs"] == 236320256);
  CHECK(info["input_shape"] == json({1, 3, 32, 32}));
  CHECK(info["classes"] == 10);
  CHECK(info["memory"]["arena_bytes"] >= info["memory"]["lower_bound_bytes"]);
  CHECK_FALSE(info.contains("tensors"));
  const json tensors = json_of({"info", first, "--tensors"})["tensors"];
  CHECK(tensors[0] == json({{"name", "stem.weight"}, {"type", "float32"}, {"shape", {32, 3, 3, 3}}}));
  const test::Outcome listed = test::sparsenet({"info", first, "--tensors"});
  CHECK(listed.out.find("\n  stem.weight [32, 3, 3, 3] float32\n") != std::string::npos);
  CHECK(json_of({"info", "--batch", "4", first})["input_shape"] == json({4, 3, 32, 32}));

  const std::string hundred = scratch("hundred.snet");
  REQUIRE(test::sparsenet({"create", "sparsenet-abc-v0", "--classes", "100", "-o", hundred}).code == 0);
  CHECK(json_of({"info", hundred})["classes"] == 100);
}

TEST_CASE("cli: info draws the plan") {
  const std::string svg = scratch("plan.svg");
  const test::Outcome outcome = test::sparsenet({"info", small_model(), "--plan-svg", svg});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const std::string text = read_text(svg);
  CHECK(text.rfind("<svg ", 0) == 0);
  CHECK(text.find("</svg>") != std::string::npos);
  CHECK(text.find("lower bound") != std::string::npos);
  size_t boxes = 0;
  for (size_t at = 0; (at = text.find("class=\"box\"", at)) != std::string::npos; ++at) ++boxes;
  CHECK(boxes > 3);
}

TEST_CASE("cli: run gives the same for a batch, its images alone, and named tensors") {
  const size_t one = 3 * 32 * 32;
  std::vector<float> images(3 * one);
  for (size_t i = 0; i < images.size(); ++i) images[i] = static_cast<float>(i * 37 % 255) / 100.0f - 1.2f;
  const std::string in = scratch("three.npy"), out = scratch("three-out.npy");
  REQUIRE(io::write_npy(in, {3, 3, 32, 32}, images.data()).ok());
  const test::Outcome outcome = test::sparsenet({"run", small_model(), "--input", in, "--output", out});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  auto batch = io::read_npy(out);
  REQUIRE(batch.ok());
  REQUIRE(batch->shape == Shape{3, 10});

  const std::string single = scratch("one=1.npy"), single_out = scratch("one-out.npy");  // this '=' makes no name
  for (size_t i = 0; i < 3; ++i) {
    REQUIRE(io::write_npy(single, {1, 3, 32, 32}, images.data() + i * one).ok());
    const std::string prefix = i == 2 ? "input=" : "";
    const test::Outcome run =
        test::sparsenet({"run", "-m", small_model(), "-i", prefix + single, "-o", "logits=" + single_out, "-t", "1"});
    REQUIRE_MESSAGE(run.code == 0, run.err);
    auto row = io::read_npy(single_out);
    REQUIRE(row.ok());
    double largest = 0, difference = 0;
    for (size_t c = 0; c < 10; ++c) {
      const auto alone = static_cast<double>(row->values[c]), together = static_cast<double>(batch->values[i * 10 + c]);
      largest = std::max(largest, std::abs(together));
      difference = std::max(difference, std::abs(alone - together));
    }
    CHECK(std::isfinite(largest));
    CHECK(difference <= 1e-4 * largest);
  }
}

TEST_CASE("cli: run takes images with their channels last as well") {
  const size_t one = 3 * 32 * 32, batch = 2;
  std::vector<float> first(batch * one), last(batch * one);
  for (size_t i = 0; i < first.size(); ++i) first[i] = static_cast<float>(i * 37 % 255) / 100.0f - 1.2f;
  for (size_t i = 0; i < first.size(); ++i) {
    const size_t pixel = i % 1024, channel = i / 1024 % 3, image = i / one;
    last[(image * 1024 + pixel) * 3 + channel] = first[i];
  }
  std::vector<float> results[2];
  for (const bool channels_last : {false, true}) {
    const std::string in = scratch("order.npy"), out = scratch("order-out.npy");
    const Shape shape = channels_last ? Shape{2, 32, 32, 3} : Shape{2, 3, 32, 32};
    REQUIRE(io::write_npy(in, shape, (channels_last ? last : first).data()).ok());
    const test::Outcome run = test::sparsenet({"run", small_model(), "-i", in, "-o", out});
    REQUIRE_MESSAGE(run.code == 0, run.err);
    results[channels_last ? 1 : 0] = io::read_npy(out)->values;
  }
  CHECK(results[0] == results[1]);
}

TEST_CASE("cli: classify agrees with run on the prepared pixels") {
  const std::string image_path = sample("cat-0000.png");
  auto image = io::load_image(image_path);
  REQUIRE(image.ok());
  auto model = load_model(small_model());
  REQUIRE(model.ok());
  auto preprocess = io::Preprocess::create({1, 3, 32, 32}, model->metadata);
  REQUIRE(preprocess.ok());
  std::vector<float> pixels(preprocess->elements());
  preprocess->apply(*image, pixels.data());
  const std::string in = scratch("cat.npy"), out = scratch("cat-out.npy");
  REQUIRE(io::write_npy(in, {1, 3, 32, 32}, pixels.data()).ok());
  REQUIRE(test::sparsenet({"run", small_model(), "-i", in, "-o", out}).code == 0);
  auto logits = io::read_npy(out);
  REQUIRE(logits.ok());
  double sum = 0;
  for (const float logit : logits->values) sum += std::exp(static_cast<double>(logit));

  const json list = json_of({"classify", small_model(), image_path, "--top", "10"});
  REQUIRE(list.size() == 1);
  CHECK(list[0]["image"] == image_path);
  CHECK(list[0]["latency_ms"].get<double>() > 0);
  const json& predictions = list[0]["predictions"];
  REQUIRE(predictions.size() == 10);
  double before = 1;
  CHECK(predictions[0]["probability"].get<double>() < 0.999);
  for (const json& prediction : predictions) {
    const auto index = prediction["index"].get<size_t>();
    const double probability = prediction["probability"];
    CHECK(prediction["label"] == model->metadata.labels[index]);
    CHECK(probability <= before);
    CHECK(probability == doctest::Approx(std::exp(static_cast<double>(logits->values[index])) / sum).epsilon(1e-4));
    before = probability;
  }

  // The text form, custom labels, several images.
  const std::string labels = scratch("labels.txt");
  std::ofstream(labels) << "l0\nl1\nl2\nl3\nl4\nl5\nl6\nl7\nl8\nl9\n";
  const test::Outcome text = test::sparsenet(
      {"classify", "--graph=" + small_model(), "-l", labels, "-t", "1", "-r", "1", image_path, sample("dog-0012.png")});
  REQUIRE_MESSAGE(text.code == 0, text.err);
  const auto best = predictions[0]["index"].get<int>();
  CHECK(text.out.find(": " + std::to_string(best) + " l" + std::to_string(best) + "\n") != std::string::npos);
  CHECK(text.out.find("dog-0012.png (") != std::string::npos);
}

TEST_CASE("cli: classify takes images of other sizes, grey, PNG and JPEG") {
  const std::string data = std::string(SPARSENET_SOURCE_DIR) + "/tests/cli/data/";
  const json list = json_of({"classify", small_model(), data + "rgb.png", data + "gray.jpg", data + "cmyk.jpg"});
  CHECK(list.size() == 3);
}

TEST_CASE("cli: eval counts what classify says, for every batch size and format") {
  // A data set whose labels are the network's own answers for four images, and a different class for one.
  const std::vector<std::string> names{"cat-0000", "ship-0001", "frog-0004", "dog-0012", "truck-0011"};
  std::vector<std::string> line{"classify", small_model(), "--top", "1"};
  for (const std::string& name : names) line.push_back(sample(name + ".png"));
  const json answers = json_of(line);
  std::filesystem::create_directories(scratch("set"));
  std::ofstream cifar(scratch("set/test_batch.bin"), std::ios::binary);
  for (size_t i = 0; i < names.size(); ++i) {
    const json& best = answers[i]["predictions"][0];
    int label = best["index"];
    if (i == 2) label = (label + 1) % 10;
    const auto labels = load_model(small_model())->metadata.labels;
    const std::string folder = scratch("folder/" + labels[static_cast<size_t>(label)]);
    std::filesystem::create_directories(folder);
    std::filesystem::copy_file(sample(names[i] + ".png"), folder + "/" + names[i] + ".png");
    auto image = io::load_image(sample(names[i] + ".png"));
    cifar.put(static_cast<char>(label));
    for (size_t c = 0; c < 3; ++c) {
      for (size_t p = 0; p < 1024; ++p) cifar.put(static_cast<char>(image->pixels[p * 3 + c]));
    }
  }
  cifar.close();
  for (const char* batch : {"1", "2", "32"}) {
    // The folder has only some of the classes: its names are matched to the network's labels.
    for (const std::string& data : {"cifar10:" + scratch("set"), "folder:" + scratch("folder")}) {
      const json result = json_of({"eval", small_model(), "--data", data, "--batch", batch});
      need(result, {"images", "correct", "top1", "top5", "error_percent", "images_per_second"});
      CHECK(result["images"] == 5);
      CHECK(result["correct"] == 4);
      CHECK(result["top1"].get<double>() == doctest::Approx(0.8));
      CHECK(result["error_percent"].get<double>() == doctest::Approx(20));
      CHECK(result["images_per_second"].get<double>() > 0);
    }
  }
  const json limited = json_of({"eval", small_model(), "--data", "cifar10:" + scratch("set"), "--limit", "2"});
  CHECK(limited["images"] == 2);
  CHECK(limited["correct"] == 2);
  const test::Outcome text = test::sparsenet({"eval", small_model(), "--data", "cifar10:" + scratch("set")});
  CHECK(text.code == 0);
  CHECK(text.out.find("80.00 %") != std::string::npos);
}

TEST_CASE("cli: bench reports latencies in order, and memory") {
  const json bench =
      json_of({"bench", small_model(), "--warmup", "1", "--runs", "5", "--threads", "1", "--batch", "2"});
  need(bench, {"model", "backend", "threads", "batch", "runs", "latency_ms", "first_run_ms", "load_ms",
               "images_per_second", "arena_bytes", "scratch_bytes", "weights_bytes", "peak_rss_bytes"});
  const json& latency = bench["latency_ms"];
  double before = 0;
  for (const char* key : {"min", "p50", "p90", "p95", "p99", "max"}) {
    REQUIRE_MESSAGE(latency.contains(key), key);
    CHECK(latency[key].get<double>() >= before);
    before = latency[key];
  }
  need(latency, {"mean", "stddev"});
  CHECK(bench["threads"] == 1);
  CHECK(bench["batch"] == 2);
  CHECK(bench["runs"] == 5);
  CHECK(bench["peak_rss_bytes"].get<size_t>() > bench["arena_bytes"].get<size_t>());
  CHECK(bench["images_per_second"].get<double>() ==
        doctest::Approx(2000 / latency["mean"].get<double>()).epsilon(1e-6));

  const json peak = json_of({"bench", "--graph=" + small_model(), "--num_threads=1", "--warmup_runs=1", "--num_runs=3",
                             "--peak", "--backend", "portable"});
  CHECK(peak["runs"] == 3);
  CHECK(peak["fma_peak_gflops"].get<double>() > 0);
  CHECK(peak["percent_of_peak"].get<double>() > 0);
  CHECK(test::sparsenet({"bench", small_model(), "--runs", "2", "--warmup", "0"}).out.find("p95") != std::string::npos);
}

TEST_CASE("cli: more threads than CPUs get a warning, which leaves stdout alone") {
  const std::string many = std::to_string(usable_cpus() + 1);
  for (const bool reports_json : {false, true}) {
    std::vector<std::string> command{"bench", small_model(), "--runs", "1", "--warmup", "0", "--threads", many};
    if (reports_json) command.emplace_back("--json");
    const test::Outcome warned = test::sparsenet(command);
    CHECK(warned.code == 0);
    CHECK(warned.err.rfind("warning: " + many + " threads, but ", 0) == 0);
    CHECK(warned.err.find('\n') == warned.err.size() - 1);  // once
    CHECK(warned.out.find("warning") == std::string::npos);
    if (reports_json) CHECK(json::parse(warned.out)["threads"] == usable_cpus() + 1);
  }
  for (const char* fine : {"0", "1"}) {
    CHECK(test::sparsenet({"bench", small_model(), "--runs", "1", "--warmup", "0", "--threads", fine}).err.empty());
  }
}

TEST_CASE("cli: profile lists every step and writes a trace") {
  const std::string trace = scratch("trace.json");
  const json profile = json_of({"profile", small_model(), "--runs", "3", "--warmup", "1", "--trace", trace});
  need(profile, {"steps", "copy_steps"});
  const json info = json_of({"info", small_model()});
  CHECK(profile["steps"].size() == info["steps"].get<size_t>());
  CHECK(profile["copy_steps"] == info["copy_steps"]);
  for (const json& step : profile["steps"]) need(step, {"name", "op", "kernel", "backend", "ms"});

  const json events = json::parse(read_text(trace), nullptr, false);
  REQUIRE_FALSE(events.is_discarded());
  // A name for the process, and for each run one event for the run and one per step.
  CHECK(events["traceEvents"].size() == 1 + 3 * (1 + profile["steps"].size()));
  const test::Outcome text = test::sparsenet({"profile", small_model(), "--runs", "2", "-t", "1"});
  CHECK(text.code == 0);
  CHECK(text.out.find("GFLOP/s") != std::string::npos);
}

TEST_CASE("cli: verify passes on the file's own vectors and fails on changed ones") {
  for (const char* backend : {"auto", "portable", "reference"}) {
    const json result = json_of({"verify", small_model(), "--backend", backend});
    CHECK(result["passed"] == true);
    REQUIRE(result["results"].size() == 1);
    CHECK(result["results"][0]["max_relative_difference"].get<double>() <= 1e-4);
  }
  CHECK(test::sparsenet({"verify", small_model()}).code == 0);

  auto model = load_model(small_model());
  REQUIRE(model.ok());
  TestVector& vector = model->test_vectors[0];
  std::vector<float> wrong(vector.outputs[0].f32(), vector.outputs[0].f32() + 10);
  wrong[3] = wrong[3] * 1.01f + 0.01f;
  vector.outputs[0] = Tensor::from({1, 10}, wrong);
  const std::string path = scratch("wrong.snet");
  REQUIRE(save_model(*model, path).ok());
  const test::Outcome failed = test::sparsenet({"verify", path});
  CHECK(failed.code == 1);
  CHECK(failed.out.find("FAILED") != std::string::npos);
  CHECK(failed.err.find("error: " + path) == 0);
  CHECK(json_of({"verify", path}, 1)["passed"] == false);
}

}  // namespace
