// The command's lines pass through unchanged. What was sampled is written just before the command's own
// `end` line, which so stays the last. Closing our stdin ends the command. With a name to wrap, the
// command is one that knows no events: `begin` and `end` are written for it, `end` by its exit status.

#include "sampler.hpp"

#include "samples.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace {

const size_t LINE_LIMIT = 32u << 20;        // bytes; a longer line is no event
const size_t LAST_WORDS = 4096;             // of what it said on stderr
const int64_t GRACE_NS = 500000000;         // from closing the command's stdin to killing it
const int64_t LINGER_NS = 15 * 1000000000ll;  // from the end of its output to asking it to stop

volatile sig_atomic_t told_to_stop = 0;

struct Pipe {
    int read = -1, write = -1;
    Pipe() {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) == 0) {
            read = ends[0], write = ends[1];
        }
    }
};

void close_once(int & fd) {
    if (fd >= 0) {
        close(fd);
    }
    fd = -1;
}

// The command, freshly exec'd, with a stdin that closes when ours does or when we die.
class Command {
  public:
    // What we were given (a device's lease) the command keeps too. `error` is not 0 when it did not start.
    Command(char ** arguments, bool hears) {
        Pipe in, out, err, failed;
        const int parent = getpid();
        pid = fork();
        if (pid == 0) {
            become(arguments, in.read, out.write, hears ? err.write : 2, failed.write, parent);
        }
        error = pid < 0 ? errno : 0;
        for (const int fd : {in.read, out.write, err.write, failed.write}) {
            close(fd);
        }
        input = in.write, output = out.read, errors = err.read;
        int reason = 0;
        if (read(failed.read, &reason, sizeof reason) == ssize_t(sizeof reason)) {
            error = reason;
        }
        close(failed.read);
    }

    // Closes its stdin; kill_if_due() ends it a little later if that was not heard.
    void stop() {
        if (!kill_at) {
            close_once(input);
            kill_at = now() + GRACE_NS;
        }
    }

    void kill_if_due() const {
        if (!gone && kill_at && now() >= kill_at) {
            kill(pid, SIGKILL);
        }
    }

    // Passes on what it said on stderr and keeps its last words; false when it will say no more.
    bool hear() {
        char data[65536];
        const ssize_t n = read(errors, data, sizeof data);
        if (n <= 0) {
            close_once(errors);
            return false;
        }
        write_all(2, std::string(data, size_t(n)));
        last_words.append(data, size_t(n));
        last_words.erase(0, last_words.size() - std::min(last_words.size(), LAST_WORDS));
        return true;
    }

    // Whether it has ended; `status` is then its wait status.
    bool ended() {
        gone = gone || waitpid(pid, &status, WNOHANG) != 0;
        return gone;
    }

    int pid = -1, error = 0, status = 0;
    bool gone = false;
    int input = -1, output = -1, errors = -1;
    int64_t kill_at = 0;
    std::string last_words;

  private:
    [[noreturn]] static void become(char ** arguments, int in, int out, int err, int failed, int parent) {
        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_DFL);
        if (getppid() == parent) {
            execvp(arguments[0], arguments);
        }
        const int reason = errno;
        (void)!write(failed, &reason, sizeof reason);
        _exit(127);
    }
};

// Passes whole lines on; holds an `end` line back until the samples are written.
class Lines {
  public:
    // False when a line is longer than any event, or nobody reads ours.
    bool feed(const char * data, size_t n) {
        for (const char *at = data, *end = data + n; at < end;) {
            const char * stop = static_cast<const char *>(memchr(at, '\n', size_t(end - at)));
            part.append(at, stop ? stop + 1 : end);
            at = stop ? stop + 1 : end;
            if (part.size() > LINE_LIMIT) {
                part.clear();
                return false;
            }
            if (stop && !line()) {
                return false;
            }
        }
        return true;
    }

    // What was cut off in the middle of a line gets an end of line: ours follow.
    bool finish() {
        if (part.empty()) {
            return true;
        }
        part += '\n';
        return line();
    }

    std::string end;

  private:
    static bool is_end(const std::string & line) {
        if (line.find("\"end\"") == std::string::npos) {
            return false;
        }
        const json event = json::parse(line, nullptr, false);
        return event.is_object() && event.contains("event") && event["event"] == "end";
    }

    bool line() {
        const std::string held = std::move(end), whole = std::move(part);
        end = part = "";
        if (is_end(whole)) {
            end = whole;
            return write_all(1, held);  // what seemed the end before was none
        }
        return write_all(1, held + whole);
    }

    std::string part;
};

// Until the command has ended: passes lines on, takes samples, heeds our own stdin.
void watch(Command & command, Samples & samples, Lines & lines) {
    bool listening = true;
    int64_t stop_at = 0;
    while (!command.ended() || command.output >= 0) {
        const int64_t most = command.kill_at || command.output < 0 ? GRACE_NS / 5 : 1000000000;
        pollfd ready[] = {{command.output, POLLIN, 0}, {command.errors, POLLIN, 0}, {listening ? 0 : -1, POLLIN, 0}};
        poll(ready, 3, int((std::min(samples.wait_ns(), most) + 999999) / 1000000));
        char data[65536];
        if (ready[0].revents) {
            const ssize_t n = read(command.output, data, sizeof data);
            if (n <= 0) {
                close_once(command.output);
                stop_at = now() + LINGER_NS;
            } else if (!lines.feed(data, size_t(n))) {
                close_once(command.output);
                command.last_words = "it printed a line longer than 32 MiB, or nobody reads what it prints";
                command.stop();
            }
        }
        if (ready[1].revents) {
            command.hear();
        }
        if (ready[2].revents && read(0, data, sizeof data) <= 0) {
            listening = false;
            command.stop();
        }
        if (told_to_stop || (stop_at && now() > stop_at)) {
            command.stop();
        }
        samples.take_if_due();
        command.kill_if_due();
    }
}

std::string describe(int status) {
    if (WIFEXITED(status)) {
        return "exit status " + std::to_string(WEXITSTATUS(status));
    }
    const int number = WTERMSIG(status);
    std::string text = "ended by signal " + std::to_string(number) + " (" + strsignal(number) + ")";
    if (number == SIGILL) {
        text += ": this CPU lacks an instruction of the build for " QUANTFARM_CPU;
    }
    return text;
}

std::string wrapped_end(int status, const std::string & last_words) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return event_line("end", now(), {{"ok", true}}) + "\n";
    }
    const size_t last = last_words.find_last_not_of(" \r\n\t");
    const size_t from = last == std::string::npos ? last : last_words.rfind('\n', last);
    const std::string said = last == std::string::npos ? "" : last_words.substr(from + 1, last - from);
    const json fields = {{"ok", false}, {"stage", "run"}, {"error", one_line(describe(status) + " " + said)},
                         {"retryable", false}};
    return event_line("end", now(), fields) + "\n";
}

}  // namespace

int run_sampled(double hz, const std::string & wrap, char ** arguments) {
    signal(SIGPIPE, SIG_IGN);
    struct sigaction stop{};
    stop.sa_handler = [](int) { told_to_stop = 1; };
    sigaction(SIGTERM, &stop, nullptr);
    if (!wrap.empty()) {
        const json versions = {{"quantfarm-native", QUANTFARM_VERSION " (" QUANTFARM_SOURCES ")"}, {"cpu", QUANTFARM_CPU}};
        write_all(1, event_line("begin", now(), begin_fields(wrap, versions, kernel())) + "\n");
    }
    Command command(arguments, !wrap.empty());
    if (command.error) {
        const std::string reason = std::string(arguments[0]) + ": " + strerror(command.error);
        const json fields = {{"ok", false}, {"stage", "start"}, {"error", reason}, {"retryable", false}};
        if (!wrap.empty()) {
            write_all(1, event_line("end", now(), fields) + "\n");
        }
        write_all(2, "quantfarm-native: " + reason + "\n");
        return 127;
    }
    (void)!nice(10);  // ours alone, the command has started: it goes first where a core is short
    Samples samples(command.pid, hz);
    Lines lines;
    watch(command, samples, lines);
    const int status = command.status;
    while (command.errors >= 0) {
        pollfd more = {command.errors, POLLIN, 0};
        if (poll(&more, 1, 0) <= 0 || !command.hear()) {
            break;
        }
    }
    lines.finish();
    write_all(1, samples.lines() + lines.end + (wrap.empty() ? "" : wrapped_end(status, command.last_words)));
    if (WIFSIGNALED(status)) {
        write_all(2, "quantfarm-native: the command " + describe(status) + "\n");
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
