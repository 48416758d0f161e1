/* fakehost.h - a host for one media sink in this very process: loads the plugin file, answers the services from tables,
 * and lets the test hand over frames as it likes. What the stage says is kept to be looked at. */
#pragma once
#include <pthread.h>
#include <stagemill/media.h>

enum { FAKE_TEXT = 512, FAKE_OUTPUTS = 8192, FAKE_SETTINGS = 64 };

struct fake_output {
  char port[32], name[256], type[64], about[512];
};

struct fake_result {
  char key[64];
  sm_value value;
  char text[FAKE_TEXT];
  unsigned items;
};

struct fake_host {
  struct sm_task task; /* first: the stage's task is the host */
  sm_media_host media;
  const sm_stage *stage;
  void *self; /* the stage's */
  char folder[512], path[1024], source_name[128], source_path[512];
  struct {
    char path[64], text[128];
  } settings[FAKE_SETTINGS];
  unsigned setting_count;
  int64_t duration_us;
  unsigned cores;
  pthread_mutex_t lock; /* progress, log and cancelled come from any thread */
  bool cancelled;
  double progress;
  struct fake_output outputs[FAKE_OUTPUTS];
  unsigned output_count;
  struct fake_result results[32];
  unsigned result_count;
  sm_status failed;
  char message[1024], debug[256];
  unsigned rungs; /* lines of the plan */
  char rung[16][128];
  double memory, cost;
};

/* Exits with a message when the plugin cannot be loaded. The folder must exist. */
struct fake_host *fake_create(const char *plugin, const char *stage, const char *folder);
void fake_destroy(struct fake_host **host);

/* As in YAML; lists with commas ("1080p,480p"), fields of maps by path ("ladder.0.width"). */
void fake_set(struct fake_host *host, const char *path, const char *text);

const struct fake_result *fake_result(const struct fake_host *host, const char *key); /* NULL: not said */
unsigned fake_count(const struct fake_host *host, const char *port);

/* The stage's calls. */
sm_status fake_open(struct fake_host *host, sm_stream *in, uint32_t count);
sm_status fake_frame(struct fake_host *host, uint32_t stream, AVFrame *frame);
sm_status fake_nothing_before(struct fake_host *host, uint32_t stream, int64_t pts);
sm_status fake_flush(struct fake_host *host, uint32_t stream);
sm_status fake_close(struct fake_host *host, sm_status why);
