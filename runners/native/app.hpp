// Generations as a person sees them: greedy, no stop at EOS.
#pragma once

#include "context.hpp"

#include <memory>

struct Generated {
    int64_t submit;
    std::vector<int64_t> times;  // when each token id was on the host
};

// The prompt is always the same text: a context for so many tokens more than it, warmed up.
class Generator {
  public:
    Generator(Session & session, int n_prompt, int n_gen);
    Generated run() { return run(n_gen); }

    const int n_prompt, n_gen;

  private:
    Generated run(int n);

    std::unique_ptr<Context> context;
    std::vector<Batch> prompt;
    std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)> sampler;
};

// The events of one generation.
void emit(Events & events, const Generated & made, int repetition, int n_prompt);
