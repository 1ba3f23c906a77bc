// Being asked to stop: by Ctrl-C (SIGINT), SIGTERM, SIGHUP (the terminal or the connection is gone), or by the reader
// of standard output, who has closed it.
#pragma once

#include <string>

namespace sparsenet::cli {

// From now on the first of them is noted, and the work that is under way decides when to end. A second signal of the
// same kind ends the program at once. A signal that was ignored when the program started stays so (nohup).
void watch_for_interrupts();

// Whether to stop. Cheap enough to be asked after every step.
bool interrupted();

// What asked for it, as a part of a message: "SIGTERM". Only after interrupted().
std::string interrupt_name();

// By the convention of shells, 128 and the number of the signal: 130 after Ctrl-C. A closed standard output counts as
// SIGPIPE.
int interrupt_exit_code();

}  // namespace sparsenet::cli
