#include "model.hpp"

#include <sys/stat.h>

#include <algorithm>

Log::Log() {
    llama_log_set(take, this);
}

void Log::begin() {
    keeping = true;
    lines.clear();
}

void Log::end() {
    keeping = false;
}

void Log::take(ggml_log_level level, const char * text, void * log) {
    Log & self = *static_cast<Log *>(log);
    const std::string line = self.keeping || level == GGML_LOG_LEVEL_ERROR ? one_line(text) : "";
    if (self.keeping && !line.empty()) {
        self.lines.push_back(line);
    }
    if (level == GGML_LOG_LEVEL_ERROR && !line.empty() && self.problems.size() < 8) {
        self.problems.push_back(line);
    }
}

std::vector<std::string> Log::all(const std::string & before, const std::string & after) const {
    std::vector<std::string> found;
    for (const std::string & line : lines) {
        const size_t at = line.find(before), from = at + before.size();
        const size_t to = at == std::string::npos ? at : after.empty() ? line.size() : line.find(after, from);
        if (to != std::string::npos) {
            found.push_back(line.substr(from, to - from));
        }
    }
    return found;
}

std::string Log::last(const std::string & before, const std::string & after) const {
    const auto found = all(before, after);
    return found.empty() ? "" : found.back();
}

std::string Log::why(const std::string & otherwise) const {
    return problems.empty() ? otherwise : problems.front();
}

bool Request::has(const char * name) const {
    return given.contains(name) && !given.at(name).is_null();
}

std::string Request::text(const char * name) const {
    if (!has(name)) {
        throw Failure{"request", std::string("the request has no ") + name};
    }
    if (!given.at(name).is_string()) {
        throw Failure{"request", std::string(name) + " is no text: " + given.at(name).dump()};
    }
    return given.at(name);
}

int64_t Request::number(const char * name, int64_t least) const {
    if (!has(name)) {
        throw Failure{"request", std::string("the request has no ") + name};
    }
    const json & value = given.at(name);
    if (!value.is_number_integer() || value.get<int64_t>() < least || value.get<int64_t>() > INT32_MAX) {
        throw Failure{"request", std::string(name) + " must be a whole number of at least " + std::to_string(least) +
                                     ", not " + value.dump()};
    }
    return value;
}

void Request::allow(const std::vector<std::string> & names) const {
    for (const auto & [name, value] : given.items()) {
        if (std::find(names.begin(), names.end(), name) == names.end()) {
            throw Failure{"request", "unknown parameter '" + name + "'"};
        }
    }
}

Model::Model(const Request & request, Log & log) : request(request), log(log) {
    const std::string path = request.text("model");
    const int layers = int(request.number("n_gpu_layers", -1));
    struct stat file{};
    if (stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) {
        throw Failure{"load", "there is no model file " + path};
    }
    if (layers > 0 && !llama_supports_gpu_offload()) {
        throw Failure{"load", std::to_string(layers) +
                                  " layers were asked for on a GPU: this llama.cpp has no GPU backend"};
    }
    auto params = llama_model_default_params();
    params.n_gpu_layers = layers;
    ggml_backend_dev_t nothing[] = {nullptr};  // an empty list of devices, where NULL would mean all
    if (layers == 0) {
        params.devices = nothing;
    }
    const int64_t began = now();
    handle.reset(llama_model_load_from_file(path.c_str(), params));
    seconds = seconds_since(began);
    if (!handle) {
        throw Failure{"load", path + ": " + log.why("llama.cpp cannot load it")};
    }
    vocab = llama_model_get_vocab(handle.get());
    n_vocab = llama_vocab_n_tokens(vocab);
    adds_bos = llama_vocab_get_add_bos(vocab);
    bos = llama_vocab_bos(vocab);
}

std::string Model::load_mode() const {
    const std::string mode = log.last("(load_mode = ", ")");
    return mode.empty() ? "unknown" : mode;
}

std::vector<std::string> Model::devices() const {
    return log.all(" assigned to device ", ",");
}

json Model::facts() const {
    char description[256] = "";
    llama_model_desc(handle.get(), description, sizeof description);
    return {{"n_params", llama_model_n_params(handle.get())},       {"size", llama_model_size(handle.get())},
            {"n_vocab", n_vocab},                                   {"n_ctx_train", llama_model_n_ctx_train(handle.get())},
            {"description", description},                           {"add_bos", adds_bos}};
}

std::vector<llama_token> Model::tokenise(const std::string & text) const {
    std::vector<llama_token> ids(text.size() + 2);
    const int n = llama_tokenize(vocab, text.data(), int(text.size()), ids.data(), int(ids.size()), true, false);
    if (n < 0) {
        throw Failure{"run", "the text of " + std::to_string(text.size()) + " bytes cannot be tokenised (" +
                                 std::to_string(n) + ")"};
    }
    ids.resize(size_t(n));
    return ids;
}
