// The last part of lowering: decides which buffers share memory and where they lie, and makes the steps that point
// there.
#include <utility>

#include "plan/lower.h"
#include "plan/memory_planner.h"

namespace sparsenet {

// Merges two buffers where a step may write its output over an input that no later step reads.
void Lowering::share_memory() {
  for (size_t i = 0; i < drafts_.size(); ++i) {
    Draft& draft = drafts_[i];
    if (draft.out.pieces.size() != 1) continue;
    const int out = draft.out.pieces[0].buffer;
    for (const Lowered* operand : {&draft.in, &draft.in2}) {
      if (!(operand == &draft.in ? draft.share_in : draft.share_in2)) continue;
      if (operand->pieces.size() != 1 || operand->pieces[0].buffer < 0 || operand->pieces[0].start != 0) continue;
      if (operand->pieces[0].pixel_stride != draft.out.pieces[0].pixel_stride) continue;
      int from = operand->pieces[0].buffer;
      while (buffers_[static_cast<size_t>(from)].merged_into >= 0)
        from = buffers_[static_cast<size_t>(from)].merged_into;
      VirtualBuffer& target = buffers_[static_cast<size_t>(from)];
      VirtualBuffer& moved = buffers_[static_cast<size_t>(out)];
      if (from == out || target.bytes != moved.bytes || target.last != static_cast<int>(i) || moved.merged_into >= 0 ||
          moved.first != static_cast<int>(i)) {
        continue;
      }
      // The other operand must not lie in the same memory, unless an elementwise step reads the same elements there.
      const Lowered* other = operand == &draft.in ? &draft.in2 : &draft.in;
      bool clash = false;
      for (const Piece& piece : other->pieces) {
        int b = piece.buffer;
        while (b >= 0 && buffers_[static_cast<size_t>(b)].merged_into >= 0)
          b = buffers_[static_cast<size_t>(b)].merged_into;
        const bool same_elements = draft.share_in && other->pieces.size() == 1 && piece.start == 0 &&
                                   piece.pixel_stride == operand->pieces[0].pixel_stride;
        clash = clash || (b == from && !same_elements);
      }
      if (clash) continue;
      moved.merged_into = from;
      target.last = moved.last;
      target.name = moved.name;
      break;
    }
  }
}

size_t Lowering::offset_of(const Piece& piece) const {
  int b = piece.buffer;
  while (buffers_[static_cast<size_t>(b)].merged_into >= 0) b = buffers_[static_cast<size_t>(b)].merged_into;
  return plan_.buffers[static_cast<size_t>(b)].offset + piece.start;
}

rt::View Lowering::view(const Lowered& value, Plan* plan) {
  rt::View v{
      value.n, value.h, value.w, value.c, nullptr, static_cast<int32_t>(value.pieces.size()), rt_type(value.type)};
  if (value.pieces.empty()) return v;
  std::vector<rt::Segment> segments;
  for (const Piece& piece : value.pieces) {
    rt::Segment segment{0, piece.constant, piece.channels, piece.pixel_stride};
    if (piece.buffer >= 0) segment.offset = offset_of(piece);
    segments.push_back(segment);
  }
  plan->segments.push_back(std::move(segments));
  v.segments = plan->segments.back().data();
  return v;
}

// Gives every buffer its place in the arena.
void Lowering::place_buffers() {
  share_memory();

  std::vector<PlannedBuffer> planned;
  std::vector<size_t> planned_id;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const VirtualBuffer& b = buffers_[i];
    plan_.buffers.push_back({b.name, b.bytes, 0, b.first, b.last});
    if (b.merged_into >= 0) continue;
    planned.push_back({b.bytes, b.first, b.last, 0});
    planned_id.push_back(i);
  }
  plan_.lower_bound_bytes = memory_lower_bound(planned);
  plan_.arena_bytes = plan_memory(&planned);
  for (size_t i = 0; i < planned.size(); ++i) {
    plan_.buffers[planned_id[i]].offset = planned[i].offset;
    plan_.buffers[planned_id[i]].bytes = planned[i].bytes;
  }
  for (int id : region_buffers_) plan_.region_offsets.push_back(plan_.buffers[static_cast<size_t>(id)].offset);
}

// Drafts become steps, now that the arena is laid out.
void Lowering::make_steps() {
  for (Draft& draft : drafts_) {
    draft.step.in = view(draft.in, &plan_);
    draft.step.in2 = view(draft.in2, &plan_);
    draft.step.out = view(draft.out, &plan_);
    if (!draft.operands.empty()) {
      std::vector<rt::View> operands;
      for (const Lowered& operand : draft.operands) operands.push_back(view(operand, &plan_));
      draft.step.train.operand_count = static_cast<int32_t>(operands.size());
      plan_.operands.push_back(std::move(operands));
      draft.step.train.operands = plan_.operands.back().data();
    }
    for (const Draft::Link& link : draft.links) {
      plan_.links.push_back({plan_.steps.size(), link.slot, offset_of(link.piece)});
    }
    plan_.steps.push_back(draft.step);
    plan_.step_macs.push_back(draft.macs);
  }
}

// Leaves merged buffers out of the plan: they have no memory of their own.
void Lowering::forget_merged_buffers() {
  std::vector<PlanBuffer> kept;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (buffers_[i].merged_into < 0) kept.push_back(plan_.buffers[i]);
  }
  plan_.buffers = std::move(kept);
}

}  // namespace sparsenet
