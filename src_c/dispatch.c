/* Which tables of kernels exist and which of them this processor and operating system can run. Compiled for the
 * platform's baseline, like everything but kernels.c. */
#include "fastnn.h"

#include <stddef.h>

#if defined(__x86_64__) || defined(_M_X64)
#define FASTNN_X86_64
#elif defined(__aarch64__) || defined(_M_ARM64)
#define FASTNN_AARCH64
#endif

static int always(void) { return 1; }

#ifdef FASTNN_X86_64

#ifdef _MSC_VER
#include <intrin.h>

static void cpuid(uint32_t leaf, uint32_t registers[4]) {
    int words[4];
    __cpuidex(words, (int)leaf, 0);
    for (int i = 0; i < 4; i++) registers[i] = (uint32_t)words[i];
}

static uint64_t enabled_state(void) { return _xgetbv(0); }

#else
#include <cpuid.h>

static void cpuid(uint32_t leaf, uint32_t registers[4]) {
    __cpuid_count(leaf, 0, registers[0], registers[1], registers[2], registers[3]);
}

static uint64_t enabled_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

enum { EAX, EBX, ECX, EDX };

static int all_set(uint64_t word, uint64_t bits) { return (word & bits) == bits; }

/* Intel's manual, volume 1, chapters 14 and 15: the feature bits say what the processor has, XCR0 which registers the
 * operating system saves. */
static int has_features(uint32_t leaf7_ebx, uint64_t state) {
    const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28;
    uint32_t r[4];
    cpuid(0, r);
    if (r[EAX] < 7) return 0;
    cpuid(1, r);
    if (!all_set(r[ECX], fma | osxsave | avx) || !all_set(enabled_state(), state)) return 0;
    cpuid(7, r);
    return all_set(r[EBX], leaf7_ebx);
}

static int has_avx2(void) {
    const uint32_t avx2 = 1u << 5;
    const uint64_t xmm_ymm = 0x6;
    return has_features(avx2, xmm_ymm);
}

#ifndef FASTNN_EMULATE_AVX512
static int has_avx512(void) {
    const uint32_t avx2 = 1u << 5, f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    const uint64_t xmm_ymm_opmask_zmm = 0xe6;
    return has_features(avx2 | f | dq | bw | vl, xmm_ymm_opmask_zmm);
}
#endif
#endif

typedef struct {
    const fastnn_kernels *of_bits32, *of_bits64;
    int (*runnable)(void);
} instruction_set;

#define DECLARE(isa) extern const fastnn_kernels fastnn_kernels_##isa##_32, fastnn_kernels_##isa##_64;
#define ENTRY(isa, runnable) {&fastnn_kernels_##isa##_32, &fastnn_kernels_##isa##_64, runnable}

DECLARE(scalar)
DECLARE(avx2)
DECLARE(avx512)
DECLARE(neon)

/* Best first. An emulated set stands last: it is there to be tested, never to be chosen. */
static const instruction_set instruction_sets[] = {
#ifdef FASTNN_X86_64
#ifndef FASTNN_EMULATE_AVX512
    ENTRY(avx512, has_avx512),
#endif
    ENTRY(avx2, has_avx2),
#endif
#ifdef FASTNN_AARCH64
    ENTRY(neon, always),
#endif
    ENTRY(scalar, always),
#ifdef FASTNN_EMULATE_AVX512
    ENTRY(avx512, has_avx2),
#endif
#ifdef FASTNN_EMULATE_NEON
    ENTRY(neon, has_avx2),
#endif
};

static int is_index(int64_t index) { return index >= 0 && index < fastnn_isa_count(); }

int64_t fastnn_isa_count(void) { return (int64_t)(sizeof instruction_sets / sizeof instruction_sets[0]); }

const char *fastnn_isa_name(int64_t index) { return is_index(index) ? instruction_sets[index].of_bits32->isa : NULL; }

int fastnn_isa_runnable(int64_t index) { return is_index(index) && instruction_sets[index].runnable(); }

const fastnn_kernels *fastnn_table(int64_t index, int bits) {
    if (!is_index(index)) return NULL;
    return bits == 32 ? instruction_sets[index].of_bits32 : bits == 64 ? instruction_sets[index].of_bits64 : NULL;
}

#define QUOTE(number) #number
#define DIGITS(macro) QUOTE(macro)

const char *fastnn_compiler(void) {
#if defined(__clang__)
    return __VERSION__; /* says "Clang" itself */
#elif defined(__GNUC__)
    return "GCC " __VERSION__;
#elif defined(_MSC_FULL_VER)
    return "MSVC " DIGITS(_MSC_FULL_VER);
#else
    return "unknown";
#endif
}
