// Measures a GGUF model with llama.cpp on a device that has no Python.
//
//   quantfarm-native --request '{"kind": "bench", "model": "m.gguf", …}'
//   quantfarm-native --hz 10 [--wrap NAME] -- COMMAND [ARGUMENT…]
//
// The first answers a request as runners/llama_cpp.py does, the second is runners/sampler.py: both
// print the events of docs/events.md on stdout and nothing else, and stop when their stdin closes.

#include "context.hpp"
#include "sampler.hpp"

#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace {

struct Kind {
    const char * name;
    void (*answer)(Session &);
    std::vector<std::string> parameters;
};

const std::vector<std::string> CONTEXT = {"kind",       "model",  "n_batch", "n_ubatch",    "threads",
                                          "flash_attn", "type_k", "type_v",  "n_gpu_layers"};
const std::vector<Kind> KINDS = {
    {"bench", bench, {"n_prompt", "n_gen", "n_depth", "repetitions"}},
    {"app", app, {"n_prompt", "n_gen", "repetitions"}},
    {"quality", quality, {"text", "text_sha256", "n_ctx", "n_chunks", "base_logits"}},
    {"sustained", sustained, {"n_prompt", "n_gen", "runs", "more", "most"}},
};

// The lifeline: whoever started us holds our stdin open; when it closes, nobody listens any more.
void watch_stdin() {
    std::thread([] {
        char some[4096];
        while (read(0, some, sizeof some) > 0) {
        }
        _exit(3);
    }).detach();
}

void begin(Events & events) {
    const json versions = {{"quantfarm-native", QUANTFARM_VERSION " (" QUANTFARM_SOURCES ")"},
                           {"llama.cpp", LLAMA_PACKAGE},
                           {"ggml", ggml_version()},
                           {"cpu", QUANTFARM_CPU}};
    events.emit("begin", begin_fields("llama_native", versions,
                                      kernel() + " | " + one_line(llama_print_system_info())));
}

const Kind & kind_of(const Request & request) {
    std::string names;
    for (const Kind & kind : KINDS) {
        if (request.has("kind") && request.text("kind") == kind.name) {
            return kind;
        }
        names += (names.empty() ? "" : ", ") + std::string(kind.name);
    }
    throw Failure{"request", "no request of a known kind (" + names + ")"};
}

void answer(const std::string & text, Events & events) {
    const json given = json::parse(text, nullptr, false);
    if (!given.is_object()) {
        throw Failure{"request", "the request is no JSON object"};
    }
    const Request request(given);
    const Kind & kind = kind_of(request);
    std::vector<std::string> allowed = CONTEXT;
    allowed.insert(allowed.end(), kind.parameters.begin(), kind.parameters.end());
    request.allow(allowed);
    llama_backend_init();
    Session session(request, events);
    kind.answer(session);
    session.memory("end");
}

int answer_request(const char * request) {
    Events events;
    watch_stdin();
    begin(events);
    Failure failure;
    try {
        answer(request, events);
        events.emit("end", {{"ok", true}});
        return 0;
    } catch (const Failure & found) {
        failure = found;
    } catch (const std::exception & error) {
        failure = {"run", error.what()};
    }
    events.emit("end", {{"ok", false}, {"stage", failure.stage}, {"error", one_line(failure.error)},
                        {"retryable", failure.retryable}});
    return 1;
}

int usage(FILE * to, int status) {
    fprintf(to, "quantfarm-native %s (%s, %s)\n"
                "usage: quantfarm-native --request JSON\n"
                "       quantfarm-native --hz SAMPLES_A_SECOND [--wrap NAME] -- COMMAND [ARGUMENT...]\n",
            QUANTFARM_VERSION, LLAMA_PACKAGE, QUANTFARM_CPU);
    return status;
}

int sample(char ** arguments) {
    double hz = 10;
    std::string wrap;
    for (; *arguments && strcmp(*arguments, "--") != 0; arguments += 2) {
        if (!arguments[1]) {
            return usage(stderr, 2);
        }
        if (!strcmp(*arguments, "--hz")) {
            hz = strtod(arguments[1], nullptr);
        } else if (!strcmp(*arguments, "--wrap")) {
            wrap = arguments[1];
        } else {
            return usage(stderr, 2);
        }
    }
    if (!*arguments || !arguments[1] || !(hz > 0 && hz <= 1000)) {
        return usage(stderr, 2);
    }
    return run_sampled(hz, wrap, arguments + 1);
}

}  // namespace

int main(int count, char ** arguments) {
    setlocale(LC_NUMERIC, "C");
    const std::string first = count > 1 ? arguments[1] : "";
    if (first == "--request" && count == 3) {
        const int status = answer_request(arguments[2]);
        fflush(nullptr);
        _exit(status);  // a thread waits for stdin: nothing of ours may be torn down under it
    }
    if (first == "--help" || first == "--version") {
        return usage(stdout, 0);
    }
    if (first == "--hz" || first == "--wrap") {
        return sample(arguments + 1);
    }
    return usage(stderr, 2);
}
