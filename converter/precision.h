// --precision: the type in which a model's parameters are stored.
#pragma once

#include <sparsenet/model.h>

#include "converter/convert.h"
#include "converter/report.h"

namespace sparsenet::converter {

// Rounds the parameters to float16, or widens float16 constants; notes what stays float32. The outputs of test vectors
// become those of the changed network, computed by the reference kernels; the note says how far they have moved. Sets
// *changed if a constant has changed: plans then have to be made anew.
Status set_precision(Precision precision, Model* model, Report* report, bool* changed);

}  // namespace sparsenet::converter
