/* faulty.h - a disk that can fail: the library's writes and syncs pass through this program's own functions. */
#pragma once
#include <stdatomic.h>

extern atomic_int sync_count;  /* fdatasync calls */
extern atomic_int sync_fault;  /* errno to answer instead, 0: none */
extern atomic_int write_fault; /* errno for pwrite and writev, 0: none */
extern atomic_int meta_fault;  /* errno for writes to the two meta pages alone, 0: none */
