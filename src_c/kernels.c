/* The spine of the kernels: compiled once per (instruction set, dtype), with -DFASTNN_ISA_<SET> -DFASTNN_BITS=<32 or
 * 64>, it exports one table, fastnn_kernels_<set>_<bits>. Everything else in the translation unit is static, so the
 * compiler may use the instruction set's flags without any of its code reaching a processor that lacks them.
 *
 * `real` is the dtype. simd/ gives the vector type `vec` and its operations v_*; kernels/ holds the mathematics,
 * once. */
#include "fastnn.h"

#include <math.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#pragma fp_contract(off) /* on by default before Visual Studio 2022 */
#define INLINE static __forceinline
#define NOINLINE __declspec(noinline)
#define UNROLL
#elif defined(__clang__)
#define INLINE static inline __attribute__((always_inline, unused))
#define NOINLINE __attribute__((noinline))
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define INLINE static inline __attribute__((always_inline, unused))
#define NOINLINE __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
/* Hides how a number was found: the compiler would keep each address derived from it, for which there are no
 * registers. */
#define OPAQUE(number) __asm__("" : "+r"(number))
#else
#define PREFETCH(address) ((void)(address))
#define OPAQUE(number) ((void)(number))
#endif

#if FASTNN_BITS == 32
typedef float real;
INLINE real real_fma(real a, real b, real c) { return fmaf(a, b, c); }
#elif FASTNN_BITS == 64
typedef double real;
INLINE real real_fma(real a, real b, real c) { return fma(a, b, c); }
#else
#error "define FASTNN_BITS as 32 or 64"
#endif

#if defined(FASTNN_ISA_SCALAR)
#include "simd/scalar.h"
#elif defined(FASTNN_ISA_AVX2)
#include "simd/avx2.h"
#elif defined(FASTNN_ISA_AVX512)
#include "simd/avx512.h"
#elif defined(FASTNN_ISA_NEON)
#include "simd/neon.h"
#else
#error "define FASTNN_ISA_SCALAR, FASTNN_ISA_AVX2, FASTNN_ISA_AVX512 or FASTNN_ISA_NEON"
#endif

#define NAME_OF_TABLE(isa, bits) fastnn_kernels_##isa##_##bits
#define TABLE(isa, bits) NAME_OF_TABLE(isa, bits)

#include "kernels/exp.h"
#include "kernels/elementwise.h"
#include "kernels/polynomial.h"
#include "kernels/tanh.h"
#include "kernels/log.h"
#include "kernels/sin.h"
#include "kernels/gelu.h"
#include "kernels/activation.h"
#include "kernels/sum.h"
#include "kernels/matrix.h"
#include "kernels/gemv.h"
#include "kernels/tile.h"
#include "kernels/pack.h"
#include "kernels/gemm.h"
#include "kernels/panels.h"
#include "kernels/two_layer.h"
#include "kernels/gather.h"
#include "kernels/sparse.h"
#include "kernels/dropout.h"
#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "kernels/layout.h"
#include "kernels/forward.h"
#include "kernels/backward.h"
#include "kernels/gradient.h"
#include "kernels/network.h"
#include "kernels/peak.h"

#define QUOTE(isa) #isa
#define NAME(isa) QUOTE(isa)

extern const fastnn_kernels TABLE(ISA_NAME, FASTNN_BITS);

const fastnn_kernels TABLE(ISA_NAME, FASTNN_BITS) = {
    .isa = NAME(ISA_NAME),
    .bits = FASTNN_BITS,
    .exp_forward = exp_forward,
    .log_forward = log_forward,
    .sqrt_forward = sqrt_forward,
    .sigmoid_forward = sigmoid_forward,
    .sigmoid_derivative = sigmoid_derivative,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .sum_squared_error = sum_squared_error,
    .all_finite = all_finite,
    .gemm = gemm,
    .gemm_workspace = gemm_workspace,
    .two_layer_forward = two_layer_forward,
    .two_layer_backward = two_layer_backward,
    .two_layer_rows = two_layer_rows,
    .two_layer_update = two_layer_update,
    .two_layer_train = two_layer_train,
    .two_layer_workspace = two_layer_workspace,
    .two_layer_in_registers = two_layer_in_registers,
    .network_block_rows = network_block_rows,
    .network_workspace = network_workspace,
    .network_scratch = network_scratch,
    .network_backpropagate = network_backpropagate,
    .network_gradient = network_gradient,
    .network_sum_parts = network_sum_parts,
    .network_update = network_update,
    .network_step = network_step,
    .network_forward = network_forward,
    .network_forward_row = network_forward_row,
    .network_input_gradient = network_input_gradient,
    .network_penalty = network_penalty,
    .sum_of_squares = sum_of_squares,
    .peak_flops = peak_flops,
};
