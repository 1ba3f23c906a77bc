// Which network a file of weights is of, told by the shapes of its tensors: for messages about a missing or wrong
// --arch. Never used to choose an architecture by itself.
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

// The architectures, as --arch takes them, whose constants have exactly these shapes, with as many classes as the
// shapes say: known ones, else `given` (null: none) with other classes, attention, stem
// or shortcuts.
std::vector<std::string> recognise(const ShapeCounts& shapes, const Architecture* given);

// "sparsenet-abc-v0", or "resnet20 or resnet32"; empty where nothing is recognised.
std::string recognised_text(const std::vector<std::string>& architectures);

// After a match that failed: where another architecture than `given` fits, or where less than half of the constants of
// `given` were filled, the problems from `first` on get that as their common cause, with the way out.
void explain_mismatch(const ShapeCounts& shapes, const Architecture& given, const std::string& given_text, size_t first,
                      Report* report);

}  // namespace sparsenet::converter
