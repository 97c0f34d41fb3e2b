#include "quality.hpp"

#include "hash/hash.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

static std::string contents(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream all;
    if (!file || !(all << file.rdbuf() || file.peek() == EOF)) {
        throw Failure{"run", "the text cannot be read: " + path + ": " + strerror(errno)};
    }
    return all.str();
}

Text::Text(const Session & session)
    : model(session.model), n_ctx(int(session.request.number("n_ctx", 4))), first(n_ctx / 2),
      rows(n_ctx - 1 - first) {
    const std::string path = session.request.text("text");
    std::string raw = contents(path);
    sha256 = hash_sha256_hex(raw.data(), raw.size());
    if (session.request.has("text_sha256") && session.request.text("text_sha256") != sha256) {
        throw Failure{"run", "the text " + path + " has sha256 " + sha256 + ", " +
                                 session.request.text("text_sha256") + " was asked for"};
    }
    if (!raw.empty() && raw.back() == '\n') {
        raw.pop_back();
    }
    const int64_t began = now();
    ids = model.tokenise(raw);
    seconds = seconds_since(began);
    if (ids.size() < 2 * size_t(n_ctx)) {
        throw Failure{"run", "the text " + path + " has " + std::to_string(ids.size()) +
                                 " tokens: perplexity needs at least " + std::to_string(2 * n_ctx) + " (2 × n_ctx " +
                                 std::to_string(n_ctx) + ")"};
    }
    const int64_t all = int64_t(ids.size()) / n_ctx;
    n_chunks = int(session.request.has("n_chunks") ? std::min(all, session.request.number("n_chunks", 1)) : all);
}

std::vector<llama_token> Text::evaluated() const {
    return {ids.begin(), ids.begin() + int64_t(n_chunks) * n_ctx};
}

std::vector<llama_token> Text::inputs(int chunk, int n) const {
    const auto start = ids.begin() + int64_t(chunk) * n_ctx;
    std::vector<llama_token> part(start, start + int64_t(n) * n_ctx);
    for (int i = 0; model.adds_bos && i < n; i++) {
        part[size_t(i) * n_ctx] = model.bos;
    }
    return part;
}

// Bytes of text that the scored tokens stand for.
int64_t Text::scored_bytes() const {
    std::map<llama_token, int64_t> counts;
    for (int chunk = 0; chunk < n_chunks; chunk++) {
        for (int i = 0; i < rows; i++) {
            counts[targets(chunk)[i]]++;
        }
    }
    char piece[1024];
    int64_t bytes = 0;
    for (const auto & [token, n] : counts) {
        bytes += n * std::abs(llama_token_to_piece(model.vocab, token, piece, sizeof piece, 0, true));
    }
    return bytes;
}

json Text::facts() const {
    return {{"text_sha256", sha256},   {"token_sha256", token_sha256(evaluated())},
            {"n_tokens", ids.size()},  {"n_chunks", n_chunks},
            {"n_ctx", n_ctx},          {"add_bos", model.adds_bos},
            {"bytes", scored_bytes()}, {"seconds", seconds}};
}

Base::Base(const std::string & path, const Text & text)
    : width(2 * ((size_t(text.model.n_vocab) + 1) / 2) + 4), file(path, std::ios::binary | std::ios::ate) {
    if (!file) {
        throw Failure{"run", "the base logits cannot be read: " + path + ": " + strerror(errno)};
    }
    const int64_t size = file.tellg();
    file.seekg(0);
    char mark[8] = "";
    int32_t head[3] = {0, 0, 0};
    if (!file.read(mark, sizeof mark) || memcmp(mark, "_logits_", sizeof mark) != 0 ||
        !file.read(reinterpret_cast<char *>(head), sizeof head)) {
        throw Failure{"run", path + " is no base-logits file"};
    }
    const auto [n_ctx, n_vocab, n_chunks] = head;
    if (n_ctx != text.n_ctx || n_vocab != text.model.n_vocab) {
        throw Failure{"run", path + " is of n_ctx " + std::to_string(n_ctx) + " and a vocabulary of " +
                                 std::to_string(n_vocab) + ", here n_ctx " + std::to_string(text.n_ctx) + " and " +
                                 std::to_string(text.model.n_vocab) + " tokens"};
    }
    if (n_chunks < text.n_chunks) {
        throw Failure{"run", path + " holds " + std::to_string(n_chunks) + " chunks, " +
                                 std::to_string(text.n_chunks) + " are wanted"};
    }
    if (size != 20 + 4 * int64_t(n_ctx) * n_chunks + 2 * int64_t(width) * text.rows * n_chunks) {
        throw Failure{"run", path + " is not whole: " + std::to_string(size) + " bytes"};
    }
    std::vector<llama_token> ids(size_t(n_ctx) * size_t(n_chunks));
    file.read(reinterpret_cast<char *>(ids.data()), std::streamsize(ids.size() * sizeof ids[0]));
    const auto ours = text.evaluated();
    if (!std::equal(ours.begin(), ours.end(), ids.begin())) {
        throw Failure{"run", path + " was made from another text or tokenizer"};
    }
    rows.resize(width * size_t(text.rows));
}

const std::vector<uint16_t> & Base::next() {
    if (!file.read(reinterpret_cast<char *>(rows.data()), std::streamsize(rows.size() * sizeof rows[0]))) {
        throw Failure{"run", "the base logits cannot be read to their end"};
    }
    return rows;
}
