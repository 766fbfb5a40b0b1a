/* Matrices as the kernels pass them to each other. */
#ifndef FASTNN_KERNELS_MATRIX_H
#define FASTNN_KERNELS_MATRIX_H

/* Where `run` is not 0, each run of so many columns is followed by a jump of so many elements to the next. */
typedef struct {
    const real *at;
    int64_t row, column; /* strides, in elements */
    int64_t run, jump;
} matrix;

typedef struct {
    real *at;
    int64_t row, column;
} target;

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE matrix row_major(const real *at, int64_t columns) { return (matrix){at, columns, 1, 0, 0}; }
INLINE matrix transposed(const real *at, int64_t columns) { return (matrix){at, 1, columns, 0, 0}; }

/* The same matrix without its first rows, or its first columns where it has no runs. */
INLINE matrix below(matrix a, int64_t rows) { return (matrix){a.at + rows * a.row, a.row, a.column, a.run, a.jump}; }
INLINE matrix beside(matrix a, int64_t columns) { return (matrix){a.at + columns * a.column, a.row, a.column, 0, 0}; }

#endif
