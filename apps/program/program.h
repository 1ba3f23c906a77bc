// What every program does around its own work, so that all of them give the same guarantees.
#pragma once

namespace sparsenet::program {

// Runs `body` and returns the exit code of the process. In addition:
// - Standard input, output and error are open: a file of ours never takes the place of one that was closed.
// - A limit on file size (SIGXFSZ) makes writing fail with a reported error instead of ending the process.
// - An exception, most importantly std::bad_alloc, results in one line "error: ..." and exit code 1, wherever it was
//   thrown.
// - Output that cannot be written (a full disk behind stdout) is an error too.
int run(int argc, char** argv, int (*body)(int argc, char** argv));

// Sets the current activity, for "error: out of memory while ...". Kept as a pointer, because there may be no memory to
// copy it.
void set_activity(const char* text);

}  // namespace sparsenet::program
