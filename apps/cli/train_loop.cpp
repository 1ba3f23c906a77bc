#include "cli/train_loop.h"

#include <algorithm>
#include <cmath>

#include "cli/interrupt.h"
#include "cli/output.h"

namespace sparsenet::cli {
namespace {

constexpr int kPad = 4;  // padding of crop-flip, as in the paper's recipe

// As many test images at once as fit into this, but at most kTestBatch.
constexpr size_t kTestArenaBytes = size_t{8} << 20;
constexpr int64_t kTestBatch = 50;

// Uses `memory` if the session fits there.
Result<Session> make_session(const Graph& graph, int threads, int64_t batch, const IdleMemory& memory) {
  SessionOptions options;
  options.backend = Backend::kPortable;
  options.threads = threads;
  options.batch = batch;
  options.memory = memory.data;
  options.memory_bytes = memory.bytes;
  auto session = Session::create(graph, options);
  if (session.ok() || session.status().code() != StatusCode::kOutOfMemory) return session;
  options.memory = nullptr;
  return Session::create(graph, options);
}

Result<Session> make_test_session(const Graph& graph, int threads, int64_t images, const IdleMemory& memory,
                                  int64_t& batch) {
  auto session = make_session(graph, threads, 1, memory);
  if (!session.ok()) return session.status();
  const size_t one = std::max<size_t>(1, session->memory().arena_bytes);
  batch = std::clamp<int64_t>(static_cast<int64_t>(kTestArenaBytes / one), 1, std::min(kTestBatch, images));
  if (batch == 1) return session;
  { const Session gone = std::move(*session); }  // destroyed before another session takes its memory
  return make_session(graph, threads, batch, memory);
}

}  // namespace

Status check_finite(const Graph& graph) {
  for (const Value& value : graph.values) {
    if (!value.is_constant || value.constant.type != DataType::kFloat32) continue;
    const float* data = value.constant.f32();
    const int64_t count = value.constant.elements();
    if (std::all_of(data, data + count, [](float x) { return std::isfinite(x); })) continue;
    return {StatusCode::kNotFinite, "tensor '" + value.name + "' holds values that are not finite"};
  }
  return {};
}

Result<double> share_of_errors(Trainer& trainer, const TrainData& data, int threads) {
  int64_t batch = 1;
  SPARSENET_ASSIGN_OR_RETURN(const Graph graph, trainer.graph_view());
  SPARSENET_ASSIGN_OR_RETURN(auto session,
                             make_test_session(graph, threads, data.size(), trainer.idle_memory(), batch));
  const auto scores = static_cast<size_t>(element_count(session.outputs()[0].shape)),
             classes = scores / static_cast<size_t>(batch);
  std::vector<float> images(data.elements() * static_cast<size_t>(batch)), out(scores);
  int64_t wrong = 0;
  for (int64_t first = 0; first < data.size(); first += batch) {
    if (interrupted()) return io_error("interrupted");
    // After the last image of an incomplete batch, old images remain; their scores are ignored.
    const int64_t now = std::min(batch, data.size() - first);
    for (int64_t i = 0; i < now; ++i) {
      SPARSENET_RETURN_IF_ERROR(data.input(first + i, images.data() + static_cast<size_t>(i) * data.elements()));
    }
    SPARSENET_RETURN_IF_ERROR(session.set_input(0, images.data(), images.size()));
    SPARSENET_RETURN_IF_ERROR(session.run());
    SPARSENET_RETURN_IF_ERROR(session.get_output(0, out.data(), out.size()));
    for (int64_t i = 0; i < now; ++i) {
      const float* row = out.data() + static_cast<size_t>(i) * classes;
      const float right = row[data.label(first + i)];
      // Among equal scores the lower index wins, as in `eval`; scores that are not finite count as wrong.
      bool is_right = true;
      for (size_t c = 0; c < classes; ++c) {
        const bool earlier = static_cast<int32_t>(c) < data.label(first + i);
        is_right = is_right && std::isfinite(row[c]) && (row[c] < right || (row[c] == right && !earlier));
      }
      wrong += !is_right;
    }
  }
  return static_cast<double>(wrong) / static_cast<double>(data.size());
}

TrainLoop::TrainLoop(const TrainCommand& command, Trainer& trainer, const TrainData& train, const TrainData* test,
                     Checkpoint& progress, TrainReport& report)
    : command_(command),
      trainer_(trainer),
      train_(train),
      test_(test),
      progress_(progress),
      report_(report),
      steps_per_epoch_(train.size() / command.batch),
      rate_(command.learning_rate(steps_per_epoch_)),
      images_(train.elements() * static_cast<size_t>(command.batch)),
      labels_(static_cast<size_t>(command.batch)) {
  if (command.crop_flip) image_.resize(train.elements());
  if (progress.step > 0) saved_step_ = progress.step;
}

Status TrainLoop::run() {
  while (static_cast<int64_t>(progress_.epochs.size()) < command_.epochs) SPARSENET_RETURN_IF_ERROR(run_epoch());
  return {};
}

Status TrainLoop::run_epoch() {
  const auto epoch = static_cast<int64_t>(progress_.epochs.size());
  const int64_t begin = epoch * steps_per_epoch_, end = begin + steps_per_epoch_;
  if (!command_.no_shuffle) order_ = epoch_order(train_.size(), command_.seed, epoch);
  while (progress_.step < end) {
    if (interrupted()) return stopped();
    SPARSENET_RETURN_IF_ERROR(step(epoch, progress_.step - begin));
    const bool due = command_.checkpoint_every > 0 && progress_.step % command_.checkpoint_every == 0;
    if (due && progress_.step < end) SPARSENET_RETURN_IF_ERROR(save());
  }
  return end_epoch();
}

Status TrainLoop::fill_batch(int64_t epoch, int64_t in_epoch) {
  for (int64_t i = 0; i < command_.batch; ++i) {
    const int64_t place = in_epoch * command_.batch + i;
    const int64_t index = order_.empty() ? place : order_[static_cast<size_t>(place)];
    float* slot = images_.data() + static_cast<size_t>(i) * train_.elements();
    SPARSENET_RETURN_IF_ERROR(train_.input(index, command_.crop_flip ? image_.data() : slot));
    if (command_.crop_flip) {
      apply_crop_flip(draw_crop_flip(command_.seed, epoch, index, kPad), image_.data(), train_.channels(),
                      train_.height(), train_.width(), slot);
    }
    labels_[static_cast<size_t>(i)] = train_.label(index);
  }
  return {};
}

Status TrainLoop::step(int64_t epoch, int64_t in_epoch) {
  const Stopwatch watch;
  SPARSENET_RETURN_IF_ERROR(fill_batch(epoch, in_epoch));
  const float rate = rate_.at(progress_.step);
  auto result = trainer_.step(images_.data(), labels_.data(), rate);
  if (!result.ok()) {
    const Status where =
        result.status().with_context("epoch " + std::to_string(epoch + 1) + ", step " + std::to_string(in_epoch + 1) +
                                     " of " + std::to_string(steps_per_epoch_));
    if (where.code() != StatusCode::kNotFinite) return where;
    return {where.code(), where.message() + "; a smaller --lr or --clip may help; " + last_good()};
  }
  ++progress_.step;
  progress_.loss_sum += result->loss;
  progress_.correct += result->correct;
  progress_.images += result->images;
  progress_.seconds += watch.seconds();
  if (progress_.has_step_losses) progress_.step_losses.push_back(result->loss);
  report_.step(progress_, static_cast<double>(rate));
  return {};
}

Status TrainLoop::end_epoch() {
  // Measuring takes a while, so the epoch is saved first.
  if (test_ != nullptr && saved_step_ != progress_.step) SPARSENET_RETURN_IF_ERROR(save());
  EpochRecord record;
  if (test_ != nullptr) {
    auto share = share_of_errors(trainer_, *test_, command_.backend.threads);
    if (interrupted()) return stopped();
    if (!share.ok()) return share.status().with_context(command_.test);
    record.test_error = *share;
  }
  const auto images = static_cast<double>(std::max<int64_t>(1, progress_.images));
  record.train_loss = progress_.loss_sum / static_cast<double>(steps_per_epoch_);
  record.train_error = 1 - static_cast<double>(progress_.correct) / images;
  record.learning_rate = static_cast<double>(rate_.at(progress_.step - 1));
  record.seconds = progress_.seconds;
  record.images = progress_.images;
  progress_.epochs.push_back(record);
  progress_.loss_sum = progress_.seconds = 0;
  progress_.correct = progress_.images = 0;
  SPARSENET_RETURN_IF_ERROR(save());
  report_.epoch(progress_);
  return {};
}

Status TrainLoop::save() {
  // A loss can be finite while a weight that the same step wrote is not: such a state is no good checkpoint.
  const auto graph = trainer_.graph_view();
  const Status finite = graph.ok() ? check_finite(*graph) : graph.status();
  if (finite.code() != StatusCode::kOk && finite.code() != StatusCode::kNotFinite) return finite;
  if (!finite.ok()) {
    return {finite.code(),
            "after step " + std::to_string(progress_.step) + ": " + finite.message() + "; " + last_good()};
  }
  SPARSENET_RETURN_IF_ERROR(save_checkpoint(
      command_.checkpoint, progress_, trainer_.state_bytes(),
      [this](void* data, size_t size) { return trainer_.save_state(data, size); }, trainer_.idle_memory()));
  saved_step_ = progress_.step;
  return {};
}

std::string TrainLoop::last_good() const {
  if (saved_step_ < 0) return "no checkpoint has been written yet";
  return command_.checkpoint + " holds the training as it was after step " + std::to_string(saved_step_);
}

Status TrainLoop::stopped() {
  if (progress_.step != saved_step_) SPARSENET_RETURN_IF_ERROR(save());
  interrupted_ = true;
  return io_error("interrupted after step " + std::to_string(progress_.step) + " of " +
                  std::to_string(command_.epochs * steps_per_epoch_) + " (" + interrupt_name() + "); " +
                  command_.checkpoint + " holds all of it: the same command with --resume goes on");
}

}  // namespace sparsenet::cli
