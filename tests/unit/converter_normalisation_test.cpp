// What --mean, --std, --pixel-scale and --normalize store: the convention of 0..1 values, presets, and what is
// rejected.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "converter/normalisation.h"

namespace {

using namespace sparsenet;
using converter::NormalisationOptions;
using Floats = std::vector<float>;

struct Applied {
  Metadata metadata;
  std::vector<std::string> notes;
  Status status;
};

Applied apply(const NormalisationOptions& options, const Metadata& before = {}, const Shape& input = {1, 3, 32, 32}) {
  Applied result;
  result.metadata = before;
  result.status = converter::apply_normalisation(options, input, &result.metadata, &result.notes);
  return result;
}

NormalisationOptions lists(std::vector<double> mean, std::vector<double> std_dev, int pixel_scale = 0) {
  NormalisationOptions options;
  options.mean = std::move(mean);
  options.std_dev = std::move(std_dev);
  options.pixel_scale = pixel_scale;
  return options;
}

NormalisationOptions preset(const std::string& name) {
  NormalisationOptions options;
  options.preset = name;
  return options;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const std::vector<double> kMean01{0.485, 0.456, 0.406}, kStd01{0.229, 0.224, 0.225};
const Floats kMean{123.675f, 116.28f, 103.53f}, kStd{58.395f, 57.12f, 57.375f};

TEST_CASE("normalisation: 0..1 values are told by a rule, which is reported") {
  const Applied unit = apply(lists(kMean01, kStd01));
  REQUIRE(unit.status.ok());
  CHECK(unit.metadata.mean == kMean);  // the same bits
  CHECK(unit.metadata.std_dev == kStd);
  REQUIRE(unit.notes.size() == 1);
  CHECK(contains(unit.notes[0], "taken as 0..1 values"));
  CHECK(contains(unit.notes[0], "mean 123.675,116.28,103.53 and std 58.395,57.12,57.375"));
  CHECK(contains(unit.notes[0], "--pixel-scale 255"));

  const Applied bytes = apply(lists({123.675, 116.28, 103.53}, {58.395, 57.12, 57.375}));
  REQUIRE(bytes.status.ok());
  CHECK(bytes.metadata.mean == kMean);
  CHECK(bytes.notes.empty());

  // The limits of the rule: every std below 2 and every mean at most 1.
  CHECK(apply(lists({1, 1, 1}, {1.99, 1, 1})).metadata.std_dev[0] == static_cast<float>(1.99 * 255));
  CHECK(apply(lists({1, 1, 1}, {2, 1, 1})).metadata.std_dev == Floats{2, 1, 1});
  CHECK(apply(lists({1.01, 0, 0}, {1, 1, 1})).metadata.std_dev == Floats{1, 1, 1});
}

TEST_CASE("normalisation: one list alone stands beside 0 or 1 of its own scale, or what the file has") {
  const Applied mean = apply(lists(kMean01, {}));
  CHECK(mean.metadata.mean == kMean);
  CHECK(mean.metadata.std_dev == Floats{255, 255, 255});
  const Applied std_dev = apply(lists({}, kStd01));
  CHECK(std_dev.metadata.mean == Floats{0, 0, 0});
  CHECK(std_dev.metadata.std_dev == kStd);
  CHECK(apply(lists({104, 117, 123}, {})).metadata.std_dev.empty());

  Metadata stored;
  stored.mean = {1, 2, 3};
  stored.std_dev = {63, 62, 61};
  const Applied changed = apply(lists(kMean01, {}), stored);
  CHECK(changed.metadata.mean == kMean);
  CHECK(changed.metadata.std_dev == stored.std_dev);
  CHECK(apply({}, stored).metadata.mean == stored.mean);
}

TEST_CASE("normalisation: --pixel-scale decides, and a mixture of scales is pointed out") {
  const Applied bytes = apply(lists(kMean01, kStd01, 255));
  CHECK(bytes.metadata.mean == Floats{0.485f, 0.456f, 0.406f});
  CHECK(bytes.metadata.std_dev == Floats{0.229f, 0.224f, 0.225f});
  CHECK(bytes.notes.empty());
  const Applied unit = apply(lists({2, 2, 2}, {3, 3, 3}, 1));
  CHECK(unit.metadata.mean == Floats{510, 510, 510});
  CHECK(unit.notes.empty());

  for (const auto& mixed : {lists({123, 116, 103}, {0.229, 0.224, 0.225}), lists({0.5, 0.5, 0.5}, {58, 57, 57})}) {
    const Applied applied = apply(mixed);
    REQUIRE(applied.notes.size() == 1);
    CHECK(contains(applied.notes[0], "--pixel-scale 1"));
  }
  // Many Caffe networks only subtract means.
  CHECK(apply(lists({104, 117, 123}, {1, 1, 1})).notes.empty());
  CHECK(apply(lists({0, 0, 0}, {255, 255, 255})).notes.empty());
}

TEST_CASE("normalisation: presets") {
  CHECK(apply(preset("imagenet")).metadata.mean == kMean);
  CHECK(apply(preset("imagenet")).metadata.std_dev == kStd);
  CHECK(apply(preset("cifar10")).metadata.mean == Floats{125.3f, 123, 113.9f});
  CHECK(apply(preset("none")).metadata.std_dev == Floats{1, 1, 1});
  CHECK(apply(preset("0..1")).metadata.std_dev == Floats{255, 255, 255});
  CHECK(apply(preset("-1..1")).metadata.mean == Floats{127.5f, 127.5f, 127.5f});
  CHECK(apply(preset("-1..1"), {}, {1, 1, 28, 28}).metadata.std_dev == Floats{127.5f});
  for (const std::string& name : converter::normalisation_presets()) CHECK(apply(preset(name)).status.ok());

  Metadata bgr;
  bgr.color_order = "BGR";
  CHECK(apply(preset("imagenet"), bgr).metadata.mean == Floats{103.53f, 116.28f, 123.675f});
}

TEST_CASE("normalisation: lists of numbers are read whole or not at all") {
  const auto read = [](const std::string& text) {
    std::vector<double> numbers;
    return converter::parse_number_list(text, &numbers) ? numbers : std::vector<double>{};
  };
  CHECK(read("1,-2.5,3e-1") == std::vector<double>{1, -2.5, 0.3});
  for (const std::string text : {"", ",", "1,", ",1", "1,,2", "1;2", "1,2x", "nan", "1,inf", "1e39"}) {
    CAPTURE(text);
    CHECK(read(text).empty());
  }
  CHECK(read(std::string("1\0002", 3)).empty());
}

TEST_CASE("normalisation: what does not fit is refused") {
  const auto refused = [](const Applied& applied, const std::string& part) {
    REQUIRE_FALSE(applied.status.ok());
    CHECK_MESSAGE(contains(applied.status.message(), part), applied.status.message());
  };
  refused(apply(lists({1, 2}, {})), "--mean: expected 3 values");
  refused(apply(lists({}, {1, 2, 3, 4})), "--std: expected 3 values");
  refused(apply(preset("imagenet"), {}, {1, 1, 28, 28}), "--normalize imagenet: expected 1 values");
  refused(apply(preset("none"), {}, {1, 490}), "image");
  refused(apply(preset("imagenett")), "expected one of imagenet, cifar10, none, 0..1, -1..1");
  NormalisationOptions both = lists(kMean01, kStd01);
  both.preset = "none";
  refused(apply(both), "--normalize");
  refused(apply(lists({}, {1, 0, 1})), "--std: expected numbers above 0");
  refused(apply(lists({}, {1, 1e-46, 1})), "--std: expected numbers above 0");  // rounds to 0 as a float
  refused(apply(lists({}, {1, 1e38, 1}, 1)), "--std: expected numbers above 0");
  refused(apply(lists({0, 3e38, 0}, {}, 1)), "--mean: expected numbers from");  // infinite after multiplication by 255
  refused(apply(lists({}, {1, 1, 1}, 2)), "--pixel-scale: expected 1 or 255");
  NormalisationOptions scale_alone;
  scale_alone.pixel_scale = 1;
  CHECK_FALSE(converter::check_normalisation(scale_alone).ok());
}

}  // namespace
