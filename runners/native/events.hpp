// Events: JSON lines on what was stdout; whatever else writes to stdout lands on stderr.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using json = nlohmann::ordered_json;

// The cell fails: at which stage, and why in one line.
struct Failure {
    std::string stage, error;
    bool retryable = false;
};

// Nanoseconds of the device's monotonic clock.
int64_t now();

double seconds_since(int64_t began);

// An event that was not emitted by us in time: `t` is given.
std::string event_line(const std::string & event, int64_t t, const json & fields);

// What every `begin` holds besides t: schema, clock, runner, versions, system, pid, clocks.
json begin_fields(const std::string & runner, const json & versions, const std::string & system);

// Kernel and architecture, e.g. "Linux-6.1.0-x86_64".
std::string kernel();

// One line: whatever white space there is becomes a single blank.
std::string one_line(const std::string & text);

// All of it, however often the pipe is full. False when nobody reads any more.
bool write_all(int fd, const std::string & data);

class Events {
  public:
    Events();
    // `lists` are written with nine digits, which hold a float32 exactly.
    void emit(const std::string & event, const json & fields,
              const std::vector<std::pair<std::string, std::vector<double>>> & lists = {});

  private:
    int out;
};
