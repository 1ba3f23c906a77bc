// The tools around a Trainer: schedules, epoch order, augmentation, checkpoints.
#include <doctest/doctest.h>
#include <sparsenet/train_tools.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace sparsenet;
namespace fs = std::filesystem;

LearningRate schedule(Schedule kind, double rate, int64_t epochs, int64_t steps, int64_t warmup = 0) {
  LearningRate result;
  result.schedule = kind;
  result.rate = rate;
  result.epochs = epochs;
  result.steps_per_epoch = steps;
  result.warmup_epochs = warmup;
  return result;
}

TEST_CASE("schedule: the paper's steps, at its own length and scaled") {
  LearningRate paper = schedule(Schedule::kPaper, 0.1, 280, 781);
  const auto at_epoch = [&](int64_t epoch) { return paper.at(epoch * paper.steps_per_epoch); };
  CHECK(at_epoch(0) == 0.1f);
  CHECK(paper.at(150 * 781 - 1) == 0.1f);
  CHECK(at_epoch(150) == doctest::Approx(0.01));
  CHECK(paper.at(200 * 781 - 1) == doctest::Approx(0.01));
  CHECK(at_epoch(200) == doctest::Approx(0.001));
  CHECK(at_epoch(250) == doctest::Approx(0.0002));
  CHECK(at_epoch(279) == doctest::Approx(0.0002));

  paper.epochs = 28;
  CHECK(at_epoch(14) == 0.1f);
  CHECK(at_epoch(15) == doctest::Approx(0.01));
  CHECK(at_epoch(20) == doctest::Approx(0.001));
  CHECK(at_epoch(25) == doctest::Approx(0.0002));

  const LearningRate svhn = schedule(Schedule::kPaperSvhn, 0.1, 40, 10);
  CHECK(svhn.at(199) == 0.1f);
  CHECK(svhn.at(200) == doctest::Approx(0.01));
  CHECK(svhn.at(399) == doctest::Approx(0.001));
}

TEST_CASE("schedule: cosine, one-cycle, constant") {
  const LearningRate cosine = schedule(Schedule::kCosine, 0.2, 10, 10);
  CHECK(cosine.at(0) == 0.2f);
  CHECK(cosine.at(50) == doctest::Approx(0.1));
  CHECK(cosine.at(25) == doctest::Approx(0.1 * (1 + std::sqrt(0.5))));
  CHECK(cosine.at(99) < 1e-3f);

  const LearningRate cycle = schedule(Schedule::kOneCycle, 0.5, 10, 10);
  CHECK(cycle.at(0) == doctest::Approx(0.02));
  CHECK(cycle.at(15) == doctest::Approx((0.02 + 0.5) / 2));
  CHECK(cycle.at(30) == 0.5f);
  CHECK(cycle.at(99) == doctest::Approx(5e-5));
  for (int step = 0; step < 99; ++step) CHECK((cycle.at(step) < cycle.at(step + 1)) == (step < 30));
  // As short as possible: no division by zero, no rate outside the cycle.
  for (int64_t steps = 1; steps < 6; ++steps) {
    const LearningRate tiny = schedule(Schedule::kOneCycle, 1, 1, steps);
    for (int64_t step = 0; step < steps; ++step) {
      CHECK(tiny.at(step) >= 1e-4f);
      CHECK(tiny.at(step) <= 1.0f);
    }
  }

  const LearningRate constant = schedule(Schedule::kConstant, 0.3, 3, 7);
  for (int step = 0; step < 21; ++step) CHECK(constant.at(step) == 0.3f);
}

TEST_CASE("schedule: warm-up is linear, then the schedule has the epochs that are left") {
  const LearningRate plain = schedule(Schedule::kCosine, 0.1, 8, 10);
  const LearningRate warm = schedule(Schedule::kCosine, 0.1, 10, 10, 2);
  for (int step = 0; step < 20; ++step) CHECK(warm.at(step) == doctest::Approx(0.1 * (step + 1) / 20));
  for (int step = 0; step < 80; ++step) CHECK(warm.at(20 + step) == plain.at(step));
  CHECK(schedule(Schedule::kOneCycle, 1, 10, 10, 1).at(9) == doctest::Approx(0.04));
}

TEST_CASE("order: every index once, by seed and epoch alone") {
  for (const int64_t count : {0, 1, 2, 3, 100, 1000}) {
    std::vector<uint32_t> order = epoch_order(count, 7, 3);
    CHECK(order == epoch_order(count, 7, 3));
    std::sort(order.begin(), order.end());
    REQUIRE(order.size() == static_cast<size_t>(count));
    for (size_t i = 0; i < order.size(); ++i) CHECK(order[i] == i);
  }
  CHECK(epoch_order(100, 7, 3) != epoch_order(100, 7, 4));
  CHECK(epoch_order(100, 7, 3) != epoch_order(100, 8, 3));

  // Each of the six orders of three things occurs about equally often: 1000 of 6000; four standard deviations are 115.
  std::vector<int> seen(6, 0);
  for (int64_t epoch = 0; epoch < 6000; ++epoch) {
    const std::vector<uint32_t> order = epoch_order(3, 1, epoch);
    seen[order[0] * 2 + (order[1] > order[2])]++;
  }
  for (const int times : seen) CHECK(std::abs(times - 1000) < 115);
}

TEST_CASE("augmentation: crop and flip of a padded image") {
  // Two channels of 3 x 4; the values tell where they come from, and none is zero.
  const int height = 3, width = 4;
  std::vector<float> image;
  for (int i = 0; i < 2 * height * width; ++i) image.push_back(static_cast<float>(i + 1));
  for (int down = -4; down <= 4; ++down) {
    for (int right = -5; right <= 5; ++right) {
      for (const bool flip : {false, true}) {
        std::vector<float> out(image.size(), -1.0f);
        apply_crop_flip({down, right, flip}, image.data(), 2, height, width, out.data());
        for (int c = 0; c < 2; ++c) {
          for (int y = 0; y < height; ++y) {
            for (int x = 0; x < width; ++x) {
              const int row = y + down, column = (flip ? width - 1 - x : x) + right;
              const bool inside = row >= 0 && row < height && column >= 0 && column < width;
              const float expected = inside ? image[static_cast<size_t>((c * height + row) * width + column)] : 0.0f;
              CHECK(out[static_cast<size_t>((c * height + y) * width + x)] == expected);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("augmentation: drawn by seed, epoch and image alone, all places equally likely") {
  std::vector<int> down(9, 0), right(9, 0);
  int flips = 0;
  for (int64_t index = 0; index < 9000; ++index) {
    const CropFlip drawn = draw_crop_flip(5, 2, index, 4);
    const CropFlip again = draw_crop_flip(5, 2, index, 4);
    CHECK((drawn.down == again.down && drawn.right == again.right && drawn.flip == again.flip));
    REQUIRE(std::abs(drawn.down) <= 4);
    REQUIRE(std::abs(drawn.right) <= 4);
    down[static_cast<size_t>(drawn.down + 4)]++;
    right[static_cast<size_t>(drawn.right + 4)]++;
    flips += drawn.flip;
  }
  for (const int times : down) CHECK(std::abs(times - 1000) < 120);  // four standard deviations
  for (const int times : right) CHECK(std::abs(times - 1000) < 120);
  CHECK(std::abs(flips - 4500) < 190);

  const auto differ = [](uint64_t seed, int64_t epoch) {
    int different = 0;
    for (int64_t index = 0; index < 100; ++index) {
      const CropFlip a = draw_crop_flip(5, 2, index, 4), b = draw_crop_flip(seed, epoch, index, 4);
      different += a.down != b.down || a.right != b.right || a.flip != b.flip;
    }
    return different;
  };
  CHECK(differ(5, 3) > 90);
  CHECK(differ(6, 2) > 90);
}

TEST_CASE("hash: chained") {
  CHECK(hash_bytes("ab", 2) == hash_bytes("ab", 2));
  CHECK(hash_bytes("b", 1, hash_bytes("a", 1)) != hash_bytes("a", 1, hash_bytes("b", 1)));
}

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("train_tools_test_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  size_t files() const { return static_cast<size_t>(std::distance(fs::directory_iterator(path_), {})); }

 private:
  fs::path path_;
};

Checkpoint sample_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.settings = {{"--lr", "0.1"}, {"--seed", "7"}, {"model", ""}};
  checkpoint.step = 12345;
  EpochRecord record;
  record.train_loss = 1.25;
  record.train_error = 0.5;
  record.learning_rate = 0.1;
  record.seconds = 3.5;
  record.images = 640;
  checkpoint.epochs = {record, record};
  checkpoint.epochs[1].test_error = 0.25;
  checkpoint.loss_sum = 17;
  checkpoint.seconds = 2;
  checkpoint.correct = 3;
  checkpoint.images = 4;
  checkpoint.has_step_losses = true;
  checkpoint.step_losses = {2.5, 2.25};
  return checkpoint;
}

Status save(const std::string& path, const Checkpoint& checkpoint, const std::vector<uint8_t>& state) {
  return save_checkpoint(path, checkpoint, state.size(), [&](void* data, size_t size) {
    REQUIRE(size == state.size());
    if (size > 0) std::memcpy(data, state.data(), size);
    return Status{};
  });
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_CASE("checkpoint: comes back as it was") {
  const Folder folder;
  const Checkpoint saved = sample_checkpoint();
  const std::vector<uint8_t> state{1, 2, 3, 4, 5};
  REQUIRE(save(folder.file("a"), saved, state).ok());
  auto loaded = load_checkpoint(folder.file("a"));
  REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
  CHECK(loaded->settings == saved.settings);
  CHECK(loaded->step == saved.step);
  REQUIRE(loaded->epochs.size() == 2);
  CHECK(loaded->epochs[0].train_loss == 1.25);
  CHECK(loaded->epochs[0].train_error == 0.5);
  CHECK(loaded->epochs[0].test_error < 0);
  CHECK(loaded->epochs[0].learning_rate == 0.1);
  CHECK(loaded->epochs[0].seconds == 3.5);
  CHECK(loaded->epochs[0].images == 640);
  CHECK(loaded->epochs[1].test_error == 0.25);
  CHECK(loaded->loss_sum == 17);
  CHECK(loaded->seconds == 2);
  CHECK(loaded->correct == 3);
  CHECK(loaded->images == 4);
  CHECK(loaded->has_step_losses);
  CHECK(loaded->step_losses == saved.step_losses);
  CHECK(loaded->state == state);

  // Contains nothing but what was put in: no time, no path.
  REQUIRE(save(folder.file("b"), saved, state).ok());
  CHECK(bytes_of(folder.file("a")) == bytes_of(folder.file("b")));
  REQUIRE(save(folder.file("empty"), Checkpoint{}, {}).ok());
  CHECK(load_checkpoint(folder.file("empty")).ok());
}

TEST_CASE("checkpoint: any cut and any changed byte is noticed") {
  const Folder folder;
  const std::string path = folder.file("a");
  REQUIRE(save(path, sample_checkpoint(), {1, 2, 3}).ok());
  const std::string whole = bytes_of(path);
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    auto loaded = load_checkpoint(path);
    CHECK_FALSE(loaded.ok());
    if (loaded.ok()) return std::string();
    CHECK(loaded.status().message().rfind(path + ": ", 0) == 0);
    return loaded.status().message();
  };
  for (size_t size = 0; size < whole.size(); ++size) refused(whole.substr(0, size));
  refused(whole + "x");
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    if (at < 12 || at >= 16) refused(bytes);  // the zero word has no meaning yet
  }
  CHECK(refused("GIF89a and so on").find("not a checkpoint") != std::string::npos);
  std::string newer = whole;
  newer[8] = 9;
  CHECK(refused(newer).find("found version 9") != std::string::npos);
  CHECK(load_checkpoint(folder.file("none")).status().code() == StatusCode::kNotFound);
}

TEST_CASE("checkpoint: lists that claim more than the file holds are refused, checksum or not") {
  const Folder folder;
  const std::string path = folder.file("a");
  REQUIRE(save(path, sample_checkpoint(), {1, 2, 3}).ok());
  const std::string whole = bytes_of(path);
  for (size_t at = 32; at + 8 <= whole.size(); at += 1) {
    std::string bytes = whole;
    bytes.replace(at, 8, 8, '\x7f');
    const uint64_t hash = hash_bytes(bytes.data() + 32, bytes.size() - 32);
    for (size_t i = 0; i < 8; ++i) bytes[24 + i] = static_cast<char>(hash >> (8 * i));
    std::ofstream(path, std::ios::binary) << bytes;
    auto loaded = load_checkpoint(path);  // numbers may be anything; lengths may not
    if (at == 32) CHECK_FALSE(loaded.ok());
    if (loaded.ok()) CHECK(loaded->settings.size() == 3);
  }
}

TEST_CASE("checkpoint: where a new one cannot be written the old one stays") {
  const Folder folder;
  const std::string path = folder.file("a");
  REQUIRE(save(path, sample_checkpoint(), {1, 2, 3}).ok());
  const std::string before = bytes_of(path);

  // A full disk, as far as a process can simulate one: no file may grow beyond 4 KiB.
  struct rlimit old {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  struct rlimit small = old;
  small.rlim_cur = 4096;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const Status full = save(path, sample_checkpoint(), std::vector<uint8_t>(100000));
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(full.code() == StatusCode::kIo);
  CHECK(full.message().rfind(path + ": ", 0) == 0);
  CHECK(bytes_of(path) == before);
  CHECK(folder.files() == 1);

  const Status failed =
      save_checkpoint(path, sample_checkpoint(), 10, [](void*, size_t) { return internal_error("no state"); });
  CHECK(failed.message() == "no state");
  CHECK(bytes_of(path) == before);
  CHECK(folder.files() == 1);
}

TEST_CASE("checkpoint: settings that differ are named with both values") {
  const Checkpoint checkpoint = sample_checkpoint();
  CHECK(compare_settings(checkpoint, checkpoint.settings).ok());
  const auto message = [&](std::vector<std::pair<std::string, std::string>> settings) {
    const Status status = compare_settings(checkpoint, settings);
    CHECK(status.code() == StatusCode::kInvalidArgument);
    return status.message();
  };
  CHECK(message({{"--lr", "0.2"}, {"--seed", "7"}, {"model", ""}}) ==
        "--lr: the checkpoint was made with 0.1, now it is 0.2");
  CHECK(message({{"--lr", "0.1"}, {"--seed", "7"}}).rfind("model: ", 0) == 0);
  CHECK(message({{"--lr", "0.1"}, {"--seed", "7"}, {"model", ""}, {"--clip", "1"}}).rfind("--clip: ", 0) == 0);
}

}  // namespace
