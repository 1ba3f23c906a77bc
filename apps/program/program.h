// What every program does around its own work, so that all of them keep the same promises.
#pragma once

namespace sparsenet::program {

// Runs `body` and gives the exit code of the process. Around it:
// - Standard input, output and error are open: a file of ours never takes the place of one that was closed.
// - A limit on the size of files (SIGXFSZ) makes writing fail with an error that is reported, and ends nothing.
// - An exception, std::bad_alloc above all, ends as one line "error: ..." and exit code 1, wherever it was thrown.
// - Output that cannot be written (a full disk behind stdout) is an error too.
int run(int argc, char** argv, int (*body)(int argc, char** argv));

// What is under way, for "error: out of memory while ...": kept as a pointer, for there may be no memory to copy it.
void set_activity(const char* text);

}  // namespace sparsenet::program
