#include "memory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

std::string glance(int fd) {
    char text[8192];
    const ssize_t n = pread(fd, text, sizeof text, 0);
    return std::string(text, n > 0 ? size_t(n) : 0);
}

json memory_of(const std::string & status) {
    static const std::pair<const char *, const char *> names[] = {
        {"VmHWM", "hwm_mib"}, {"VmRSS", "rss_mib"}, {"RssAnon", "rss_anon_mib"}, {"RssFile", "rss_file_mib"}};
    json found = json::object();
    std::istringstream lines(status);
    for (std::string line; std::getline(lines, line);) {
        const size_t colon = line.find(':');
        for (const auto & [key, name] : names) {
            if (colon != std::string::npos && line.compare(0, colon, key) == 0) {
                found[name] = strtod(line.c_str() + colon + 1, nullptr) / 1024;
            }
        }
    }
    return found;
}

std::vector<std::string> stat_fields(const std::string & stat) {
    std::istringstream words(stat.substr(stat.rfind(')') + 1));
    std::vector<std::string> fields;
    for (std::string word; words >> word;) {
        fields.push_back(word);
    }
    return fields;
}

static std::string contents(const char * path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const std::string text = fd < 0 ? "" : glance(fd);
    close(fd);
    return text;
}

json own_memory() {
    json found = memory_of(contents("/proc/self/status"));
    const auto fields = stat_fields(contents("/proc/self/stat"));
    if (fields.size() > 9) {
        found["majflt"] = atoll(fields[9].c_str());
    }
    found["estimated"] = false;
    return found;
}
