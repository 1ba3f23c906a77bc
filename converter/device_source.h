// Writes a model as source code, for firmware.
#pragma once

#include <sparsenet/deploy.h>

#include <string>

namespace sparsenet::converter {

// Writes DIR/NAME.h and DIR/NAME.c: the device's file as the array NAME_model, aligned to 64 bytes, its sizes as
// macros, and its labels. NAME is the C identifier made from `stem`.
Status write_c_array(const std::string& directory, const std::string& stem, const Model& model,
                     const DeviceParts& parts);

// Writes DIR/sparsenet_kernels.cpp: the table of the kernels that the model uses.
Status write_kernel_table(const std::string& directory, const DeviceParts& parts);

// The text as a C identifier: letters, digits and underscores, not starting with a digit.
std::string c_identifier(const std::string& text);

}  // namespace sparsenet::converter
