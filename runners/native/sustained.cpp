// Sustained load: the same generation back to back until its rate is steady. The rule is that of
// runners/llama_cpp_sustained.py, which says where it is from; a test holds them together.

#include "app.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace {

constexpr double TOLERANCE = 0.02, SIGMAS = 3.0, MAD_TO_SIGMA = 1.4826, Z = 1.959963984540054;
constexpr size_t FEWEST = 10;

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t n = values.size();
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// About the first value: of equal ones exactly 0.
double variance(const std::vector<double> & rates, size_t from) {
    const double n = double(rates.size() - from);
    double mean = 0, sum = 0;
    for (size_t i = from; i < rates.size(); i++) {
        mean += rates[i] - rates[from];
    }
    mean /= n;
    for (size_t i = from; i < rates.size(); i++) {
        const double apart = rates[i] - rates[from] - mean;
        sum += apart * apart;
    }
    return sum / n;
}

struct Slope {
    double middle, low, high;
};

// The median slope and its 95 % interval (Sen 1968).
Slope theil_sen(const std::vector<double> & values) {
    const size_t n = values.size();
    std::vector<double> slopes;
    std::map<double, double> counts;
    for (size_t i = 0; i < n; i++) {
        counts[values[i]]++;
        for (size_t j = i + 1; j < n; j++) {
            slopes.push_back((values[j] - values[i]) / double(j - i));
        }
    }
    std::sort(slopes.begin(), slopes.end());
    double spread = double(n * (n - 1) * (2 * n + 5));
    for (const auto & [value, t] : counts) {
        spread -= t > 1 ? t * (t - 1) * (2 * t + 5) : 0;
    }
    const double width = Z * std::sqrt(spread / 18), size = double(slopes.size());
    const auto low = std::max(std::nearbyint((size - width) / 2) - 1, 0.0);
    const auto high = std::min(std::nearbyint((size + width) / 2), size - 1);
    return {median(slopes), slopes[size_t(low)], slopes[size_t(high)]};
}

bool is_steady(const std::vector<double> & rates) {
    const size_t n = rates.size();
    if (n < FEWEST || !std::all_of(rates.begin(), rates.end(), [](double r) { return std::isfinite(r) && r > 0; })) {
        return false;
    }
    size_t k = 0;
    for (size_t cut = 1; cut <= n / 2; cut++) {
        k = variance(rates, cut) / double(n - cut) < variance(rates, k) / double(n - k) ? cut : k;
    }
    const std::vector<double> kept(rates.begin() + long(k), rates.end());
    const double middle = median(kept);
    std::vector<double> apart;
    for (const double rate : kept) {
        apart.push_back(std::fabs(rate - middle));
    }
    const double spread = MAD_TO_SIGMA * median(apart) / middle;
    const Slope slope = theil_sen(kept);
    const double drift = std::fabs(slope.middle * double(kept.size() - 1) / middle);
    const bool certain = slope.low > 0 || slope.high < 0;
    const double last = (kept[kept.size() - 3] + kept[kept.size() - 2] + kept[kept.size() - 1]) / 3 / middle - 1;
    return k < n / 2 && drift <= std::max(TOLERANCE, SIGMAS * spread) && !(certain && drift > TOLERANCE) &&
           std::fabs(last) <= std::max(TOLERANCE, SIGMAS * spread / std::sqrt(3.0));
}

double rate(const std::vector<int64_t> & times) {
    const int64_t spent = times.back() - times.front();
    return times.size() < 2 || spent == 0 ? NAN : double(times.size() - 1) / (double(spent) / 1e9);
}

}  // namespace

void sustained(Session & session) {
    const Request & request = session.request;
    const int n_prompt = int(request.number("n_prompt", 1)), n_gen = int(request.number("n_gen", 2));
    const int runs = int(request.number("runs", 1)), more = int(request.number("more", 1));
    const int most = int(request.number("most", 1));
    Generator generator(session, n_prompt, n_gen);
    session.events.emit("sustained", {{"n_prompt", n_prompt}, {"n_gen", n_gen}, {"runs", runs}, {"more", more},
                                      {"most", most}});
    std::vector<double> rates;
    for (int until = std::min(runs, most), run = 0; run < until; run++) {
        const Generated made = generator.run();
        emit(session.events, made, run, n_prompt);
        session.events.emit("progress", {{"done", run + 1}, {"of", until}, {"what", "runs"}});
        rates.push_back(rate(made.times));
        if (run + 1 == until && until < most && !is_steady(rates)) {
            until = std::min(until + more, most);
        }
    }
}
