// Data as users have it: with other classes than the network's, and in folders with stray and broken files. Nothing
// that is wrong goes unreported.
#include <doctest/doctest.h>
#include <sparsenet/model.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "data/npy.h"
#include "train_command.h"

namespace {

using namespace sparsenet;
using namespace sparsenet::test;
namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const std::string kNetwork = "sparsenet-basic:blocks=1-1-1,k=2,path=2,keep=1-1";

// Trains for one epoch on `data`.
Outcome teach(const std::string& source, const std::string& data, const std::string& out, const Words& more = {}) {
  Words line{"train", source, "--data", data, "-o", scratch(out), "--epochs", "1", "--batch", "2", "--lr", "0.01"};
  line.insert(line.end(), more.begin(), more.end());
  return sparsenet::test::sparsenet(line);
}

// A network for the folder "four", two images per class.
const std::string& four_classes() {
  static const std::string path = [] {
    make_photos("four", {"bird-0025", "cat-0000", "dog-0012", "ship-0001"});
    const Outcome made = teach(kNetwork, "folder:" + scratch("four"), "four.snet");
    REQUIRE_MESSAGE(made.code == 0, made.err);
    return scratch("four.snet");
  }();
  return path;
}

// The folder "four" with other class names.
std::string renamed(const std::string& folder, const Words& names) {
  four_classes();
  const Words old{"bird-0025", "cat-0000", "dog-0012", "ship-0001"};
  fs::remove_all(scratch(folder));
  fs::create_directories(scratch(folder));
  for (size_t i = 0; i < names.size(); ++i) {
    fs::copy(scratch("four/" + old[i]), scratch(folder + "/" + names[i]), fs::copy_options::recursive);
  }
  return "folder:" + scratch(folder);
}

Words labels_of(const std::string& file) {
  auto model = load_model(scratch(file));
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  return model->metadata.labels;
}

std::string ready_made(const std::string& name, const std::vector<int>& labels) {
  const auto count = static_cast<int64_t>(labels.size());
  const Tensor images = random_tensor({count, 3, 32, 32}, 1.0f, 7);
  REQUIRE(io::write_npy(scratch(name + "-x.npy"), images.shape, images.f32()).ok());
  write_labels(scratch(name + "-y.npy"), labels);
  return "npy:" + scratch(name + "-x.npy") + "," + scratch(name + "-y.npy");
}

TEST_CASE("train: classes with other names are an error that names --classes and --keep-labels") {
  const std::string& model = four_classes();
  const Words shapes{"circle", "square", "star", "triangle"};
  const struct {
    const char* what;
    Words names;
    std::string conflict;
  } cases[] = {{"as many", shapes, "'circle' is none of them"},
               {"fewer", {"circle", "square"}, "'circle' is none of them"},
               {"one of them new", {"bird-0025", "cat-0000", "hamster"}, "'hamster' is none of them"},
               {"written otherwise", {"Bird-0025", "cat-0000"}, "'Bird-0025' is none of them"}};
  for (const auto& one : cases) {
    INFO(one.what);
    const std::string data = renamed("names", one.names), count = std::to_string(one.names.size());
    fails(teach(model, data, "never.snet"), 1,
          {"--data " + data, one.conflict, "--classes " + count, "--keep-labels", "(bird-0025, cat-0000, "});
    CHECK_FALSE(fs::exists(scratch("never.snet")));
  }

  // --classes gives the network a last layer for them, although there are as many as before, and their names.
  const std::string data = renamed("names", shapes);
  const Outcome anew = teach(model, data, "shapes.snet", {"--classes", "4"});
  REQUIRE_MESSAGE(anew.code == 0, anew.err);
  CHECK(contains(anew.out, "--classes 4: the last layer is new, for circle, square, star, triangle in place of bird-"));
  CHECK(labels_of("shapes.snet") == shapes);
  REQUIRE(teach(model, data, "kept.snet", {"--keep-labels"}).code == 0);
  CHECK(labels_of("kept.snet") == labels_of("four.snet"));
  CHECK(bytes_of(scratch("shapes.snet")) != bytes_of(scratch("kept.snet")));
  const Outcome kept = teach(model, data, "kept.snet", {"--keep-labels", "--classes", "4"});
  REQUIRE(kept.code == 0);
  CHECK(contains(kept.out, "--keep-labels: they count in their order"));
  fails(teach(model, data, "never.snet", {"--keep-labels", "--classes", "5"}), 2, {"--keep-labels", "--classes 5"});

  // If the data has only some of the classes, under their own names, they are matched by name.
  fs::create_directories(scratch("some"));
  fs::copy(scratch("four/ship-0001"), scratch("some/ship-0001"), fs::copy_options::recursive);
  const Outcome some = teach(model, "folder:" + scratch("some"), "some.snet");
  REQUIRE_MESSAGE(some.code == 0, some.err);
  CHECK_FALSE(contains(some.out, "note    --data"));
  CHECK(labels_of("some.snet") == labels_of("four.snet"));
}

TEST_CASE("train: data of other formats with other classes") {
  // CIFAR-10's ten names against another ten, such as those of SVHN.
  fs::create_directories(scratch("cifar"));
  std::string records, names;
  for (int label = 0; label < 10; ++label) {
    records += static_cast<char>(label) + std::string(3072, static_cast<char>(20 * label));
    names += "animal " + std::to_string(label) + "\n";
  }
  for (int file = 1; file <= 5; ++file) {
    std::ofstream(scratch("cifar/data_batch_" + std::to_string(file) + ".bin"), std::ios::binary) << records;
  }
  std::ofstream(scratch("cifar/batches.meta.txt")) << names;
  fails(teach(small_model(), "cifar10:" + scratch("cifar"), "never.snet"), 1,
        {"animal 0", "airplane", "--classes 10", "--keep-labels"});
  REQUIRE(teach(small_model(), "cifar10:" + scratch("cifar"), "animals.snet", {"--classes", "10"}).code == 0);
  CHECK(labels_of("animals.snet")[9] == "animal 9");

  // Without the file of names it cannot be told, so that is reported.
  fs::remove(scratch("cifar/batches.meta.txt"));
  const Outcome nameless = teach(small_model(), "cifar10:" + scratch("cifar"), "nameless.snet");
  REQUIRE_MESSAGE(nameless.code == 0, nameless.err);
  CHECK(contains(nameless.out, "it names no classes; its labels count as the model's, in their order (airplane, "));

  // Ready-made inputs have no names: having fewer labels than the model has classes is the same mistake.
  const std::string four = ready_made("four", {0, 1, 2, 3});
  fails(teach(small_model(), four, "never.snet"), 1,
        {"its labels end at 3", "the model's are 10 (airplane, ", "--classes 4", "--keep-labels"});
  REQUIRE(teach(small_model(), four, "four-new.snet", {"--classes", "4"}).code == 0);
  CHECK(labels_of("four-new.snet").empty());
  REQUIRE(teach(small_model(), four, "four-old.snet", {"--keep-labels"}).code == 0);
  CHECK(labels_of("four-old.snet").size() == 10);
  fails(teach(small_model(), ready_made("more", {0, 11}), "never.snet"), 1, {"below 10", "found 11", "--classes 12"});

  // A network without labels takes the data's if there are as many; otherwise this is reported.
  auto bare = load_model(four_classes());
  REQUIRE(bare.ok());
  bare->metadata.labels.clear();
  REQUIRE(save_model(*bare, scratch("bare.snet")).ok());
  const Words shapes{"circle", "square", "star", "triangle"};
  REQUIRE(teach(scratch("bare.snet"), renamed("names", shapes), "named.snet").code == 0);
  CHECK(labels_of("named.snet") == shapes);
  const Outcome fewer = teach(scratch("bare.snet"), renamed("names", {"circle", "square"}), "unnamed.snet");
  REQUIRE_MESSAGE(fewer.code == 0, fewer.err);
  CHECK(contains(fewer.out, "its 2 classes (circle, square) count as the first of the network's 4"));
}

TEST_CASE("train: test data of other classes measures nothing") {
  const std::string& model = four_classes();
  const std::string own = "folder:" + scratch("four"),
                    other = renamed("names", {"circle", "square", "star", "triangle"});
  fails(teach(model, own, "never.snet", {"--test", other}), 1, {"--test " + other, "'circle' is none of them"});
  fails(teach(kNetwork, own, "never.snet", {"--test", other}), 1, {"--test " + other, "--keep-labels"});
  REQUIRE(teach(model, own, "tested.snet", {"--test", other, "--keep-labels"}).code == 0);
  // By then the network's classes are those of --data, whatever the model called them.
  REQUIRE(teach(model, other, "tested.snet", {"--test", other, "--classes", "4"}).code == 0);
  REQUIRE(teach(model, other, "tested.snet", {"--test", other, "--keep-labels"}).code == 0);
  fails(teach(model, other, "never.snet", {"--test", own, "--classes", "4"}), 1, {"--test " + own});
  // More classes than names: they are still known from the training data.
  fails(teach(model, other, "never.snet", {"--test", own, "--classes", "6"}), 1, {"--test " + own, "those of --data"});
  const std::string some = renamed("some-names", {"square"});
  REQUIRE(teach(model, other, "tested.snet", {"--test", some, "--classes", "6"}).code == 0);
}

TEST_CASE("train: resuming asks the same question again") {
  const std::string data = renamed("names", {"circle", "square", "star", "triangle"});
  REQUIRE(teach(four_classes(), data, "r.snet", {"--classes", "4"}).code == 0);
  fails(teach(four_classes(), data, "r.snet", {"--resume"}), 1, {"--classes 4"});
  const std::string before = bytes_of(scratch("r.snet"));
  REQUIRE(teach(four_classes(), data, "r.snet", {"--resume", "--classes", "4"}).code == 0);
  CHECK(bytes_of(scratch("r.snet")) == before);
  const Outcome other = teach(four_classes(), data, "r.snet", {"--resume", "--keep-labels"});
  CHECK(other.code == 1);
  CHECK(contains(other.err, "r.snet.checkpoint"));
}

TEST_CASE("eval: classes with other names are said") {
  const std::string data = renamed("names", {"circle", "square", "star", "triangle"});
  const Outcome eval = sparsenet::test::sparsenet({"eval", four_classes(), "--data", data, "--json"});
  REQUIRE(eval.code == 0);
  CHECK(contains(eval.err, "note: " + data + ": its classes (circle, square, star, triangle) are not the model's"));
  const Outcome own = sparsenet::test::sparsenet({"eval", four_classes(), "--data", "folder:" + scratch("four")});
  REQUIRE(own.code == 0);
  CHECK(own.err.empty());
  CHECK(contains(own.out, "8 images of 4 classes, 2 each: bird-0025, cat-0000, dog-0012, ship-0001"));
  const Outcome part =
      sparsenet::test::sparsenet({"eval", four_classes(), "--data", "folder:" + scratch("four"), "--limit", "3"});
  CHECK(contains(part.err, "the first 3 images are of 2 of the 4 classes"));
}

// The folder "four" with two broken images, a stray file and an empty folder.
std::string broken_folder() {
  const std::string data = renamed("broken", {"a", "b", "c", "d"});
  std::ofstream(scratch("broken/a/0.png")) << "no picture";
  fs::copy_file(sample("cat-0000.png"), scratch("broken/c/0.jpg"), fs::copy_options::overwrite_existing);
  fs::resize_file(scratch("broken/c/0.jpg"), 300);
  std::ofstream(scratch("broken/d/notes.txt")) << "words";
  fs::create_directories(scratch("broken/later"));
  return data;
}

TEST_CASE("train: images per class, what is left out, and every broken file at once") {
  const std::string data = broken_folder();
  const Outcome failed = teach(kNetwork, data, "never.snet");
  CHECK(failed.code == 1);
  CHECK(failed.out.empty());
  CHECK(failed.err.rfind("error: " + data + ": --skip-broken leaves them out: 2 of 10 images cannot be read\n", 0) ==
        0);
  CHECK(contains(failed.err, "\n  " + scratch("broken/a/0.png") + ": expected a PNG or JPEG"));
  CHECK(contains(failed.err, "\n  " + scratch("broken/c/0.jpg") + ": cannot decode"));
  CHECK(std::count(failed.err.begin(), failed.err.end(), '\n') == 3);
  CHECK_FALSE(fs::exists(scratch("never.snet")));

  const Outcome skipped = teach(kNetwork, data, "skipped.snet", {"--skip-broken", "--test", data});
  REQUIRE_MESSAGE(skipped.code == 0, skipped.err);
  CHECK(contains(skipped.out, "data    " + data + ": 8 images of 4 classes, 2 each: a, b, c, d\n"));
  CHECK(contains(skipped.out, "1 file of another kind (.txt 1, as " + scratch("broken/d/notes.txt") + ")"));
  CHECK(contains(skipped.out, "1 folder without images (" + scratch("broken/later") + ")"));
  CHECK(contains(skipped.out, "left out: 2 of 10 images cannot be read\n"));
  CHECK(contains(skipped.out, scratch("broken/a/0.png") + ": "));
  CHECK(contains(skipped.out, "pixels: mean "));
  CHECK(contains(skipped.out, "test    " + data + ": 8 images"));
  CHECK(labels_of("skipped.snet") == Words{"a", "b", "c", "d"});

  // The same as if they had never been there.
  const nlohmann::json result = json_of({"train", kNetwork, "--data", data, "-o", scratch("json.snet"), "--epochs", "1",
                                         "--batch", "2", "--lr", "0.01", "--skip-broken"});
  CHECK(result["data"]["images"] == 8);
  CHECK(result["data"]["classes"][0] == nlohmann::json({{"name", "a"}, {"images", 2}}));
  CHECK(result["data"]["skipped"].size() == 2);
  CHECK(result["data"]["left_out"]["other_files"][".txt"] == 1);
  CHECK(result["data"]["left_out"]["empty_folders"] == 1);
  CHECK(result["data"]["mean"].size() == 3);
  const std::string clean = renamed("clean", {"a", "b", "c", "d"});
  REQUIRE(teach(kNetwork, clean, "clean.snet").code == 0);
  CHECK(bytes_of(scratch("clean.snet")) == bytes_of(scratch("json.snet")));

  // But not if so many are left out that a class is gone or a batch can no longer be filled.
  for (const char* name : {"1.png", "2.png"}) std::ofstream(scratch(std::string("broken/a/") + name)) << "no picture";
  fails(teach(kNetwork, data, "never.snet", {"--skip-broken"}), 1, {"none of the 3 images of class 'a'"});
  fs::remove_all(scratch("broken/a"));
  fails(sparsenet::test::sparsenet(
            {"train", kNetwork, "--data", data, "-o", scratch("never.snet"), "--batch", "7", "--skip-broken"}),
        2, {"--batch", "at most 6", "found 7"});
  fails(teach(kNetwork, data, "never.snet"), 1, {scratch("broken/c/0.jpg"), "the only one of 7", "--skip-broken"});
}

TEST_CASE("train: a damaged PNG that says it is one is an image that cannot be read, not another kind of data") {
  const std::string data = renamed("first", {"a", "b"});
  std::ofstream(scratch("first/a/0.png")) << "RIFF....WEBP";
  fails(teach(kNetwork, data, "never.snet"), 1, {"first/a/0.png", "found neither signature", "--skip-broken"});
}

TEST_CASE("eval: every broken file at once, or none of them") {
  broken_folder();
  for (const char* batch : {"1", "3", "32"}) {
    const Words line{"eval", four_classes(), "--data", "folder:" + scratch("broken"), "--batch", batch};
    const Outcome failed = sparsenet::test::sparsenet(line);
    CHECK(failed.code == 1);
    CHECK(failed.out.empty());
    CHECK(contains(failed.err, "2 of 10 images cannot be read\n  " + scratch("broken/a/0.png")));
    CHECK(contains(failed.err, "\n  " + scratch("broken/c/0.jpg")));
    Words skipping = line;
    skipping.emplace_back("--skip-broken");
    const nlohmann::json result = json_of(skipping);
    CHECK(result["images"] == 8);
    CHECK(result["data"]["skipped"].size() == 2);
    // The same answers as without them.
    const nlohmann::json clean =
        json_of({"eval", four_classes(), "--data", renamed("clean", {"a", "b", "c", "d"}), "--batch", batch});
    CHECK(result["correct"] == clean["correct"]);
  }
}

}  // namespace
