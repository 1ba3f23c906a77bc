// Folders of images: which of them are classes, which directory is read, and what is reported about the rest.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "support/data_folder.h"

namespace {

using namespace sparsenet;
using test::data_error;
using test::has;
using test::open_data;
using test::TemporaryFolder;
namespace fs = std::filesystem;
using Names = std::vector<std::string>;

std::unique_ptr<io::Dataset> opened(const std::string& text, const std::string& split = "test") {
  auto data = open_data(text, split);
  REQUIRE_MESSAGE(data.ok(), data.status().message());
  return std::move(*data);
}

TEST_CASE("folder: classes in order of their names") {
  const TemporaryFolder folder;
  folder.copy_image("rgb.png", "dog/2.png");
  folder.copy_image("rgb.jpg", "dog/1.JPG");
  folder.copy_image("gray.png", "cat/1.png");
  const auto data = opened("folder:" + folder.path());
  CHECK(data->class_names() == Names{"cat", "dog"});
  REQUIRE(data->size() == 3);
  CHECK(data->label(0) == 0);
  CHECK(data->label(2) == 1);
  CHECK(data->image(0)->channels == 1);
  CHECK(data->image(1)->width == 24);
  CHECK(data->source(1) == folder.path("dog/1.JPG"));
  CHECK(io::to_text(data->left_out()).empty());
  folder.write("cat/2.png", "not a picture");
  CHECK(has(opened("folder:" + folder.path())->image(1).status().message(), "cat/2.png"));
}

TEST_CASE("folder: what is not read is counted; a folder without images is no class") {
  const TemporaryFolder folder;
  folder.copy_image("rgb.png", "cat/1.png");
  folder.copy_image("rgb.png", "cat/more/2.png");
  folder.copy_image("rgb.png", "dog/1.png");
  folder.copy_image("rgb.png", "lost.png");
  folder.write("cat/3.webp", "");
  folder.write("cat/notes.txt", "");
  folder.write("dog/notes.txt", "");
  folder.write("dog/.hidden.png", "");
  folder.write("README", "");
  fs::create_directories(folder.path("bird"));
  folder.write("fish/1.gif", "");
  const auto data = opened("folder:" + folder.path());
  CHECK(data->class_names() == Names{"cat", "dog"});
  CHECK(data->size() == 2);
  const io::LeftOut left_out = data->left_out();
  CHECK(left_out.other_files.at(".txt").count == 2);
  CHECK(left_out.other_files.at(".gif").count == 1);
  CHECK(left_out.other_files.at("no ending").count == 1);
  CHECK(left_out.empty_folders.count == 2);
  CHECK(left_out.empty_folders.first == folder.path("bird"));
  CHECK(left_out.inner_folders.first == folder.path("cat/more"));
  CHECK(left_out.loose_images.first == folder.path("lost.png"));
  const std::string text = io::to_text(left_out);
  CHECK_MESSAGE(has(text, "5 files of other kinds (.gif 1, .txt 2, .webp 1, no ending 1, as "), text);
  CHECK(has(text, "1 image outside the class folders (" + folder.path("lost.png") + ")"));
  CHECK(has(text, "2 folders without images (" + folder.path("bird") + ")"));
  CHECK(has(text, "1 folder inside a class folder (" + folder.path("cat/more") + ")"));
}

TEST_CASE("folder: DIR/train and DIR/test are read where they hold classes, else DIR") {
  const TemporaryFolder folder;
  const auto text = [&](const std::string& name) { return "folder:" + folder.path(name); };
  folder.copy_image("rgb.png", "split/train/cat/1.png");
  folder.copy_image("rgb.png", "split/train/cat/2.png");
  folder.copy_image("rgb.png", "split/test/cat/1.png");
  CHECK(opened(text("split"))->size() == 1);
  CHECK(opened(text("split"), "train")->size() == 2);
  CHECK(opened(text("split") + "#train+test")->size() == 3);
  CHECK(has(data_error(text("split") + "#val"), "split/val"));

  // No splits: DIR itself, whatever the default split is.
  folder.copy_image("rgb.png", "plain/cat/1.png");
  for (const char* split : {"train", "test"}) CHECK(opened(text("plain"), split)->size() == 1);
  CHECK(has(data_error(text("plain") + "#train"), "plain/train"));

  // A class with the name of a split.
  folder.copy_image("rgb.png", "vehicles/train/1.png");
  folder.copy_image("rgb.png", "vehicles/car/1.png");
  CHECK(opened(text("vehicles"), "train")->class_names() == Names{"car", "train"});

  // A split that does not exist: the others are named. A split without labels is not a class.
  folder.copy_image("rgb.png", "photos/train/cat/1.png");
  folder.copy_image("rgb.png", "photos/val/cat/1.png");
  CHECK(has(data_error(text("photos")), "a suffix names one of its splits: #train, #val"));
  CHECK(opened(text("photos") + "#val")->size() == 1);
  folder.copy_image("rgb.png", "photos/test/1.png");
  CHECK(has(data_error(text("photos")), "photos/test: expected one folder per class, found images"));
}

TEST_CASE("folder: splits that are joined share their classes") {
  const TemporaryFolder folder;
  const std::string text = "folder:" + folder.path() + "#train+test";
  for (const char* name : {"ant", "bee", "cat"}) folder.copy_image("rgb.png", std::string("train/") + name + "/1.png");
  folder.copy_image("rgb.png", "test/cat/1.png");
  fs::create_directories(folder.path("test/bee"));
  const auto data = opened(text);  // a small test set need not have all classes
  CHECK(data->class_names() == Names{"ant", "bee", "cat"});
  REQUIRE(data->size() == 4);
  CHECK(data->label(3) == 2);
  folder.copy_image("rgb.png", "test/ants/1.png");
  const std::string error = data_error(text);
  CHECK_MESSAGE(has(error, "found 'ants', which is none of them, and no 'ant'"), error);
}

TEST_CASE("folder: nothing to read") {
  const TemporaryFolder folder;
  fs::create_directories(folder.path("empty/cat"));
  CHECK(has(data_error("folder:" + folder.path("empty")), "found 1 folder without images"));
  fs::create_directories(folder.path("bare"));
  CHECK(has(data_error("folder:" + folder.path("bare")), "found nothing"));
  folder.write("webp/cat/1.webp", "");
  CHECK(has(data_error("folder:" + folder.path("webp")), ".webp 1"));
  folder.copy_image("rgb.png", "flat/1.png");
  CHECK(has(data_error("folder:" + folder.path("flat")), "1 image outside the class folders"));
  CHECK(has(data_error("folder:" + folder.path("nowhere")), "expected a directory"));
}

}  // namespace
