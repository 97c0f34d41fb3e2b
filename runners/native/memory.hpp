// A process's memory as Linux shows it.
#pragma once

#include "events.hpp"

// VmHWM, VmRSS, RssAnon and RssFile in MiB under our names; empty once the process is gone.
json memory_of(const std::string & status);

// The first bytes of a file of /proc or /sys; empty where it cannot be read.
std::string glance(int fd);

// Fields of /proc/PID/stat after the command's name (which may hold blanks itself): majflt is the 10th of them.
std::vector<std::string> stat_fields(const std::string & stat);

// Our own memory now, its peak since this program was exec'd, and page faults that needed the disk.
json own_memory();
