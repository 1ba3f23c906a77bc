#include "cli/train_report.h"

#include <sparsenet/model.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "cli/plot_svg.h"

namespace sparsenet::cli {
namespace {

constexpr double kPlainSeconds = 60;

double rate_of(const EpochRecord& record) {
  return static_cast<double>(record.images) / std::max(record.seconds, 1e-9);
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

constexpr const char* kLogHeading =
    "epoch,train_loss,train_error_percent,test_error_percent,learning_rate,seconds,images_per_second\n";

std::string log_line(const EpochRecord& record, size_t number) {
  char text[256];
  std::snprintf(text, sizeof text, "%zu,%.6f,%.4f,%s,%.7g,%.3f,%.1f\n", number, record.train_loss,
                100 * record.train_error, record.test_error < 0 ? "" : fixed(100 * record.test_error, 4).c_str(),
                record.learning_rate, record.seconds, rate_of(record));
  return text;
}

}  // namespace

TrainReport::TrainReport(const TrainCommand& command, std::string model_name, int64_t steps_per_epoch)
    : command_(command),
      model_name_(std::move(model_name)),
      steps_per_epoch_(steps_per_epoch),
      status_(kPlainSeconds) {}

TrainReport::~TrainReport() {
  if (log_ != nullptr) std::fclose(log_);
}

Status TrainReport::open(const Checkpoint& checkpoint) {
  first_step_ = checkpoint.step;
  watch_ = Stopwatch();
  if (!command_.plot.empty()) {
    const std::string svg = draw(checkpoint);
    SPARSENET_RETURN_IF_ERROR(write_file_atomically(command_.plot, svg.data(), svg.size()));
  }
  if (command_.log.empty()) return {};
  // The checkpoint holds the epochs that count; the file may have an extra line, or belong to another training.
  std::string text = kLogHeading;
  for (size_t i = 0; i < checkpoint.epochs.size(); ++i) text += log_line(checkpoint.epochs[i], i + 1);
  SPARSENET_RETURN_IF_ERROR(write_file_atomically(command_.log, text.data(), text.size()));
  log_ = std::fopen(command_.log.c_str(), "ae");
  if (log_ == nullptr) return io_error(command_.log + ": cannot open: " + std::strerror(errno));
  return {};
}

void TrainReport::line(const std::string& text) {
  status_.clear();
  std::FILE* out = command_.json ? stderr : stdout;
  std::fprintf(out, "%s\n", text.c_str());
  std::fflush(out);
}

void TrainReport::warning(const std::string& text) {
  status_.clear();
  std::fflush(stdout);
  std::fprintf(stderr, "warning: %s\n", text.c_str());
}

void TrainReport::memory(const TrainMemory& memory, int threads, int64_t batch) {
  line("memory  arena " + bytes_text(memory.arena_bytes) + ", of it " + bytes_text(memory.parameter_bytes) +
       " parameters with gradients and optimiser state; scratch " + bytes_text(memory.scratch_bytes) +
       ", packed weights " + bytes_text(memory.packed_bytes));
  const bool cut = memory.micro_batch < batch;
  if (cut || memory.recomputed > 0) {
    line("        to save memory: " + (cut ? std::to_string(memory.micro_batch) + " images at once" : std::string()) +
         (cut && memory.recomputed > 0 ? ", " : "") +
         (memory.recomputed > 0
              ? std::to_string(memory.recomputed) + " activations computed a second time, " +
                    fixed(100 * memory.extra_macs, 1) + " % of a forward pass more multiply-accumulates"
              : std::string()));
  }
  line("        batch " + std::to_string(batch) + ", " + std::to_string(threads) +
       (threads == 1 ? " thread" : " threads"));
}

void TrainReport::step(const Checkpoint& now, double rate) {
  if (!status_.due() || now.images == 0) return;
  const int64_t all = command_.epochs * steps_per_epoch_,
                in_epoch = now.step - static_cast<int64_t>(now.epochs.size()) * steps_per_epoch_;
  const double speed = static_cast<double>(now.step - first_step_) / std::max(watch_.seconds(), 1e-9);
  const auto images = static_cast<double>(now.images);
  const double share = static_cast<double>(in_epoch) / static_cast<double>(steps_per_epoch_);
  status_.show("epoch " + std::to_string(now.epochs.size() + 1) + "/" + std::to_string(command_.epochs) + " " +
               (status_.terminal() ? bar_text(share, 12) + " " : "") + "step " + std::to_string(in_epoch) + "/" +
               std::to_string(steps_per_epoch_) + ", loss " + fixed(now.loss_sum / static_cast<double>(in_epoch), 4) +
               ", " + fixed(100 * static_cast<double>(now.correct) / images, 2) + " % right, " +
               fixed(speed * static_cast<double>(command_.batch), 1) + " images/s, " +
               clock_text(static_cast<double>(all - now.step) / speed) + " left, lr " + short_number(rate));
}

void TrainReport::epoch(const Checkpoint& now) {
  const EpochRecord& record = now.epochs.back();
  const size_t number = now.epochs.size();
  line("epoch " + std::to_string(number) + "/" + std::to_string(command_.epochs) + "  loss " +
       fixed(record.train_loss, 4) + "  train error " + fixed(100 * record.train_error, 2) + " %" +
       (record.test_error < 0 ? "" : "  test error " + fixed(100 * record.test_error, 2) + " %") + "  lr " +
       short_number(record.learning_rate) + "  " + fixed(record.seconds, 1) + " s  " + fixed(rate_of(record), 1) +
       " images/s");
  if (log_ != nullptr) {
    const std::string text = log_line(record, number);
    if (std::fputs(text.c_str(), log_) < 0 || std::fflush(log_) != 0) {
      warning(command_.log + ": cannot write: " + std::strerror(errno) + "; the log ends here");
      std::fclose(log_);
      log_ = nullptr;
    }
  }
  if (!command_.plot.empty()) {
    const std::string svg = draw(now);
    const Status written = write_file_atomically(command_.plot, svg.data(), svg.size());
    if (!written.ok()) warning(written.message());
  }
}

std::string TrainReport::draw(const Checkpoint& now) const {
  PlotPanel loss{"cross-entropy", {{"training loss", {}}}};
  PlotPanel error{"error, %", {{"training error, %", {}}, {"test error, %", {}}}};
  for (size_t i = 0; i < now.epochs.size(); ++i) {
    const auto x = static_cast<double>(i + 1);
    const EpochRecord& record = now.epochs[i];
    loss.series[0].points.emplace_back(x, record.train_loss);
    error.series[0].points.emplace_back(x, 100 * record.train_error);
    if (record.test_error >= 0) error.series[1].points.emplace_back(x, 100 * record.test_error);
  }
  if (error.series[1].points.empty()) error.series.pop_back();
  return draw_plot(model_name_, "epoch", static_cast<double>(command_.epochs), {loss, error});
}

Json epoch_json(const EpochRecord& record, int64_t number) {
  Json epoch{{"epoch", number},
             {"train_loss", record.train_loss},
             {"train_error_percent", 100 * record.train_error},
             {"test_error_percent", nullptr},
             {"learning_rate", record.learning_rate},
             {"seconds", record.seconds},
             {"images_per_second", rate_of(record)}};
  if (record.test_error >= 0) epoch["test_error_percent"] = 100 * record.test_error;
  return epoch;
}

void TrainReport::print(const Checkpoint& last, const TrainFigures& figures) {
  status_.clear();
  if (command_.json) {
    Json document{{"model", model_name_}, {"output", command_.output}, {"steps", last.step}};
    document["data"] = Json::parse(figures.data);
    document["epochs"] = Json::array();
    for (size_t i = 0; i < last.epochs.size(); ++i) {
      document["epochs"].push_back(epoch_json(last.epochs[i], static_cast<int64_t>(i + 1)));
    }
    const TrainMemory& memory = figures.memory;
    document["memory"] = {{"arena_bytes", memory.arena_bytes},
                          {"start_rss_bytes", figures.start_rss},
                          {"peak_rss_bytes", peak_rss_bytes()},
                          {"parameter_bytes", memory.parameter_bytes},
                          {"lower_bound_bytes", memory.lower_bound_bytes},
                          {"scratch_bytes", memory.scratch_bytes},
                          {"packed_bytes", memory.packed_bytes},
                          {"micro_batch", memory.micro_batch},
                          {"recomputed", memory.recomputed},
                          {"extra_macs", memory.extra_macs}};
    if (command_.log_steps) document["step_losses"] = last.step_losses;
    print_json(document);
    return;
  }
  double seconds = 0;
  size_t best = 0;
  for (size_t i = 0; i < last.epochs.size(); ++i) {
    seconds += last.epochs[i].seconds;
    // Epochs without --test have no test error; if this is shown, the last epoch has one.
    const double error = last.epochs[i].test_error, least = last.epochs[best].test_error;
    if (error >= 0 && (error < least || least < 0)) best = i;
  }
  std::string text = command_.output + ": " + std::to_string(last.epochs.size()) + " epochs, " +
                     std::to_string(last.step) + " steps in " + clock_text(seconds);
  if (!last.epochs.empty() && last.epochs.back().test_error >= 0) {
    text += ", test error " + fixed(100 * last.epochs.back().test_error, 2) + " % (lowest " +
            fixed(100 * last.epochs[best].test_error, 2) + " %, after epoch " + std::to_string(best + 1) + ")";
  }
  line(text);
}

}  // namespace sparsenet::cli
