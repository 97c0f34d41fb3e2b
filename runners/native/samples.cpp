#include "samples.hpp"

#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace {

const size_t LIMIT = 36000;  // an hour at 10 Hz; then every second sample goes and the rate halves

int opened(const std::string & path) {
    return open(path.c_str(), O_RDONLY | O_CLOEXEC);
}

// The cpufreq clocks that can be read: some machines list one that cannot.
std::vector<int> clock_files() {
    std::vector<int> found;
    glob_t paths{};
    glob("/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq", 0, nullptr, &paths);
    for (size_t i = 0; i < paths.gl_pathc && i < 16; i++) {
        const int fd = opened(paths.gl_pathv[i]);
        if (fd >= 0 && atoll(glance(fd).c_str()) > 0) {
            found.push_back(fd);
        } else if (fd >= 0) {
            close(fd);
        }
    }
    globfree(&paths);
    return found;
}

double rounded(double value) {
    return std::round(value * 1000) / 1000;
}

}  // namespace

Samples::Samples(int pid, double hz)
    : status(opened("/proc/" + std::to_string(pid) + "/status")), stat(opened("/proc/" + std::to_string(pid) + "/stat")),
      clocks(clock_files()), every(int64_t(1e9 / hz)), next(now()) {}

int64_t Samples::wait_ns() const {
    return std::max<int64_t>(0, next - now());
}

json Samples::values() const {
    json found = memory_of(glance(status));
    const auto fields = stat_fields(glance(stat));
    if (found.empty() || fields.size() < 13) {
        return json::object();  // the process has gone
    }
    for (auto & [name, value] : found.items()) {
        value = rounded(value);
    }
    found["majflt"] = atoll(fields[9].c_str());
    const double ticks = atof(fields[11].c_str()) + atof(fields[12].c_str());
    found["cpu_s"] = rounded(ticks / double(sysconf(_SC_CLK_TCK)));
    double khz = 0;
    for (const int fd : clocks) {
        khz += atof(glance(fd).c_str());
    }
    if (!clocks.empty()) {
        found["mhz"] = rounded(khz / 1000 / double(clocks.size()));
    }
    double load = 0;
    if (getloadavg(&load, 1) == 1) {
        found["load_1min"] = rounded(load);
    }
    return found;
}

void Samples::take_if_due() {
    if (wait_ns() > 0) {
        return;
    }
    next = std::max(next + every, now());
    if (json found = values(); !found.empty()) {
        taken.emplace_back(now(), std::move(found));
    }
    if (taken.size() > LIMIT) {
        for (size_t i = 0; 2 * i < taken.size(); i++) {
            taken[i] = std::move(taken[2 * i]);
        }
        taken.resize((taken.size() + 1) / 2);
        every *= 2;
    }
}

std::string Samples::lines() const {
    std::string all;
    for (const auto & [t, values] : taken) {
        all += event_line("sample", t, {{"source", "proc"}, {"values", values}}) + "\n";
    }
    return all;
}
