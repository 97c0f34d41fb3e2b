// Perplexity and KL divergence by llama-perplexity's arithmetic, in its float widths.

#include "quality.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>

namespace {

// The figures of one chunk, over its scored tokens.
struct Score {
    std::vector<double> nll, kld, dp, nll_base;
    int same_top = 0;

    bool finite() const {
        const auto good = [](const std::vector<double> & list) {
            return std::all_of(list.begin(), list.end(), [](double v) { return std::isfinite(v); });
        };
        return good(nll) && good(kld) && good(dp) && good(nll_base);
    }
};

// A row of logits with its log-softmax: peak, and the sum of float32 exponentials in float64.
struct Row {
    Row(const float * logits, int n_vocab) : logits(logits), n_vocab(n_vocab) {
        peak = *std::max_element(logits, logits + n_vocab);
        for (int v = 0; v < n_vocab; v++) {
            sum += std::exp(logits[v] - peak);
        }
    }

    // Nats of a target: -(logit - peak - ln Σ exp).
    double nll(llama_token target) const { return std::log(sum) - double(logits[target] - peak); }

    void diverge(const uint16_t * packed, llama_token target, Score & score) const {
        float scale = 0, least = 0, largest = -INFINITY;
        memcpy(&scale, packed, sizeof scale);
        memcpy(&least, packed + 2, sizeof least);
        const float log_total = peak + float(std::log(sum));
        const float target_base = scale * packed[4 + target] + least;
        double kld = 0;
        int top = 0, top_base = 0;
        float largest_base = -INFINITY;
        for (int v = 0; v < n_vocab; v++) {
            const float base = scale * packed[4 + v] + least;
            if (base > -16.f) {
                kld += std::exp(base) * (base - logits[v] + log_total);
            }
            if (logits[v] > largest) {
                largest = logits[v], top = v;
            }
            if (base > largest_base) {
                largest_base = base, top_base = v;
            }
        }
        const float own = log_total - logits[target];
        score.kld.push_back(kld);
        score.dp.push_back(std::exp(-own) - std::exp(target_base));
        score.nll_base.push_back(-target_base);
        score.same_top += top == top_base;
    }

    const float * logits;
    const int n_vocab;
    float peak;
    double sum = 0;
};

class Quality {
  public:
    explicit Quality(Session & session) : session(session), text(session) {
        session.events.emit("tokens", text.facts());
        if (session.request.has("base_logits")) {
            base.emplace(session.request.text("base_logits"), text);
        }
    }

    // Batched as llama-perplexity does at this n_batch.
    void run() {
        const int n_batch = int(session.request.number("n_batch", 1));
        if (n_batch > text.n_ctx && n_batch % text.n_ctx) {
            throw Failure{"request", "n_batch " + std::to_string(n_batch) + " must be a multiple of n_ctx " +
                                         std::to_string(text.n_ctx) + ", or below it"};
        }
        if (n_batch < text.n_ctx) {
            in_parts(n_batch);
        } else {
            together(n_batch / text.n_ctx);
        }
    }

  private:
    // `n_seq` chunks in one batch, each a sequence of its own.
    void together(int n_seq) {
        const int n_ctx = text.n_ctx;
        const auto context = session.context(int64_t(n_seq) * n_ctx, n_seq);
        Batch batch(n_seq, 0, n_ctx, text.first);
        for (int start = 0; start < text.n_chunks; start += n_seq) {
            const int n = std::min(n_seq, text.n_chunks - start);
            const auto ids = text.inputs(start, n);
            batch.fill(ids.data(), ids.size());
            context->clear(true);
            context->decode(batch.raw);
            for (int i = 0; i < n; i++) {
                score(start + i, [&](int row) { return llama_get_logits_ith(context->handle, i * n_ctx + text.first + row); });
            }
        }
    }

    // A batch holds less than a chunk: logits are gathered part by part.
    void in_parts(int n_batch) {
        const auto context = session.context(text.n_ctx);
        const size_t n_vocab = size_t(text.model.n_vocab);
        std::vector<Batch> parts;
        for (int start = 0; start < text.n_ctx; start += n_batch) {
            parts.emplace_back(1, start, std::min(start + n_batch, text.n_ctx), text.first);
        }
        for (int chunk = 0; chunk < text.n_chunks; chunk++) {
            const auto ids = text.inputs(chunk, 1);
            std::vector<float> gathered;
            context->clear(true);
            for (size_t i = 0; i < parts.size(); i++) {
                const int start = int(i) * n_batch, end = std::min(start + n_batch, text.n_ctx);
                parts[i].fill(ids.data() + start, size_t(end - start));
                context->decode(parts[i].raw);
                const size_t outputs = size_t(std::max(0, end - std::max(start, text.first)));
                const float * logits = outputs ? llama_get_logits(context->handle) : nullptr;
                gathered.insert(gathered.end(), logits, logits + outputs * n_vocab);
            }
            score(chunk, [&](int row) { return gathered.data() + size_t(row) * n_vocab; });
        }
    }

    void score(int chunk, const std::function<const float *(int)> & logits) {
        const llama_token * targets = text.targets(chunk);
        const std::vector<uint16_t> * packed = base ? &base->next() : nullptr;
        Score found;
        for (int i = 0; i < text.rows; i++) {
            const Row row(logits(i), text.model.n_vocab);
            found.nll.push_back(row.nll(targets[i]));
            if (packed) {
                row.diverge(packed->data() + size_t(i) * base->width, targets[i], found);
            }
        }
        if (!found.finite()) {
            throw Failure{"run", "chunk " + std::to_string(chunk) + ": the logits are not finite numbers"};
        }
        json fields = {{"index", chunk}, {"n", text.rows}};
        std::vector<std::pair<std::string, std::vector<double>>> lists = {{"nll", found.nll}};
        if (packed) {
            fields["same_top"] = found.same_top;
            lists.insert(lists.end(), {{"kld", found.kld}, {"dp", found.dp}, {"nll_base", found.nll_base}});
        }
        session.events.emit("chunk", fields, lists);
    }

    Session & session;
    const Text text;
    std::optional<Base> base;
};

}  // namespace

void quality(Session & session) {
    if (llama_vocab_get_add_eos(session.model.vocab)) {
        throw Failure{"run", "the vocabulary adds EOS: llama-perplexity's perplexity is not defined for it"};
    }
    Quality(session).run();
}
