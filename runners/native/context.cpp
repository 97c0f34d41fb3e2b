#include "context.hpp"

#include "hash/hash.h"

#include <algorithm>
#include <set>

void Batch::put(int position, int sequence, bool output) {
    const int i = raw.n_tokens++;
    raw.pos[i] = position;
    raw.n_seq_id[i] = 1;
    raw.seq_id[i][0] = sequence;
    raw.logits[i] = output;
}

Batch::Batch(int n, int position) : raw(llama_batch_init(n, 0, 1)) {
    for (int i = 0; i < n; i++) {
        put(position + i, 0, i == n - 1);
    }
}

Batch::Batch(int n_seq, int first, int end, int scored) : raw(llama_batch_init(n_seq * (end - first), 0, 1)) {
    for (int s = 0; s < n_seq; s++) {
        for (int p = first; p < end; p++) {
            put(p, s, p >= scored);
        }
    }
}

Batch::~Batch() {
    if (raw.token) {
        llama_batch_free(raw);
    }
}

void Batch::fill(const llama_token * ids, size_t n) {
    std::copy(ids, ids + n, raw.token);
    raw.n_tokens = int32_t(n);
}

std::vector<Batch> prompt_batches(const std::vector<llama_token> & ids, int n_batch, int position) {
    std::vector<Batch> batches;
    for (size_t start = 0; start < ids.size(); start += size_t(n_batch)) {
        const size_t n = std::min(size_t(n_batch), ids.size() - start);
        batches.emplace_back(int(n), position + int(start));
        batches.back().fill(ids.data() + start, n);
    }
    return batches;
}

static ggml_type cache_type(const std::string & name) {
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const char * known = ggml_type_name(ggml_type(i));
        if (known && name == known) {
            return ggml_type(i);
        }
    }
    throw Failure{"request", "unknown KV cache type '" + name + "'"};
}

static llama_flash_attn_type flash_attention(const std::string & asked) {
    if (asked != "on" && asked != "off") {
        throw Failure{"request", "flash_attn is 'on' or 'off', not '" + asked + "'"};
    }
    return asked == "on" ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
}

Context::Context(const Model & model, int64_t n_ctx, int64_t n_seq) : model(model) {
    const Request & request = model.request;
    const int threads = int(request.number("threads", 1));
    auto params = llama_context_default_params();
    params.n_ctx = uint32_t(n_ctx);
    params.n_seq_max = uint32_t(n_seq);
    params.n_batch = uint32_t(request.number("n_batch", 1));
    params.n_ubatch = uint32_t(request.number("n_ubatch", 1));
    params.n_threads = params.n_threads_batch = threads;
    params.flash_attn_type = flash_attention(request.text("flash_attn"));
    params.type_k = cache_type(request.text("type_k"));
    params.type_v = cache_type(request.text("type_v"));
    params.offload_kqv = params.op_offload = request.number("n_gpu_layers", -1) != 0;
    params.swa_full = params.kv_unified = params.embeddings = false;
    params.no_perf = true;
    const int64_t began = now();
    model.log.begin();
    handle = llama_init_from_model(model.handle.get(), params);
    seconds = seconds_since(began);
    if (!handle) {
        throw Failure{"load", model.log.why("no context of " + std::to_string(n_ctx) + " tokens could be made")};
    }
    ggml_threadpool_params pool_params;
    ggml_threadpool_params_init(&pool_params, threads);
    pool = ggml_threadpool_new(&pool_params);
    if (!pool) {
        throw Failure{"load", "no pool of " + std::to_string(threads) + " threads could be made"};
    }
    llama_attach_threadpool(handle, pool, nullptr);
    settings = in_effect();
    model.log.end();
    check(n_ctx);
}

Context::~Context() {
    llama_free(handle);
    ggml_threadpool_free(pool);
}

static std::string known(const std::string & found) {
    return found.empty() ? "unknown" : found;
}

// Read back from llama.cpp: by its functions, else from its log.
json Context::in_effect() const {
    const std::string flash = known(model.log.last("flash_attn = ", ""));
    return {{"n_ctx", llama_n_ctx(handle)},
            {"n_batch", llama_n_batch(handle)},
            {"n_ubatch", llama_n_ubatch(handle)},
            {"n_seq_max", llama_n_seq_max(handle)},
            {"threads", llama_n_threads(handle)},
            {"threads_batch", llama_n_threads_batch(handle)},
            {"flash_attn", flash == "enabled" ? "on" : flash == "disabled" ? "off" : flash},
            {"type_k", known(model.log.last(" K (", ")"))},
            {"type_v", known(model.log.last(" V (", ")"))}};
}

void Context::check(int64_t n_ctx) const {
    const Request & request = model.request;
    // llama.cpp bounds a batch by the context (as asked for: it rounds that up), a micro-batch by the batch.
    const int64_t n_batch = std::min(request.number("n_batch", 1), n_ctx);
    const json asked = {{"threads", request.number("threads", 1)}, {"flash_attn", request.text("flash_attn")},
                        {"type_k", request.text("type_k")},        {"type_v", request.text("type_v")},
                        {"n_batch", n_batch},                      {"n_ubatch", std::min(request.number("n_ubatch", 1), n_batch)}};
    for (const auto & [name, value] : asked.items()) {
        if (settings.at(name) != value) {
            throw Failure{"load", name + " " + value.dump() + " was asked for, llama.cpp uses " +
                                      settings.at(name).dump()};
        }
    }
}

void Context::decode(const llama_batch & batch) const {
    const int status = llama_decode(handle, batch);
    if (status) {
        throw Failure{"run", model.log.why("llama_decode returned " + std::to_string(status))};
    }
}

// The backend in use; fails where fewer layers are on a GPU than were asked for.
static std::pair<std::string, int> backend(const Model & model) {
    const auto devices = model.devices();
    const int on = int(std::count_if(devices.begin(), devices.end(), [](const auto & name) { return name != "CPU"; }));
    const int asked = int(model.request.number("n_gpu_layers", -1)), all = int(devices.size());
    const int wanted = asked < 0 ? (llama_supports_gpu_offload() ? all : 0) : std::min(asked, all);
    if (on < wanted) {
        throw Failure{"load", std::to_string(wanted) + " layers were asked for on a GPU, llama.cpp put " +
                                  std::to_string(on) + " there"};
    }
    std::string names;
    for (const std::string & name : std::set<std::string>(devices.begin(), devices.end())) {
        names += (names.empty() ? "" : "+") + name;
    }
    return {known(names), on};
}

std::unique_ptr<Context> Session::context(int64_t n_ctx, int64_t n_seq) {
    if (loaded) {
        return std::make_unique<Context>(model, n_ctx, n_seq);
    }
    const auto [name, layers] = backend(model);
    const std::string load_mode = model.load_mode();  // before the log begins anew
    auto made = std::make_unique<Context>(model, n_ctx, n_seq);
    json settings = made->settings;
    settings.update({{"n_gpu_layers", layers}, {"load_mode", load_mode}, {"op_offload", layers > 0},
                     {"offload_kqv", layers > 0}, {"swa_full", false}, {"kv_unified", false},
                     {"threadpool", "attached"}, {"poll", 50}});
    events.emit("loaded", {{"seconds", model.seconds + made->seconds}, {"model_seconds", model.seconds},
                           {"context_seconds", made->seconds}, {"backend", name}, {"settings", settings},
                           {"model", model.facts()}});
    loaded = true;
    memory("loaded");
    return made;
}

void Session::memory(const char * phase) {
    json fields = own_memory();
    fields["phase"] = phase;
    events.emit("memory", fields);
}

std::string token_sha256(const std::vector<llama_token> & ids) {
    return hash_sha256_hex(ids.data(), ids.size() * sizeof(llama_token));
}
