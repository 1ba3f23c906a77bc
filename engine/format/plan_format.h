// Stored plans to and from the file's structure. The constants that they need are placed by the writer of the file.
#pragma once

#include <flatbuffers/flatbuffers.h>
#include <sparsenet/model.h>

#include <functional>

#include "format/stored/stored_plan.h"

namespace sparsenet {

// Which graph a plan was made of: a hash of its nodes, their attributes, connections and the contents of its constants,
// so that no change passes unseen; not of the batch size. Reads all constants (about 10 GB per second).
uint64_t graph_identity(const Graph& graph);

// Whether the plan still says what the graph says: for any batch size, the same inputs and the same graph.
bool made_of(const StoredPlan& stored, const Graph& graph);
// All of which that holds, with the constants read once. They point into `plans`.
std::vector<const StoredPlan*> plans_made_of(const std::vector<StoredPlan>& plans, const Graph& graph);

// The model's plan of inference for this target and batch, or that of training, if it is made of the model's graph;
// else null.
const StoredPlan* find_plan(const Model& model, const std::string& target, int64_t batch);
const StoredPlan* find_training_plan(const Model& model, const std::string& target);

// About what it takes in the structure, at most.
size_t plan_bytes(const StoredPlan& stored);

// `place` gives a constant's offset in the data section, and the same one for the same bytes.
Result<flatbuffers::Offset<schema::Plan>> write_plan(const StoredPlan& stored,
                                                     const std::function<uint64_t(const Tensor&)>& place,
                                                     flatbuffers::FlatBufferBuilder* builder);

// Whether this runtime knows the plan's target and version; others are skipped.
bool is_known_plan(const schema::Plan& plan);

// Checks all of a plan, also that its inputs and outputs are the graph's; the caller sets graph_identity. `charge` is
// told of all that is copied out of the structure and says when it is too much. Messages do not name the plan.
Result<StoredPlan> read_plan(const rt::PlanFile& file, const Graph& graph, const std::shared_ptr<const void>& owner,
                             const std::function<Status(uint64_t)>& charge);

}  // namespace sparsenet
