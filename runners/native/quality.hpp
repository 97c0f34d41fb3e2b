// A text cut into chunks, and the base model's log-probabilities of them.
#pragma once

#include "context.hpp"

#include <fstream>

// Disjoint chunks of n_ctx tokens; the second half of each is scored.
class Text {
  public:
    explicit Text(const Session & session);
    std::vector<llama_token> evaluated() const;
    const llama_token * targets(int chunk) const { return ids.data() + size_t(chunk) * n_ctx + first + 1; }
    // The ids of n chunks; where the vocabulary adds BOS it stands in for the first token of each.
    std::vector<llama_token> inputs(int chunk, int n) const;
    json facts() const;

    const Model & model;
    const int n_ctx, first;  // `first`: the position whose logits score the first target
    const int rows;          // scored tokens of a chunk
    int n_chunks = 0;

  private:
    int64_t scored_bytes() const;
    std::string sha256;
    std::vector<llama_token> ids;
    double seconds = 0;
};

// A base-logits file as llama-perplexity writes it: log-probabilities in 16 bits, row by row.
class Base {
  public:
    Base(const std::string & path, const Text & text);
    // The rows of the next chunk: per row float scale, float min, then n_vocab steps.
    const std::vector<uint16_t> & next();

    const size_t width;  // 16-bit words of a row

  private:
    std::ifstream file;
    std::vector<uint16_t> rows;
};
