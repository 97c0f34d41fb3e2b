// Does this processor have what the program was compiled for? Asked before anything else runs, and
// compiled for any processor: otherwise the answer would be an illegal instruction.

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace {

#if defined(__x86_64__)

// x86-64-v3 as the psABI defines it, and the operating system's consent to wide registers.
const char * missing() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __cpuid_count(1, 0, a, b, c, d);
    const unsigned first = c;
    if (!(first & bit_SSE4_2) || !(first & bit_POPCNT)) {
        return "SSE4.2";
    }
    if (!(first & bit_OSXSAVE) || !(first & bit_AVX)) {
        return "AVX";
    }
    unsigned low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6) {
        return "AVX (the operating system keeps it off)";
    }
    if (!(first & bit_FMA)) {
        return "FMA";
    }
    if (!(first & bit_F16C)) {
        return "F16C";
    }
    if (!(first & bit_MOVBE)) {
        return "MOVBE";
    }
    __cpuid_count(0, 0, a, b, c, d);
    unsigned wide = 0;
    if (a >= 7) {
        __cpuid_count(7, 0, a, wide, c, d);
    }
    if (!(wide & bit_AVX2)) {
        return "AVX2";
    }
    if (!(wide & bit_BMI) || !(wide & bit_BMI2)) {
        return "BMI2";
    }
    __cpuid(0x80000001, a, b, c, d);
    return c & (1u << 5) ? nullptr : "LZCNT";
}

#elif defined(__aarch64__)

// What of Armv8.2 and the Cortex-A76 the compiled code makes use of (asm/hwcap.h).
const char * missing() {
    const unsigned long has = getauxval(AT_HWCAP);
    if (!(has & (1ul << 8))) {
        return "LSE atomics (Armv8.1)";
    }
    if (!(has & (1ul << 10))) {
        return "half-precision vectors (asimdhp, Armv8.2)";
    }
    if (!(has & (1ul << 15))) {
        return "RCpc loads (lrcpc, Armv8.3)";
    }
    return has & (1ul << 20) ? nullptr : "dot products (asimddp, Armv8.2)";
}

#endif

void say(const char * text) {
    unsigned long length = 0;
    while (text[length]) {
        length++;
    }
    syscall(SYS_write, 1, text, length);
}

void say_now() {
    struct timespec time = {};
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
    unsigned long long left = (unsigned long long)time.tv_sec * 1000000000ull + (unsigned long long)time.tv_nsec;
    char digits[24];
    int at = int(sizeof digits) - 1;
    digits[at] = 0;
    do {
        digits[--at] = char('0' + left % 10);
        left /= 10;
    } while (left);
    say(digits + at);
}

// The earliest that a program of ours is asked: before other files' start code, which is compiled for more.
__attribute__((constructor(101))) void refuse_a_lesser_processor() {
    const char * lacking = missing();
    if (!lacking) {
        return;
    }
    say("{\"event\":\"begin\",\"t\":");
    say_now();
    say(",\"schema\":1,\"clock\":\"monotonic_ns\",\"runner\":\"llama_native\",\"versions\":{\"quantfarm-native\":\""
        QUANTFARM_VERSION "\"},\"system\":\"" QUANTFARM_CPU "\"}\n{\"event\":\"end\",\"t\":");
    say_now();
    say(",\"ok\":false,\"stage\":\"start\",\"error\":\"this CPU lacks ");
    say(lacking);
    say(": the program was built for " QUANTFARM_CPU " and better\",\"retryable\":false}\n");
    syscall(SYS_exit_group, 1);
}

}  // namespace
