/* Matrices as the kernels pass them to each other. */
#ifndef FASTNN_KERNELS_MATRIX_H
#define FASTNN_KERNELS_MATRIX_H

typedef struct {
    const real *at;
    int64_t row, column; /* strides, in elements */
} matrix;

typedef struct {
    real *at;
    int64_t row, column;
} target;

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static matrix row_major(const real *at, int64_t columns) { return (matrix){at, columns, 1}; }
static matrix transposed(const real *at, int64_t columns) { return (matrix){at, 1, columns}; }

#endif
