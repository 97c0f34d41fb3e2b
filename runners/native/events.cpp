#include "events.hpp"

#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sstream>

static int64_t clock_ns(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return int64_t(time.tv_sec) * 1000000000 + time.tv_nsec;
}

int64_t now() {
    return clock_ns(CLOCK_MONOTONIC);
}

double seconds_since(int64_t began) {
    return double(now() - began) / 1e9;
}

std::string one_line(const std::string & text) {
    std::istringstream words(text);
    std::string line, word;
    while (words >> word) {
        line += (line.empty() ? "" : " ") + word;
    }
    return line;
}

static std::string dumped(const json & thing) {
    return thing.dump(-1, ' ', true, json::error_handler_t::replace);
}

std::string event_line(const std::string & event, int64_t t, const json & fields) {
    json line = {{"event", event}, {"t", t}};
    line.update(fields);
    return dumped(line);
}

std::string kernel() {
    utsname name{};
    uname(&name);
    return std::string(name.sysname) + "-" + name.release + "-" + name.machine;
}

json begin_fields(const std::string & runner, const json & versions, const std::string & system) {
    // This moment on the machine's other clocks: what its sensors stamp their looks with.
    const json clocks = {{"wall_ns", clock_ns(CLOCK_REALTIME)}, {"boottime_ns", clock_ns(CLOCK_BOOTTIME)}};
    return {{"schema", 1},        {"clock", "monotonic_ns"}, {"runner", runner}, {"versions", versions},
            {"system", system}, {"pid", getpid()},         {"clocks", clocks}};
}

bool write_all(int fd, const std::string & data) {
    size_t done = 0;
    while (done < data.size()) {
        const ssize_t n = write(fd, data.data() + done, data.size() - done);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        done += n > 0 ? size_t(n) : 0;
    }
    return true;
}

Events::Events() : out(dup(1)) {
    dup2(2, 1);
}

void Events::emit(const std::string & event, const json & fields,
                  const std::vector<std::pair<std::string, std::vector<double>>> & lists) {
    std::string line = event_line(event, now(), fields);
    line.pop_back();
    char figure[32];
    for (const auto & [name, values] : lists) {
        line += ",\"" + name + "\":[";
        for (size_t i = 0; i < values.size(); i++) {
            snprintf(figure, sizeof figure, i ? ",%.9g" : "%.9g", values[i]);
            line += figure;
        }
        line += "]";
    }
    if (!write_all(out, line + "}\n")) {
        _exit(1);  // nobody listens any more
    }
}
