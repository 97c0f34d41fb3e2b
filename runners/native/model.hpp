// A loaded model, its vocabulary, and llama.cpp's log of its loading.
#pragma once

#include "events.hpp"
#include "llama.h"

#include <memory>
#include <string>
#include <vector>

// llama.cpp's own log: all of it while loading, for what was really set; its first complaints after.
class Log {
  public:
    Log();
    void begin();  // from here on the log is kept
    void end();
    // The text between two marks on the last line that has both; empty where none has.
    std::string last(const std::string & before, const std::string & after) const;
    std::vector<std::string> all(const std::string & before, const std::string & after) const;
    // llama.cpp's first complaint says the cause, later ones only that it failed.
    std::string why(const std::string & otherwise) const;

  private:
    static void take(ggml_log_level level, const char * text, void * log);
    std::vector<std::string> lines, problems;
    bool keeping = true;
};

// A parsed request. Every question raises Failure at stage "request", naming what is wrong.
class Request {
  public:
    explicit Request(const json & given) : given(given) {}
    std::string text(const char * name) const;
    int64_t number(const char * name, int64_t least) const;
    bool has(const char * name) const;
    // Fails for a parameter that this program knows nothing of.
    void allow(const std::vector<std::string> & names) const;

  private:
    json given;
};

class Model {
  public:
    Model(const Request & request, Log & log);
    std::string load_mode() const;
    std::vector<std::string> devices() const;
    json facts() const;
    // As llama-perplexity: special tokens added, none parsed from the text.
    std::vector<llama_token> tokenise(const std::string & text) const;

    const Request & request;
    Log & log;
    std::unique_ptr<llama_model, decltype(&llama_model_free)> handle{nullptr, llama_model_free};
    const llama_vocab * vocab = nullptr;
    int n_vocab = 0;
    bool adds_bos = false;
    llama_token bos = 0;
    double seconds = 0;
};
