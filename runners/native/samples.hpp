// What is sampled beside a command: its memory, its processor time, the processor's clock.
#pragma once

#include "memory.hpp"

// Samples taken so far stay in memory: writing them would wake whoever reads.
class Samples {
  public:
    Samples(int pid, double hz);
    int64_t wait_ns() const;  // to the next sample
    void take_if_due();
    std::string lines() const;

  private:
    json values() const;
    int status, stat;
    std::vector<int> clocks;
    int64_t every, next;
    std::vector<std::pair<int64_t, json>> taken;
};
