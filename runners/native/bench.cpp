// Speed by llama-bench's protocol: a prompt of n tokens or n single tokens, at a depth, in a context of its own.

#include "context.hpp"

#include <random>

namespace {

class Bench {
  public:
    Bench(Session & session, const char * phase, int tokens, int depth)
        : session(session), phase(phase), tokens(tokens), depth(depth), context(session.context(tokens + depth)),
          n_batch(int(session.request.number("n_batch", 1))) {}

    void run(int repetitions) {
        context->clear();
        const double warm = prefills() ? prompt(tokens, 0) : generate(1, 0);
        session.events.emit("warmup", {{"phase", phase}, {"seconds", warm}, {"n_ctx", context->settings.at("n_ctx")}});
        std::vector<std::pair<double, int64_t>> done;  // nothing is written between repetitions: it would wake others
        for (int i = 0; i < repetitions; i++) {
            const double seconds = once();
            done.emplace_back(seconds, now());
        }
        for (int i = 0; i < repetitions; i++) {
            const auto & [seconds, until] = done[size_t(i)];
            session.events.emit(phase, {{"mode", "bench"}, {"repetition", i}, {"tokens", tokens}, {"depth", depth},
                                        {"seconds", seconds}, {"until", until}});
        }
    }

  private:
    bool prefills() const { return phase == "prefill"; }

    // Random tokens; the first of a sequence is BOS where the vocabulary adds it.
    std::vector<llama_token> random_ids(int n) {
        std::uniform_int_distribution<llama_token> any(0, session.model.n_vocab - 1);
        std::vector<llama_token> ids(size_t(n), 0);
        for (auto & id : ids) {
            id = any(random);
        }
        if (session.model.adds_bos) {
            ids[0] = session.model.bos;
        }
        return ids;
    }

    double prompt(int n, int position) {
        const auto batches = prompt_batches(random_ids(n), n_batch, position);
        const int64_t began = now();
        for (const Batch & batch : batches) {
            context->decode(batch.raw);
        }
        llama_synchronize(context->handle);
        return seconds_since(began);
    }

    double generate(int n, int position) {
        const auto ids = random_ids(n);
        Batch single(1, 0);
        const int64_t began = now();
        for (int i = 0; i < n; i++) {
            single.raw.token[0] = ids[size_t(i)];
            single.raw.pos[0] = position + i;
            context->decode(single.raw);
            llama_synchronize(context->handle);
        }
        return seconds_since(began);
    }

    // The KV cache at depth is kept and put back, as llama-bench does.
    void fill_to_depth() {
        if (!deep.empty() && llama_state_seq_set_data(context->handle, deep.data(), deep.size(), 0)) {
            return;
        }
        prompt(depth, 0);
        deep.resize(llama_state_seq_get_size(context->handle, 0));
        llama_state_seq_get_data(context->handle, deep.data(), deep.size(), 0);
    }

    double once() {
        context->clear();
        if (depth) {
            fill_to_depth();
        }
        return prefills() ? prompt(tokens, depth) : generate(tokens, depth);
    }

    Session & session;
    const std::string phase;
    const int tokens, depth;
    std::unique_ptr<Context> context;
    const int n_batch;
    std::vector<uint8_t> deep;
    std::mt19937 random{std::random_device{}()};
};

}  // namespace

void bench(Session & session) {
    const Request & request = session.request;
    const int depth = int(request.number("n_depth", 0)), repetitions = int(request.number("repetitions", 1));
    const std::pair<const char *, const char *> tests[] = {{"prefill", "n_prompt"}, {"decode", "n_gen"}};
    for (const auto & [phase, name] : tests) {
        if (const int tokens = int(request.number(name, 0))) {
            Bench(session, phase, tokens, depth).run(repetitions);
        }
    }
}
