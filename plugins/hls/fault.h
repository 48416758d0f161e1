/* fault.h - why something failed, carried from whatever thread it happened on to the one that may speak to the host. */
#pragma once
#include <stagemill/abi.h>

struct fault {
  sm_status status;  /* SM_OK: none */
  char message[512]; /* for the operator */
  char debug[160];   /* for the log */
};

__attribute__((format(printf, 4, 5))) sm_status fault_set(struct fault *f, sm_status status, int libav_error,
                                                          const char *format, ...);
/* Writing to the output folder failed: what the disk says decides whose fault it is. */
sm_status fault_write(struct fault *f, int libav_error, const char *name);
