// What a person feels: the time to the first token and the pace of the others. Greedy, no stop at EOS.

#include "context.hpp"
#include "hash/hash.h"

#include <algorithm>

namespace {

// The same text as every other runner's.
const std::string PROSE =
    "The quick brown fox jumps over the lazy dog while five wizards box and the judge vows to quiz them. "
    "On a clear morning the ferry leaves at seven, crosses the bay in forty minutes and is back before noon. ";

// The first n tokens of a text that is always the same; says what it took to make them.
std::vector<llama_token> prompt_ids(Session & session, int n) {
    const size_t times = 1 + size_t(n) / std::max<size_t>(1, session.model.tokenise(PROSE).size() - 1);
    std::string text;
    for (size_t i = 0; i < times; i++) {
        text += PROSE;
    }
    const int64_t began = now();
    auto ids = session.model.tokenise(text);
    const double seconds = seconds_since(began);
    if (ids.size() < size_t(n)) {
        throw Failure{"run", "the prompt has " + std::to_string(ids.size()) + " tokens, " + std::to_string(n) +
                                 " were asked for"};
    }
    ids.resize(size_t(n));
    session.events.emit("tokens", {{"text_sha256", hash_sha256_hex(text.data(), text.size())},
                                   {"token_sha256", token_sha256(ids)}, {"seconds", seconds}, {"n_tokens", n},
                                   {"add_bos", session.model.adds_bos}});
    return ids;
}

struct Generated {
    int64_t submit;
    std::vector<int64_t> times;  // when each token id was on the host
};

Generated generate(Context & context, const std::vector<Batch> & prompt, int position, int n, llama_sampler * sampler) {
    Batch single(1, 0);
    Generated made{0, std::vector<int64_t>(size_t(n), 0)};
    context.clear();
    made.submit = now();
    for (const Batch & batch : prompt) {
        context.decode(batch.raw);
    }
    single.raw.token[0] = llama_sampler_sample(sampler, context.handle, -1);
    made.times[0] = now();
    for (int i = 1; i < n; i++) {
        single.raw.pos[0] = position + i - 1;
        context.decode(single.raw);
        single.raw.token[0] = llama_sampler_sample(sampler, context.handle, -1);
        made.times[size_t(i)] = now();
    }
    return made;
}

}  // namespace

void app(Session & session) {
    const Request & request = session.request;
    const int n_prompt = int(request.number("n_prompt", 1)), n_gen = int(request.number("n_gen", 1));
    const int repetitions = int(request.number("repetitions", 1));
    const auto context = session.context(int64_t(n_prompt) + n_gen);
    const auto prompt = prompt_batches(prompt_ids(session, n_prompt), int(request.number("n_batch", 1)));
    const std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)> sampler(llama_sampler_init_greedy(),
                                                                                llama_sampler_free);
    generate(*context, prompt, n_prompt, std::min(2, n_gen), sampler.get());
    session.events.emit("warmup", {{"phase", "app"}});
    std::vector<Generated> runs;
    for (int i = 0; i < repetitions; i++) {
        runs.push_back(generate(*context, prompt, n_prompt, n_gen, sampler.get()));
    }
    for (int i = 0; i < repetitions; i++) {
        const auto & [submit, times] = runs[size_t(i)];
        session.events.emit("prefill", {{"mode", "app"}, {"repetition", i}, {"tokens", n_prompt}, {"depth", 0},
                                        {"seconds", double(times[0] - submit) / 1e9}});
        session.events.emit("decode", {{"mode", "app"}, {"repetition", i}, {"submit", submit}, {"times", times}});
    }
}
