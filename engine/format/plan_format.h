// Writes stored plans to the file's structure and reads them from it. The writer of the file places the constants that
// they need.
#pragma once

#include <flatbuffers/flatbuffers.h>
#include <sparsenet/model.h>

#include <functional>
#include <map>
#include <string>

#include "format/stored/stored_plan.h"

namespace sparsenet {

// Identifies the graph that a plan was made of: a hash of its nodes, their attributes and connections, and the contents
// of its constants, so that no change goes unnoticed. The batch size is not part of it. Reads all constants (about 10
// GB per second).
uint64_t graph_identity(const Graph& graph);

// Whether the plan was made of this graph: the graph is the same, for whatever batch size, and so are the inputs.
bool made_of(const StoredPlan& stored, const Graph& graph);
// All plans for which that holds; the constants are read only once. The result points into `plans`.
std::vector<const StoredPlan*> plans_made_of(const std::vector<StoredPlan>& plans, const Graph& graph);

// The model's plan for inference with this target and batch, or its plan for training; null if there is none that was
// made of the model's graph.
const StoredPlan* find_plan(const Model& model, const std::string& target, int64_t batch);
const StoredPlan* find_training_plan(const Model& model, const std::string& target);

// An upper estimate of what the plan takes in the structure.
size_t plan_bytes(const StoredPlan& stored);

// Where lists that steps of integers have in common stand in the structure, by their contents: a plan that trains has
// the body of the plan beside it.
using SharedLists = std::map<std::string, flatbuffers::uoffset_t>;

// `place` returns a constant's offset in the data section, the same offset for the same bytes. `lists` is for one
// builder.
Result<flatbuffers::Offset<schema::Plan>> write_plan(const StoredPlan& stored,
                                                     const std::function<uint64_t(const Tensor&)>& place,
                                                     flatbuffers::FlatBufferBuilder* builder, SharedLists* lists);

// Whether this runtime knows the plan's target and version; others are skipped.
bool is_known_plan(const schema::Plan& plan);

// Reads a plan and checks all of it, also that its inputs and outputs are the graph's; the caller sets graph_identity.
// `charge` is called with the number of bytes that are copied out of the structure, and fails when they are too many.
// Messages do not name the plan.
Result<StoredPlan> read_plan(const rt::PlanFile& file, const Graph& graph, const std::shared_ptr<const void>& owner,
                             const std::function<Status(uint64_t)>& charge);

}  // namespace sparsenet
