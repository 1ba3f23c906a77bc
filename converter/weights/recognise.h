// Recognises the network that a file of weights belongs to by the shapes of its tensors: for messages about a missing
// or wrong --arch. Never used to choose an architecture automatically.
#pragma once

#include <sparsenet/architecture.h>

#include <map>
#include <string>
#include <vector>

#include "converter/report.h"
#include "converter/weights/name_rules.h"
#include "converter/weights/source_tensor.h"

namespace sparsenet::converter {

// How often each shape occurs among the float tensors of a file. [O, I, 1, 1] counts as [O, I].
using ShapeCounts = std::map<Shape, int64_t>;
ShapeCounts count_shapes(const SourceTensors& source, const NameRules& rules);  // without what a rule drops

// The architectures, in the form of --arch, whose constants have exactly these shapes, with the number of classes that
// the shapes imply: known ones, or else `given` (null: none) with other classes, attention, stem or shortcuts.
std::vector<std::string> recognise(const ShapeCounts& shapes, const Architecture* given);

// "sparsenet-abc-v0", or "resnet20 or resnet32"; empty if nothing is recognised.
std::string recognised_text(const std::vector<std::string>& architectures);

// To be called after a failed match: if another architecture than `given` fits, or if fewer than half of the constants
// of `given` were filled, this becomes the common cause of the problems from `first` on, with advice.
void explain_mismatch(const ShapeCounts& shapes, const Architecture& given, const std::string& given_text, size_t first,
                      Report* report);

}  // namespace sparsenet::converter
