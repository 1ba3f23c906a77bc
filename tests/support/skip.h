// For test cases that need something a machine may not have: shared models and data, a backend, a built tool.
//
//   TEST_CASE("resnet20 gets 9,173 test images right") {
//     const std::string file = shared_file("models/akamaster-resnet20/resnet20-12fca82f.th");
//     if (file.empty()) return skip("resnet20 accuracy", "the shared models");
//
// doctest cannot skip a case from inside, so such a case returns early and passes. If all cases that ran were skipped
// and none failed, the test program exits with 77, which ctest shows as skipped.
#pragma once

#include <string>

namespace sparsenet::test {

// Prints "skipped: NAME: needs WHAT" and counts it.
void skip(const std::string& name, const std::string& needs);
int skipped_cases();

// Path of a file or folder in the shared folder (environment SPARSENET_SHARED, else ../shared beside the source root);
// empty if it does not exist.
std::string shared_file(const std::string& relative);

// Scales the number of random cases by the environment variable SPARSENET_TEST_EFFORT (default 1). At least one case
// remains.
int scaled_by_effort(int cases);

}  // namespace sparsenet::test
