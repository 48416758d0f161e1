/* door_parts.h - what the files of the door share. */
#pragma once
#include <sys/un.h>

#include "engine/door.h"

/* Where the socket is. *folder_fd (-1: none) stays open as long as the address is used. */
enum err door_address(const char *folder, struct sockaddr_un *address, int *folder_fd, struct error *e);
struct value *answer_error(const struct error *e);
struct value *answer_ok(void);

/* care.c: backup, check, export and prune. false: `op` is none of them. Runs in the pool. */
bool care_answer(struct engine *engine, const char *op, const struct value *request, door_answered *done, void *context);
