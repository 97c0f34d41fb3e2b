// A context with every parameter set, checked against what llama.cpp says is in effect; and batches for it.
#pragma once

#include "ggml-cpu.h"
#include "memory.hpp"
#include "model.hpp"

// A llama_batch with a fixed layout: only its token ids change.
class Batch {
  public:
    // `n` tokens of one sequence from a position; logits for the last alone, as llama-bench.
    Batch(int n, int position);
    // `n_seq` sequences of the positions `first` to `end`; logits from the position `scored` on.
    Batch(int n_seq, int first, int end, int scored);
    Batch(const Batch &) = delete;
    Batch(Batch && other) noexcept : raw(other.raw) { other.raw = {}; }
    ~Batch();
    // Fewer ids than the layout holds are a shorter batch.
    void fill(const llama_token * ids, size_t n);

    llama_batch raw{};

  private:
    void put(int position, int sequence, bool output);
};

// A prompt from a position in batches.
std::vector<Batch> prompt_batches(const std::vector<llama_token> & ids, int n_batch, int position = 0);

class Context {
  public:
    Context(const Model & model, int64_t n_ctx, int64_t n_seq = 1);
    ~Context();
    void clear(bool data = false) { llama_memory_clear(llama_get_memory(handle), data); }
    void decode(const llama_batch & batch) const;

    const Model & model;
    llama_context * handle = nullptr;
    json settings;  // in effect
    double seconds = 0;

  private:
    json in_effect() const;
    void check(int64_t n_ctx) const;
    ggml_threadpool * pool = nullptr;
};

// A request being answered: the model loaded, contexts made as a kind needs them.
class Session {
  public:
    Session(const Request & request, Events & events) : request(request), events(events), model(request, log) {}
    // With the first context the model counts as loaded.
    std::unique_ptr<Context> context(int64_t n_ctx, int64_t n_seq = 1);
    void memory(const char * phase);

    const Request & request;
    Events & events;
    Log log;
    Model model;

  private:
    bool loaded = false;
};

void bench(Session & session);
void app(Session & session);
void sustained(Session & session);
void quality(Session & session);

// Of ids as little-endian int32, which every machine that this is built for has.
std::string token_sha256(const std::vector<llama_token> & ids);
