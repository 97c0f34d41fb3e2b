// What a person feels: the time to the first token and the pace of the others.

#include "app.hpp"
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

}  // namespace

Generator::Generator(Session & session, int n_prompt, int n_gen)
    : n_prompt(n_prompt),
      n_gen(n_gen),
      context(session.context(int64_t(n_prompt) + n_gen)),
      prompt(prompt_batches(prompt_ids(session, n_prompt), int(session.request.number("n_batch", 1)))),
      sampler(llama_sampler_init_greedy(), llama_sampler_free) {
    run(std::min(2, n_gen));
    session.events.emit("warmup", {{"phase", "app"}});
}

Generated Generator::run(int n) {
    Batch single(1, 0);
    Generated made{0, std::vector<int64_t>(size_t(n), 0)};
    context->clear();
    made.submit = now();
    for (const Batch & batch : prompt) {
        context->decode(batch.raw);
    }
    single.raw.token[0] = llama_sampler_sample(sampler.get(), context->handle, -1);
    made.times[0] = now();
    for (int i = 1; i < n; i++) {
        single.raw.pos[0] = n_prompt + i - 1;
        context->decode(single.raw);
        single.raw.token[0] = llama_sampler_sample(sampler.get(), context->handle, -1);
        made.times[size_t(i)] = now();
    }
    return made;
}

void emit(Events & events, const Generated & made, int repetition, int n_prompt) {
    events.emit("prefill", {{"mode", "app"}, {"repetition", repetition}, {"tokens", n_prompt}, {"depth", 0},
                            {"seconds", double(made.times[0] - made.submit) / 1e9}});
    events.emit("decode", {{"mode", "app"}, {"repetition", repetition}, {"submit", made.submit},
                           {"times", made.times}});
}

void app(Session & session) {
    const Request & request = session.request;
    const int n_prompt = int(request.number("n_prompt", 1)), n_gen = int(request.number("n_gen", 1));
    const int repetitions = int(request.number("repetitions", 1));
    Generator generator(session, n_prompt, n_gen);
    std::vector<Generated> runs;
    for (int i = 0; i < repetitions; i++) {
        runs.push_back(generator.run());
    }
    for (int i = 0; i < repetitions; i++) {
        emit(session.events, runs[size_t(i)], i, n_prompt);
    }
}
