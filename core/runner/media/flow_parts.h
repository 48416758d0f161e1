/* flow_parts.h - between flow.c and flow_cycle.c; the flow's lock is held in all of it. */
#pragma once
#include "media/flow.h"

/* The merge of `node` cannot go on before something comes at q. */
bool flow_starves_for(const struct flow_node *node, const struct flow_queue *q);
/* `self` begins to wait. If that closes a cycle of waits, opens it: sets one node of the cycle running. */
void flow_open_cycle(struct flow_node *self);
void flow_close_locked(struct flow *flow);
