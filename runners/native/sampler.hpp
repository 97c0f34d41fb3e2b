// Runs a command and watches its memory and the processor's clock beside it.
#pragma once

#include <string>

// What `--hz HZ [--wrap NAME] -- COMMAND…` asks for; the exit status is the command's, 128 + n for signal n.
int run_sampled(double hz, const std::string & wrap, char ** command);
