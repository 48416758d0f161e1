#include "conformance.h"

int main(void) { return run_verbs() + run_fences() + run_reads() + run_care() + run_sides() + run_totals(); }
